import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from cloud.tracking import Ancestor, Registered, Registration, Relay, TrackingLog, TrackingRecord, registered_of
from cloudedge.errors import StoreFailed
from cloudedge.store import DirectoryStore
from tests.cloud.tracking import told
from tests.cloud.tracking.told import START, runs_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.filterwarnings(*told.WARNINGS_OF_MLFLOW)

KEY = "runs/digits/rounds/000003/fused.safetensors"


@pytest.fixture
def log(store: DirectoryStore) -> TrackingLog:
    store.put("runs/digits/task.json", b'{"name": "Digits"}')
    return TrackingLog(store, "digits")


@pytest.fixture
def relay(store: DirectoryStore, tracking_uri: str, experiment: str) -> Relay:
    return Relay(store, "digits", tracking_uri, experiment)


def fused_model(store: DirectoryStore, value: float, name: str, *aliases: str) -> Registration:
    """Put a model into the store and ask for its registration."""
    content = save({"layer.weight": np.full((2, 64), value, np.float32)})
    store.put(KEY, content)
    return Registration(
        model_key=KEY,
        sha256=hashlib.sha256(content).hexdigest(),
        registered_model=name,
        aliases=aliases,
        tags={"accuracy": "0.95", "fusion rule": "samples"},
        description="Made of *one* edge.",
        ancestors=(
            Ancestor(role="pretrained", round=0, sha256="a" * 64, weight=0.25),
            Ancestor(role="edge", edge="edge-1", round=3, sha256="b" * 64, weight=0.75, samples=80, data_fingerprint="c" * 64),
        ),
        input_shape=(1, 8, 8),
        classes=("even", "odd"),
    )


def test_a_fused_model_becomes_a_version_with_signature_digest_lineage_and_alias(
    client: "MlflowClient", store: DirectoryStore, experiment: str, log: TrackingLog, relay: Relay
) -> None:
    registration = fused_model(store, 0.5, experiment, "champion", "round-003")
    log.append([TrackingRecord(at=START)], "register", registration)

    relay.push()

    run = runs_of(client, experiment)["digits"]
    version = client.get_model_version_by_alias(experiment, "champion")
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert registered_of(store, "digits") == Registered(
        registered_model=experiment,
        version=1,
        aliases=("champion", "round-003"),
        sha256=registration.sha256,
        model_id=model.model_id,
        run_id=run.info.run_id,
    )
    assert version.description == "Made of *one* edge."
    assert (version.run_id, version.source, version.status) == (run.info.run_id, f"models:/{model.model_id}", "READY")
    assert version.tags == {
        "accuracy": "0.95",
        "fusion rule": "samples",
        "cloudedge.run": "digits",
        "cloudedge.sha256": registration.sha256,
        "cloudedge.edges": "edge-1",
    }
    assert client.get_model_version_by_alias(experiment, "round-003").version == version.version
    assert run.outputs is not None
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]


def test_the_registered_files_are_the_model_itself_and_where_it_comes_from(
    client: "MlflowClient", store: DirectoryStore, experiment: str, log: TrackingLog, relay: Relay
) -> None:
    from mlflow.models import Model

    registration = fused_model(store, 0.5, experiment)
    log.append([TrackingRecord(at=START)], "register", registration)
    relay.push()

    folder = artifact_folder(client, store)
    assert {path.name for path in folder.iterdir()} == {"MLmodel", "lineage.json", "model.safetensors", "task.json"}
    assert not (folder / "model.safetensors").is_symlink()
    assert (folder / "model.safetensors").read_bytes() == store.get(KEY, 10_000)
    assert load_file(folder / "model.safetensors")["layer.weight"].shape == (2, 64)
    assert json.loads((folder / "lineage.json").read_bytes()) == {
        "run": "digits",
        "sha256": registration.sha256,
        "ancestors": [ancestor.model_dump(mode="json") for ancestor in registration.ancestors],
    }
    described = Model.load(str(folder))
    assert described.signature.inputs.inputs[0].shape == (-1, 1, 8, 8)
    assert described.signature.outputs.inputs[0].shape == (-1, 2)
    assert described.metadata == {"classes": ["even", "odd"]}
    assert described.flavors == {"safetensors": {"data": "model.safetensors", "sha256": registration.sha256}}


def test_edges_beyond_what_a_tag_can_hold_are_counted(
    client: "MlflowClient", store: DirectoryStore, experiment: str, log: TrackingLog, relay: Relay
) -> None:
    edges = tuple(Ancestor(role="edge", edge=f"edge-{number}", round=3, sha256="b" * 64) for number in range(2000))
    registration = fused_model(store, 0.5, experiment, "champion").model_copy(update={"ancestors": edges})
    log.append([TrackingRecord(at=START)], "register", registration)

    relay.push()

    version = client.get_model_version_by_alias(experiment, "champion")
    assert version.tags["cloudedge.edges"].startswith("edge-0, edge-1, edge-10, ")
    assert version.tags["cloudedge.edges"].endswith(" and 1980 more")
    lineage = json.loads((artifact_folder(client, store) / "lineage.json").read_bytes())
    assert len(lineage["ancestors"]) == 2000


