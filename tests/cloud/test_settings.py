"""A step finds its place by the environment, or says what is missing there."""

from pathlib import Path

import pytest

from cloud.settings import Settings
from cloudedge.errors import InvalidInput


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("CLOUDEDGE_STORE", (tmp_path / "the store").as_uri())
    monkeypatch.setenv("CLOUDEDGE_INBOXES", (tmp_path / "inboxes").as_uri())
    monkeypatch.setenv("CLOUDEDGE_SCRATCH", str(tmp_path / "scratch"))
    return monkeypatch


def test_the_store_and_the_inboxes_are_where_the_environment_says(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings()
    settings.open_store().put("a", b"1")
    settings.open_inboxes().enroll("edge-1")
    assert (tmp_path / "the store" / "a").read_bytes() == b"1"
    assert (tmp_path / "inboxes" / "edge-1" / "inbox.json").exists()


def test_all_that_is_missing_or_wrong_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("CLOUDEDGE_STORE")
    environment.delenv("CLOUDEDGE_SCRATCH")
    environment.setenv("CLOUDEDGE_POLL_SECONDS", "0")
    with pytest.raises(InvalidInput) as raised:
        Settings()
    title, *faults = str(raised.value).splitlines()
    assert "environment" in title
    assert faults == [
        "  - CLOUDEDGE_STORE: Field required",
        "  - CLOUDEDGE_SCRATCH: Field required",
        "  - CLOUDEDGE_POLL_SECONDS: Input should be greater than 0",
    ]


@pytest.mark.parametrize(
    ("variables", "address", "run"),
    [
        ({}, "", ""),
        ({"CLOUDEDGE_TRACKING_URI": "http://ours"}, "http://ours", ""),
        # Left in a shell, for other work.
        ({"MLFLOW_TRACKING_URI": "http://mine", "MLFLOW_RUN_ID": "1"}, "", ""),
        ({"KFP_MLFLOW_CONFIG": "{}", "MLFLOW_TRACKING_URI": "http://kubeflows", "MLFLOW_RUN_ID": "1"}, "http://kubeflows", "1"),
        (
            {
                "KFP_MLFLOW_CONFIG": "{}",
                "MLFLOW_TRACKING_URI": "http://kubeflows",
                "MLFLOW_RUN_ID": "1",
                "CLOUDEDGE_TRACKING_URI": "",
            },
            "http://kubeflows",
            "1",
        ),
        (
            {
                "KFP_MLFLOW_CONFIG": "{}",
                "MLFLOW_TRACKING_URI": "http://kubeflows",
                "MLFLOW_RUN_ID": "1",
                "CLOUDEDGE_TRACKING_URI": "http://ours",
            },
            "http://ours",
            "1",
        ),
    ],
)
def test_mlflow_is_where_we_are_told_else_where_kubeflows_plugin_says(
    environment: pytest.MonkeyPatch, variables: dict[str, str], address: str, run: str
) -> None:
    for name in ("KFP_MLFLOW_CONFIG", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "CLOUDEDGE_TRACKING_URI"):
        environment.delenv(name, raising=False)
    for name, value in variables.items():
        environment.setenv(name, value)
    settings = Settings()
    assert (settings.tracking_uri, settings.run_of_kubeflow) == (address, run)


@pytest.mark.parametrize(
    ("store", "address", "told"),
    [
        ("file:///folder", "", True),  # By the laptop's engine.
        ("http://minio:9000/cloudedge", "", False),
        ("http://minio:9000/cloudedge", "http://mlflow", True),
    ],
)
def test_whether_an_mlflow_is_told_of_a_run_is_known(store: str, address: str, *, told: bool) -> None:
    place = {"inboxes": "file:///inboxes", "scratch": Path("/scratch"), "tracking_uri": address}
    assert Settings(store=store, **place).tells_mlflow is told


@pytest.mark.parametrize("address", ["", "/folder", "file:folder", "file://host/folder", "s3://bucket"])
def test_an_address_of_no_known_kind_is_named(environment: pytest.MonkeyPatch, address: str) -> None:
    environment.setenv("CLOUDEDGE_STORE", address)
    with pytest.raises(InvalidInput, match=f"store's address is '{address}'; give file:///folder, or http"):
        Settings().open_store()
