import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save

from cloud.tracking import Registration, Relay, TrackingLog, TrackingRecord, registered_of
from cloudedge.errors import StoreFailed
from cloudedge.store import DirectoryStore
from tests.cloud.tracking import told
from tests.cloud.tracking.server import MlflowServer
from tests.cloud.tracking.told import START, after, edge_record, history, point, runs_of
from tests.waiting import until

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.filterwarnings(*told.WARNINGS_OF_MLFLOW)

EDGES = [f"edge-{number}" for number in range(1, 41)]


@pytest.fixture
def server(tracking_uri: str, client: "MlflowClient", tmp_path: Path) -> Iterator[MlflowServer]:
    # `client` made the database, which the server opens as it is.
    server = MlflowServer(tracking_uri, tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def test_a_server_killed_in_the_middle_and_started_again_has_every_point_once(
    client: "MlflowClient", store: DirectoryStore, experiment: str, server: MlflowServer, capfd: pytest.CaptureFixture[str]
) -> None:
    log = TrackingLog(store, "digits")
    relay = Relay(store, "digits", server.uri, experiment)
    log.append([TrackingRecord(at=START, params={"seed": "7"}, metrics=(point("accuracy", 0.5, 0),))], "pretrain")
    assert relay.push() == 1

    log.append([edge_record(edge, point("loss", 1, 0), point("loss", 0.5, 1)) for edge in EDGES], "wait-1")
    with ThreadPoolExecutor(1) as pool:
        pushing = pool.submit(relay.push)
        until(lambda: len(runs_of(client, experiment)) > 5, what="a sixth run in MLflow")
        server.kill()
        with pytest.raises(StoreFailed, match=rf"MLflow at {server.uri} did not take the run's records: .*kept in the store"):
            pushing.result()
    assert len(runs_of(client, experiment)) <= len(EDGES)

    log.append([edge_record(edge, point("loss", 0.25, 2), status="finished", seconds=9) for edge in EDGES], "wait-2")
    content = save({"weight": np.ones(100_000, np.float32)})
    store.put("runs/digits/fused.safetensors", content)
    log.append(
        [TrackingRecord(at=after(10), status="finished")],
        "register",
        Registration(
            model_key="runs/digits/fused.safetensors",
            sha256=hashlib.sha256(content).hexdigest(),
            registered_model=experiment,
            aliases=("champion",),
            input_shape=(64,),
            classes=("even", "odd"),
        ),
    )
    with pytest.raises(StoreFailed):
        relay.push()
    server.start()
    relay.push()
    assert relay.push() == 0
    assert capfd.readouterr().out == ""

    runs = runs_of(client, experiment)
    assert set(runs) == {"digits", *(f"digits/{edge}" for edge in EDGES)}
    assert history(client, runs["digits"], "accuracy") == [(0, 0.5)]
    for edge in EDGES:
        child = runs[f"digits/{edge}"]
        assert history(client, child, "loss") == [(0, 1), (1, 0.5), (2, 0.25)]
        assert child.info.status == "FINISHED"
    registered = registered_of(store, "digits")
    assert registered is not None
    assert str(client.get_model_version_by_alias(experiment, "champion").version) == str(registered.version)
    (uploaded,) = (server.folder / "artifacts").rglob("model.safetensors")
    assert uploaded.read_bytes() == content
