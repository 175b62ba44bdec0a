"""A cloud for steps, found by them as on a laptop: through the environment."""

from pathlib import Path

import pytest

from cloudedge.documents import ModelSpec, Training
from cloudedge.store import DirectoryStore
from tests.components.cloud import Cloud
from tests.digits import digits_task, write_digits
from tests.once import made_once


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of the cloud, of edges and for tests."""
    return made_once(tmp_path_factory, "digits-of-steps", write_digits)


@pytest.fixture
def cloud(tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A cloud whose task is not begun."""
    task = digits_task().model_copy(
        update={
            "model": ModelSpec(parameters={"layers": 1, "width": 4}),
            "pretraining": Training(epochs=1, batch_size=32),
        }
    )
    cloud = Cloud(tmp_path, task, digits / "cloud")
    monkeypatch.setenv("CLOUDEDGE_STORE", cloud.store.root.as_uri())
    monkeypatch.setenv("CLOUDEDGE_INBOXES", cloud.inboxes.root.as_uri())
    monkeypatch.setenv("CLOUDEDGE_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("CLOUDEDGE_POLL_SECONDS", "0.01")
    for name in ("CLOUDEDGE_TRACKING_URI", "CLOUDEDGE_PARENT_PID", "KFP_MLFLOW_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return cloud


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DirectoryStore:
    """A cloud's store, found through the environment."""
    store = DirectoryStore(tmp_path / "store")
    monkeypatch.setenv("CLOUDEDGE_STORE", store.root.as_uri())
    monkeypatch.setenv("CLOUDEDGE_INBOXES", (tmp_path / "inboxes").as_uri())
    monkeypatch.setenv("CLOUDEDGE_SCRATCH", str(tmp_path / "scratch"))
    for name in ("CLOUDEDGE_TRACKING_URI", "CLOUDEDGE_REGISTRY_URI", "CLOUDEDGE_PARENT_PID", "KFP_MLFLOW_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return store
