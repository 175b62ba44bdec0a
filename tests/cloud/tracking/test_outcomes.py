"""No run ends otherwise because of MLflow: it gets what it takes, and what it does not take is named once and sent later."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloud.step import step
from cloud.tracking import Relay, TrackingLog, TrackingRecord, registered_of, trouble_of
from cloudedge.errors import InvalidInput, StoreFailed
from cloudedge.store import DirectoryStore
from components.collaborative_training.page.findings import gather
from components.collaborative_training.page.headline import sentences
from components.collaborative_training.page.sections import report_of
from components.evaluate.step import evaluate_run
from components.register.step import register_model
from components.report.step import report_run
from pipelines.display.summary import summary
from tests.cloud.tracking import told as mlflow_was
from tests.cloud.tracking.served import Rule, Served, page, text, told
from tests.cloud.tracking.test_registry import fused_model
from tests.cloud.tracking.told import START, point, runs_of
from tests.cluster.object_store import MinioServer
from tests.components.cloud import Cloud
from tests.components.conftest import cloud, digits

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.filterwarnings(*mlflow_was.WARNINGS_OF_MLFLOW)

__all__ = ["cloud", "digits"]

DENIED = told(403, error_code="PERMISSION_DENIED", message="Permission denied")


@pytest.fixture
def remote(served: Served) -> "MlflowClient":
    """MLflow as a person asks it, once nothing answers in its place."""
    from mlflow import MlflowClient

    return MlflowClient(served.uri, served.uri)


@pytest.fixture
def told_cloud(cloud: Cloud, served: Served, experiment: str, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A cloud whose steps tell an MLflow."""
    monkeypatch.setenv("CLOUDEDGE_TRACKING_URI", served.uri)
    monkeypatch.setenv("CLOUDEDGE_EXPERIMENT", experiment)
    file = f"{experiment}.safetensors"
    cloud.task = cloud.task.model_copy(update={"collaborate": False, "model_file_name": file})
    return cloud


def run_of(cloud: Cloud) -> str:
    """Run a task's steps; the name of the registered model."""
    cloud.pretrained()
    evaluate_run(cloud.task.id)
    registered = register_model(cloud.task.id)
    report_run(cloud.task.id)
    return registered


@pytest.mark.parametrize(
    "rule",
    [
        lambda *_: text(401, "You are not authenticated."),
        lambda *_: page(200, "Sign in"),
        lambda *_: told(500, error_code="INTERNAL_ERROR", message="disk full"),
        lambda method, _: DENIED if method == "POST" else None,
    ],
    ids=["no account", "a login page", "a full database", "a read-only account"],
)
def test_a_run_ends_well_without_its_mlflow_says_so_once_and_is_told_whole_when_it_is_mended(
    told_cloud: Cloud,
    served: Served,
    remote: "MlflowClient",
    experiment: str,
    rule: Rule,
    capsys: pytest.CaptureFixture[str],
) -> None:
    served.rule = rule
    assert run_of(told_cloud) == ""

    said = capsys.readouterr().out
    assert said.count(f"MLflow at {served.uri}") == 1
    assert said.index(f"MLflow at {served.uri}") < said.index("Pretraining on")
    assert said.count("The model is not registered. Once MLflow takes it, the same task, run again, registers it.") == 1
    state, trouble = told_cloud.run.state(), trouble_of(told_cloud.store, "digits")
    assert state is not None
    assert trouble is not None
    assert state.state == "finished"
    assert report_of(gather(told_cloud.run)).page().partition("<section>")[0].count("did not take the run") == 1
    assert (summary(told_cloud.run)["registered"], summary(told_cloud.run)["mlflow"]) == (None, trouble.message)
    asked = len(served.asked)
    assert asked <= 12, "three times it is asked, whatever it costs: as the run begins, for the model, and at the end"

    served.rule = None
    assert run_of(told_cloud) == experiment
    run = runs_of(remote, experiment)["digits"]
    assert run.info.status == "FINISHED"
    assert [file.path for file in remote.list_artifacts(run.info.run_id)] == ["report.html"]
    assert f"Registered as {experiment}, version 1." in sentences(gather(told_cloud.run))
    assert summary(told_cloud.run)["registered"] == {"model": experiment, "version": 1}
    assert summary(told_cloud.run)["mlflow"] == ""


