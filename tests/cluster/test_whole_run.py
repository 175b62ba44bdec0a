"""The pipeline against real servers: the bytes of a laptop's run, whatever happens to the servers meanwhile."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from cloud.runs.events import events
from tests.cloud.tracking.server import MlflowServer
from tests.cluster.control_plane import ControlPlane
from tests.cluster.object_store import MinioServer
from tests.cluster.site import Site
from tests.digits import EDGES, digits_task
from tests.e2e.conftest import Finished

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def test_a_run_on_the_cluster_gives_the_laptops_bytes(
    control_plane: ControlPlane, minio: MinioServer, flat: Finished, samples: Path, tmp_path: Path
) -> None:
    mlflow = MlflowServer(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    mlflow.start()
    try:
        site = Site(tmp_path, control_plane, minio, mlflow.uri)
        task = digits_task()
        with site.edges(samples, EDGES):
            site.put_samples(samples)
            site.finish(site.pipeline(task, compact=False))
        site.assert_bytes_of(flat)
        client = MlflowClient(mlflow.uri)
        (version,) = client.search_model_versions("name = 'tiny-digits'")
        record = site.run(task).fusion(2)
        assert record is not None
        assert version.tags["cloudedge.sha256"] == record.sha256
    finally:
        mlflow.kill()
    # Whoever looks after the cluster sees the run as on a laptop.
    assert '"state": "finished"' in site.cli("tasks", "list", "--json")
    assert record.sha256 in site.cli("tasks", "show", task.id)
    assert "registered" in site.cli("events", task.id)
    page = tmp_path / "report.html"
    told = site.command("report", task.id)
    assert told.out == f"runs/{task.id}/report.html in {site.address}\n"
    assert told.err == f"To read it, copy it here: cloudedge report {task.id} -o {task.id}.html\n"
    site.cli("report", task.id, "-o", str(page))
    assert page.read_text().startswith("<!doctype html>")
    assert task.id not in site.cli("tasks", "reap")


def test_servers_that_are_killed_amid_a_run_change_no_byte(
    own_control_plane: ControlPlane, own_minio: MinioServer, flat: Finished, samples: Path, tmp_path: Path
) -> None:
    site = Site(tmp_path, own_control_plane, own_minio)
    task = digits_task()
    with site.edges(samples, EDGES):
        site.put_samples(samples)
        pipeline = site.pipeline(task, compact=True)
        run = site.run(task)
        site.until(lambda: run.order("1", EDGES[0]), pipeline, "the first order")
        own_minio.kill()
        own_control_plane.kill_api_server()
        own_minio.start()
        own_control_plane.start_api_server()
        site.until(lambda: run.dispatched("2"), pipeline, "the second round")
        own_minio.kill()
        own_minio.start()
        site.finish(pipeline)
    site.assert_bytes_of(flat)
    actions = [event.action for _, event in events(run.store, run.id)]
    assert actions.count("fused") == 2