def test_the_same_file_is_registered_once_however_often_it_is_asked(
    client: "MlflowClient", store: DirectoryStore, tracking_uri: str, experiment: str, log: TrackingLog, relay: Relay
) -> None:
    registration = fused_model(store, 0.5, experiment, "candidate")
    for name in ("register", "register-again"):
        log.append([TrackingRecord(at=START)], name, registration)
        relay.push()
    store.delete("runs/digits/tracking/relayed.json")
    Relay(store, "digits", tracking_uri, experiment).push()
    assert [str(version.version) for version in client.search_model_versions(f"name = '{experiment}'")] == ["1"]


def test_an_alias_moves_to_the_newest_file_that_is_given_it(
    client: "MlflowClient", store: DirectoryStore, experiment: str, log: TrackingLog, relay: Relay
) -> None:
    for value in (0.5, 0.75):
        log.append([TrackingRecord(at=START)], "register", fused_model(store, value, experiment, "champion"))
        relay.push()
    assert str(client.get_model_version_by_alias(experiment, "champion").version) == "2"
    registered = registered_of(store, "digits")
    assert registered is not None
    assert registered.version == 2


def test_a_model_that_is_registered_beside_the_runs_own_is_not_taken_for_it(
    client: "MlflowClient", store: DirectoryStore, experiment: str, log: TrackingLog, relay: Relay
) -> None:
    beside = fused_model(store, 0.5, experiment, "on-gate-1")
    log.append([], "rank-gate-1", beside)
    relay.push()
    assert registered_of(store, "digits") is None
    store.put("runs/digits/best", content := save({"layer.weight": np.full((2, 64), 0.75, np.float32)}))
    own = beside.model_copy(
        update={"model_key": "runs/digits/best", "sha256": hashlib.sha256(content).hexdigest(), "aliases": ("champion",)}
    )
    log.append([TrackingRecord(at=START)], "register", own)
    relay.push()
    log.append([TrackingRecord(at=START)], "rank-gate-1", beside)
    relay.push()

    assert _registered(store).sha256 == own.sha256
    assert {str(client.get_model_version_by_alias(experiment, alias).version) for alias in ("on-gate-1", "champion")} == {
        "1",
        "2",
    }


def test_an_older_version_that_is_told_again_does_not_take_an_alias_back(
    client: "MlflowClient", store: DirectoryStore, tmp_path: Path, tracking_uri: str, experiment: str
) -> None:
    stores = [store, DirectoryStore(tmp_path / "other")]
    for each, value in zip(stores, (0.5, 0.75), strict=True):
        TrackingLog(each, "digits").append(
            [TrackingRecord(at=START)], "register", fused_model(each, value, experiment, "champion")
        )
        Relay(each, "digits", tracking_uri, experiment).push()

    store.delete("runs/digits/tracking/relayed.json")
    Relay(store, "digits", tracking_uri, experiment).push()

    older = _registered(store)
    assert (older.version, older.aliases) == (1, ())
    assert str(client.get_model_version_by_alias(experiment, "champion").version) == "2"


def test_an_interrupted_registration_is_completed_without_a_second_copy(
    client: "MlflowClient", store: DirectoryStore, tracking_uri: str, experiment: str, log: TrackingLog, relay: Relay
) -> None:
    database = Path(tracking_uri.removeprefix("sqlite:///"))
    blocked = database.parent / "mlflow-artifacts" / experiment
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("a file where the artifacts' folder belongs")
    log.append([TrackingRecord(at=START)], "register", fused_model(store, 0.5, experiment, "champion"))
    with pytest.raises(StoreFailed):
        relay.push()
    assert registered_of(store, "digits") is None
    blocked.unlink()

    relay.push()

    found = client.get_experiment_by_name(experiment)
    assert found is not None
    models = client.search_logged_models([found.experiment_id])
    assert [(model.model_id, model.status) for model in models] == [(_registered(store).model_id, "READY")]
    assert str(client.get_model_version_by_alias(experiment, "champion").version) == "1"


def test_a_model_that_was_altered_in_the_store_is_not_registered_and_holds_nothing_up(
    store: DirectoryStore, experiment: str, log: TrackingLog, relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    registration = fused_model(store, 0.5, experiment)
    fused_model(store, 0.6, experiment)
    log.append([TrackingRecord(at=START, metrics=(told.point("accuracy", 0.5, 3),))], "register", registration)
    assert relay.push() == 1
    assert f"The model is not registered: {KEY} was altered in the store after it was recorded" in caplog.text
    assert registered_of(store, "digits") is None


def test_a_model_whose_file_is_gone_is_said_so_and_holds_nothing_up(
    store: DirectoryStore, experiment: str, log: TrackingLog, relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    registration = fused_model(store, 0.5, experiment)
    store.delete(KEY)
    log.append([TrackingRecord(at=START, metrics=(told.point("accuracy", 0.5, 3),))], "register", registration)
    assert relay.push() == 1
    assert f"The model is not registered, because its file is gone: There is no object '{KEY}'" in caplog.text
    assert registered_of(store, "digits") is None


def artifact_folder(client: "MlflowClient", store: DirectoryStore) -> Path:
    return Path(unquote(urlsplit(client.get_logged_model(_registered(store).model_id).artifact_location).path))


def _registered(store: DirectoryStore) -> Registered:
    registered = registered_of(store, "digits")
    assert registered is not None
    return registered
