"""Runs that Kubeflow itself executes: their steps as Argo's pods on a node in the cloud, their edges on KubeEdge nodes."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kfp_server_api
import pytest
from mlflow import MlflowClient

from cloud.cluster.api import Namespace
from cloud.faults import Faults
from cloud.inboxes import usable
from cloud.inboxes.config_maps import ConfigMapInboxes
from cloud.tracking.registry import SHA256_TAG
from cloud.tracking.runs import RUN_TAG
from cloudedge.documents import TrainingTask
from pipelines.kubeflow.nodes import node
from pipelines.kubeflow.pods import NODE_NAME
from tests.cloud.tracking.server import MlflowServer
from tests.cluster.argo import KubeflowTier
from tests.cluster.edge_tier import EdgeSite
from tests.cluster.kubeflow import NAMESPACE as KUBEFLOW
from tests.cluster.site import MANIFESTS, NAMESPACE
from tests.digits import EDGES, digits_task
from tests.e2e.conftest import Finished
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


class KubeflowSite(EdgeSite):
    """A site whose pipelines Kubeflow runs, prepared as the administrator's guide says."""

    def __init__(self, folder: Path, tier: KubeflowTier, tracking_uri: str) -> None:
        """See `Site`."""
        super().__init__(folder, tier.edges, tracking_uri)
        self._kubeflow = tier.kubeflow
        self.mlflow = MlflowClient(tracking_uri)
        shutil.copytree(MANIFESTS, folder / "manifests")
        overlay = folder / "manifests" / "overlays" / "kubeflow"
        settings = (overlay / "settings.env").read_text()
        for name, value in (("CLOUDEDGE_STORE", self.address), ("CLOUDEDGE_TRACKING_URI", tracking_uri)):
            settings = re.sub(f"^{name}=.*$", f"{name}={value}", settings, flags=re.MULTILINE)
        (overlay / "settings.env").write_text(settings)
        keys = (f"{name}={value}\n" for name, value in self.user.environment.items())
        (overlay / "store.env").write_text("".join(keys))
        self.kubectl("apply", "-k", str(overlay))

    def said(self, *arguments: str, code: int = 0) -> str:
        """See `Site.cli`."""
        return self.cli(*arguments, code=code, environment={"CLOUDEDGE_KUBEFLOW": self._kubeflow.url})

    def submit(self, task: TrainingTask, *options: str) -> str:
        """What is said when a task is submitted."""
        file = self.folder / f"{task.id}.json"
        file.write_bytes(task.to_json())
        return self.said("submit", str(file), "--data", "store:digits-cloud", "--test-data", "store:digits-test", *options)

    def phase(self, task: TrainingTask) -> str:
        """How its run stands, as Kubeflow says."""
        return str(json.loads(self.said("status", task.id, "--json"))["state"])

    def terminate(self, task: TrainingTask) -> None:
        """As the button in Kubeflow's pages does."""
        run = json.loads(self.said("status", task.id, "--json"))["kubeflow_id"]
        configuration = kfp_server_api.Configuration(host=self._kubeflow.url)
        kfp_server_api.RunServiceApi(kfp_server_api.ApiClient(configuration)).run_service_terminate_run(run)

    def orders(self, task: TrainingTask) -> list[str]:
        """Open orders of a run."""
        inboxes = ConfigMapInboxes(Namespace(NAMESPACE, self.control_plane.client(), 30))
        return [order.id for inbox in usable(inboxes, Faults()) for order in inbox.orders if order.run == task.id]

    def models_shown(self) -> dict[str, str]:
        """Digests of the models that artifacts of Kubeflow's tell of, by where they lie; none may be a model itself."""
        store, found = self.minio.client(), {}
        for entry in store.list_objects("mlpipeline", recursive=True):
            if entry.object_name.endswith(("/pretrained", "/fused")):
                with store.get_object("mlpipeline", entry.object_name) as answer:
                    note = json.loads(answer.read())
                found[note["model_uri"]] = note["sha256"]
        return found

    def steps(self) -> list[dict[str, Any]]:
        """The pods that did the work of tasks, of which there must be some."""
        pods = json.loads(self.kubectl("get", "pods", "--namespace", KUBEFLOW, "--output", "json"))["items"]
        steps = [pod for pod in pods if not node(pod["metadata"]["annotations"][NODE_NAME]).prepares]
        assert steps
        return steps


@pytest.fixture(scope="module")
def site(kubeflow_tier: KubeflowTier, samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeflowSite]:
    """A site with edges and samples."""
    folder = tmp_path_factory.mktemp("site")
    server = MlflowServer(f"sqlite:///{folder / 'mlflow.db'}", folder, kubeflow_tier.edges.network.cloud)
    server.start()
    try:
        site = KubeflowSite(folder, kubeflow_tier, server.uri)
        site.put_samples(samples)
        with site.edges(samples, EDGES):
            yield site
    finally:
        server.kill()


def test_a_run_that_is_terminated_leaves_its_edges_idle_and_goes_on_when_it_is_submitted_again(
    site: KubeflowSite, flat: Finished
) -> None:
    task = digits_task("ended")
    away = site.node_of(EDGES[1])
    away.cut()
    try:
        site.submit(task, "--compact")
        until(lambda: site.run(task).order("1", EDGES[1]), 300, "an order for an edge that is away")
        said = ("logs", task.id, "--task", "All rounds")
        until(lambda: "edges have delivered" in site.said(*said), 60, "what a running step says")
        assert site.orders(task)
        site.terminate(task)
    finally:
        away.heal()

    # At once, or where the step's half a second was too short, by the reaper.
    until(lambda: not site.orders(task), 420, "the end of the edges' work")
    until(lambda: site.phase(task) in {"FAILED", "CANCELED"}, 60, "the end of the run, as Kubeflow says")
    until(lambda: re.search("was terminated|No sign of life", site.said("tasks", "show", task.id)), 420, "why it ended")

    site.submit(task, "--compact")
    until(lambda: site.run(task).fusion(2), 600, "the last round")
    site.assert_bytes_of(flat, task.id)


def test_a_run_of_kubeflows_gives_the_laptops_bytes(site: KubeflowSite, flat: Finished) -> None:
    task = digits_task()

    site.submit(task, "--flat", "--follow")

    status = json.loads(site.said("status", task.id, "--json"))
    assert status["state"] == "SUCCEEDED"
    assert {each["state"] for each in status["tasks"]} == {"SUCCEEDED"}
    site.assert_bytes_of(flat)
    said = site.said("logs", task.id, "--task", "Pretrain")
    assert "Epoch 3 of 3" in said
    assert "executor_input" not in said
    fused = site.run(task).fusion(2)
    assert fused is not None
    assert site.models_shown()[f"{site.address}/{site.run(task).fused_key(2)}"] == fused.sha256
    (version,) = site.mlflow.search_model_versions(f"tags.`{RUN_TAG}` = '{task.id}'")
    assert version.tags[SHA256_TAG] == fused.sha256
    for pod in site.steps():
        (main,) = [each for each in pod["spec"]["containers"] if each["name"] == "main"]
        assert main["securityContext"]["runAsNonRoot"]
        assert pod["spec"]["nodeName"] == "cloud"
        assert not [each for each in main["env"] if each["name"].startswith("AWS_") and "value" in each], "only by reference"