@pytest.mark.parametrize(
    "raised", [SystemExit(3), ImportError("libpq.so.5"), RecursionError(), BaseExceptionGroup("", [SystemExit()])]
)
def test_what_a_run_failed_of_stays_the_answer_whatever_mlflow_raises(
    told_cloud: Cloud, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    from mlflow import MlflowClient

    def broken(*_: object, **__: object) -> None:
        raise raised

    told_cloud.pretrained()
    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", broken)
    monkeypatch.setattr(MlflowClient, "search_runs", broken)

    with pytest.raises(InvalidInput, match="No such thing"), step("digits", "evaluate"):
        raise InvalidInput("No such thing.")

    state = told_cloud.run.state()
    assert state is not None
    assert (state.state, state.message) == ("failed", "No such thing.")


def to(part: str) -> Callable[[str, str], bool]:
    return lambda method, path: method in ("POST", "PUT", "PATCH") and part in path


@pytest.mark.parametrize(
    ("refuses", "answer", "remedy"),
    [
        (to("registered-models/create"), DENIED, "EDIT or MANAGE"),
        (to("model-versions/create"), DENIED, "EDIT or MANAGE"),
        (to("registered-models/alias"), text(403, "Permission denied"), "another name by the task's model_file_name"),
        (to("registered-models/create"), page(404, "Not Found"), "one older than version 3"),
        (to("logged-models"), page(404, "Not Found"), "one older than version 3"),
        (
            to("model-versions/create"),
            told(500, error_code="INTERNAL_ERROR", message="no such table"),
            "The log of MLflow's server",
        ),
    ],
    ids=[
        "others' model",
        "others' model found late",
        "others' model found last",
        "no registry",
        "an MLflow of version 2",
        "a broken registry",
    ],
)
def test_a_registry_that_refuses_holds_up_neither_figures_nor_files_and_gets_the_model_when_it_is_mended(
    served: Served,
    store: DirectoryStore,
    experiment: str,
    remote: "MlflowClient",
    refuses: Callable[[str, str], bool],
    answer: tuple[int, dict[str, str], bytes],
    remedy: str,
) -> None:
    served.rule = lambda method, path: answer if refuses(method, path) else None
    everything(store, experiment)
    relay = Relay(store, "digits", served.uri, experiment)
    with pytest.raises(StoreFailed, match=f"did not register the model: .*{remedy}"):
        relay.push()

    run = runs_of(remote, experiment)["digits"]
    assert run.data.metrics == {"accuracy": 0.5}
    assert [file.path for file in remote.list_artifacts(run.info.run_id)] == ["report.html"]
    TrackingLog(store, "digits").append([TrackingRecord(at=START, metrics=(point("accuracy", 1, 1),))], "evaluate")
    if answer is DENIED:
        assert relay.push(patiently=True) == 1, "figures go on, and what is certain is not asked for again"

    served.rule = None
    Relay(store, "digits", served.uri, experiment).push()
    registered = registered_of(store, "digits")
    assert registered is not None
    assert registered.version == 1
    assert trouble_of(store, "digits") is None


def test_files_that_are_refused_hold_up_no_figures(
    served: Served, store: DirectoryStore, experiment: str, remote: "MlflowClient"
) -> None:
    served.rule = lambda method, path: text(413, "Too large") if to("mlflow-artifacts")(method, path) else None
    everything(store, experiment)
    with pytest.raises(StoreFailed, match="did not take the run's files: .*Too Large|did not take the run's files: .*413"):
        Relay(store, "digits", served.uri, experiment).push()
    assert runs_of(remote, experiment)["digits"].data.metrics == {"accuracy": 0.5}

    served.rule = None
    Relay(store, "digits", served.uri, experiment).push()
    assert registered_of(store, "digits") is not None


@pytest.mark.parametrize(
    ("place", "lacks"),
    [
        ("s3://bucket/here", "boto3"),
        ("gs://bucket/here", "google-cloud-storage"),
        ("wasbs://box@account.blob.core.windows.net/here", "azure-storage-blob and azure-identity"),
        ("abfss://box@account.dfs.core.windows.net/here", "azure-storage-file-datalake and azure-identity"),
        ("sftp://host/here", "pysftp and paramiko"),
        ("{folder}", "on a step's own disk"),
        ("file://{folder}", "on a step's own disk"),
    ],
)
def test_artifacts_that_cannot_be_written_are_named_before_there_is_any_and_figures_go_on(
    served: Served,
    store: DirectoryStore,
    experiment: str,
    client: "MlflowClient",
    remote: "MlflowClient",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    lacks: str,
) -> None:
    for package in ("boto3", "google.cloud.storage"):
        monkeypatch.setitem(sys.modules, package, None)
    folder = tmp_path / "mlruns"
    client.create_experiment(experiment, artifact_location=place.format(folder=folder))
    log = TrackingLog(store, "digits")
    log.append([TrackingRecord(at=START, metrics=(point("accuracy", 0.25, 0),))], "create")
    relay = Relay(store, "digits", served.uri, experiment)
    with pytest.raises(
        StoreFailed, match=rf"takes the run's figures, but neither its model nor its report: .*{lacks}"
    ) as early:
        relay.push()
    assert "--artifacts-destination instead of --default-artifact-root" in str(early.value)

    everything(store, experiment)
    with pytest.raises(StoreFailed, match=lacks):
        relay.push()
    assert runs_of(remote, experiment)["digits"].data.metrics == {"accuracy": 0.5}
    assert registered_of(store, "digits") is None
    assert not folder.exists()
    asked = len(served.asked)
    assert relay.push() == 0
    assert len(served.asked) == asked

    Relay(store, "digits", served.uri, f"{experiment}-served").push()
    registered = registered_of(store, "digits")
    assert registered is not None
    assert [file.path for file in remote.list_artifacts(registered.run_id)] == ["report.html"]


def everything(store: DirectoryStore, name: str) -> None:
    """Keep figures, a report and a model for MLflow."""
    store.put("runs/digits/report.html", b"<p>How it went")
    log = TrackingLog(store, "digits")
    log.append([TrackingRecord(at=START, metrics=(point("accuracy", 0.5, 0),))], "pretrain")
    log.append([TrackingRecord(at=START)], "register", fused_model(store, 0.5, name, "champion"))
    log.append([TrackingRecord(at=START, status="finished")], "report", files={"report.html": "runs/digits/report.html"})


def test_artifacts_that_lie_in_s3_are_written_there_where_no_server_does_it(
    minio: MinioServer,
    served: Served,
    store: DirectoryStore,
    experiment: str,
    client: "MlflowClient",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    for name, value in {**minio.root.environment, "MLFLOW_S3_ENDPOINT_URL": minio.url}.items():
        monkeypatch.setenv(name, value)
    bucket = minio.bucket()
    client.create_experiment(experiment, artifact_location=f"s3://{bucket}/here")
    everything(store, experiment)

    Relay(store, "digits", served.uri, experiment).push()

    names = [str(found.object_name) for found in minio.client().list_objects(bucket, recursive=True)]
    assert {Path(name).name for name in names} == {"MLmodel", "lineage.json", "model.safetensors", "report.html"}
    assert registered_of(store, "digits") is not None


def test_an_s3_that_refuses_the_steps_keys_is_named_with_the_variables_that_mend_it(
    minio: MinioServer,
    served: Served,
    store: DirectoryStore,
    experiment: str,
    client: "MlflowClient",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # MLflow keeps a client for each name of an S3, and boto3 its keys.
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    elsewhere = minio.url.replace("127.0.0.1", "localhost")
    stranger = {"AWS_ACCESS_KEY_ID": "nobody-here", "AWS_SECRET_ACCESS_KEY": "secret" * 6, "MLFLOW_S3_ENDPOINT_URL": elsewhere}
    for name, value in stranger.items():
        monkeypatch.setenv(name, value)
    client.create_experiment(experiment, artifact_location=f"s3://{minio.bucket()}/here")
    everything(store, experiment)

    with pytest.raises(StoreFailed, match="InvalidAccessKeyId.*AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be allowed"):
        Relay(store, "digits", served.uri, experiment).push()
    assert runs_of(client, experiment)["digits"].data.metrics == {"accuracy": 0.5}
