"""Runs that Kubeflow itself executes: their steps as Argo's pods on a node in the cloud, their edges on KubeEdge nodes."""

import hashlib
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
from cloud.tracking.sweeps import CHAMPION
from cloudedge.automl.screen import broken
from cloudedge.documents import Task
from cloudedge.documents.automl import SearchRecord
from cloudedge.documents.deployable import MAX_DEPLOYABLE_BYTES, Deployable
from cloudedge.documents.kinds.search import Searched
from cloudedge.documents.tasks.automl_meta import AutomlMetaTask
from cloudedge.documents.tasks.edge_automl import EdgeAutomlTask
from cloudedge.documents.tasks.inspection_deployment import InspectionDeploymentTask
from components.automl_meta.records import learning_of
from components.edge_automl.rank.step import model_of
from components.edge_automl.records import MODEL
from pipelines.kubeflow.nodes import node
from pipelines.kubeflow.pods import NODE_NAME
from tests.cloud.searches.rows import kept
from tests.cloud.tracking.server import MlflowServer
from tests.cluster.argo import KubeflowTier
from tests.cluster.edge_tier import EdgeSite
from tests.cluster.kubeflow import NAMESPACE as KUBEFLOW
from tests.cluster.line import FIRST, TEST_DATA, Line, a_line, deployment, training
from tests.cluster.searching import found, search
from tests.cluster.site import MANIFESTS, NAMESPACE
from tests.digits import EDGES, digits_task
from tests.e2e.conftest import Finished
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

DATA = ("--data", "store:digits-cloud", "--test-data", "store:digits-test")


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

    def submit(self, task: Task, *options: str) -> str:
        """What is said when a task is submitted."""
        file = self.folder / f"{task.id}.json"
        file.write_bytes(task.to_json())
        return self.said("submit", str(file), *options)

    def phase(self, task: Task) -> str:
        """How its run stands, as Kubeflow says."""
        return str(json.loads(self.said("status", task.id, "--json"))["state"])

    def kubeflow_id(self, task: Task) -> str:
        """Kubeflow's id of its run."""
        return str(json.loads(self.said("status", task.id, "--json"))["kubeflow_id"])

    def succeeded(self, task: Task) -> None:
        """Wait for its run to end well."""
        until(lambda: self.phase(task) in {"SUCCEEDED", "FAILED", "CANCELED"}, 600, f"the end of {task.id}")
        assert self.phase(task) == "SUCCEEDED", self.said("logs", task.id)

    def terminate(self, task: Task) -> None:
        """As the button in Kubeflow's pages does."""
        configuration = kfp_server_api.Configuration(host=self._kubeflow.url)
        client = kfp_server_api.ApiClient(configuration)
        kfp_server_api.RunServiceApi(client).run_service_terminate_run(self.kubeflow_id(task))

    def orders(self, task: Task) -> list[str]:
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

    def report_shown(self, tier: KubeflowTier, task: Task) -> str:
        """The report that Kubeflow's own pages show: what ML Metadata names, read with Kubeflow's own keys."""
        pages = [address for address in tier.artifacts("system.HTML") if f"/{self.kubeflow_id(task)}/" in address]
        (address,) = [address for address in pages if address.endswith("/run_report")]
        bucket, _, key = address.removeprefix("minio://").partition("/")
        with self.minio.client().get_object(bucket, key) as answer:
            return str(answer.read().decode())

    def steps(self, task: Task) -> list[dict[str, Any]]:
        """The pods that did the work of its run's tasks, of which there must be some."""
        which = ("--selector", f"pipeline/runid={self.kubeflow_id(task)}")
        pods = json.loads(self.kubectl("get", "pods", "--namespace", KUBEFLOW, *which, "--output", "json"))["items"]
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


@pytest.fixture(scope="module")
def line(site: KubeflowSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A line whose training has begun; it goes on beside other tests, which wait most of the time."""
    with a_line(site, tmp_path_factory.mktemp("line")) as line:
        site.submit(training(FIRST), "--test-data", f"store:{TEST_DATA}")
        yield line


@pytest.fixture(scope="module")
def trained(site: KubeflowSite, line: Line) -> Deployable:
    """What the line's training came to."""
    site.succeeded(training(FIRST))
    return line.trained(FIRST)


@pytest.fixture(scope="module")
def deploying(site: KubeflowSite, trained: Deployable) -> InspectionDeploymentTask:
    """A deployment of that model that has begun; it is named as the registry has it."""
    task = deployment("deploy-1", f"{trained.brand}@{CHAMPION}")
    site.submit(task)
    return task


@pytest.fixture(scope="module")
def searching(site: KubeflowSite) -> EdgeAutomlTask:
    """A search on a device that has begun; it goes on beside other tests, too."""
    task = search("search", EDGES[0])
    site.submit(task)
    return task


@pytest.fixture(scope="module")
def searched(site: KubeflowSite, searching: EdgeAutomlTask) -> tuple[Searched, SearchRecord]:
    """What the device has found."""
    site.succeeded(searching)
    return found(site.run(searching))


@pytest.fixture(scope="module")
def relearning(site: KubeflowSite, searched: tuple[Searched, SearchRecord]) -> AutomlMetaTask:
    """A training of the meta model that has begun, for which one search is too few."""
    task = AutomlMetaTask(name="Meta model", id="relearn", every_rows=2)
    site.submit(task)
    return task


@pytest.mark.usefixtures("line", "searching")
def test_a_run_that_is_terminated_leaves_its_edges_idle_and_goes_on_when_it_is_submitted_again(
    site: KubeflowSite, flat: Finished
) -> None:
    task = digits_task("ended")
    away = site.node_of(EDGES[1])
    away.cut()
    try:
        site.submit(task, *DATA, "--compact")
        until(lambda: site.run(task).order("1", EDGES[1]), 300, "an order for an edge that is away")
        said = ("logs", task.id, "--task", "All rounds")
        until(lambda: "edges have delivered" in site.said(*said), what="what a running step says")
        assert site.orders(task)
        site.terminate(task)
    finally:
        away.heal()

    # At once, or where the step's half a second was too short, by the reaper.
    until(lambda: not site.orders(task), 420, "the end of the edges' work")
    until(lambda: site.phase(task) in {"FAILED", "CANCELED"}, what="the end of the run, as Kubeflow says")
    until(lambda: re.search("was terminated|No sign of life", site.said("tasks", "show", task.id)), 420, "why it ended")

    site.submit(task, *DATA, "--compact")
    until(lambda: site.run(task).fusion(2), 600, "the last round")
    site.assert_bytes_of(flat, task.id)


def test_a_line_trains_in_a_run_of_kubeflows(kubeflow_tier: KubeflowTier, site: KubeflowSite, trained: Deployable) -> None:
    task = training(FIRST)

    (version,) = site.mlflow.search_model_versions(f"tags.`{RUN_TAG}` = '{task.id}'")
    assert version.tags[SHA256_TAG] == trained.sha256
    assert "the model may be deployed" in site.report_shown(kubeflow_tier, task)


def test_a_device_gets_its_model_in_a_run_of_kubeflows(
    kubeflow_tier: KubeflowTier, site: KubeflowSite, searching: EdgeAutomlTask, searched: tuple[Searched, SearchRecord]
) -> None:
    result, record = searched
    run = site.run(searching)

    assert result.costs is not None
    assert not broken(result.costs, record.limits)
    (version,) = site.mlflow.search_model_versions(f"tags.`{RUN_TAG}` = '{searching.id}'")
    assert version.tags[SHA256_TAG] == result.sha256
    delivery, _ = model_of(run, "")
    assert hashlib.sha256(run.output(delivery, MODEL, MAX_DEPLOYABLE_BYTES)).hexdigest() == result.sha256
    assert kept(run.store) == [record.row]
    assert f"{result.accuracy:.1%}" in site.report_shown(kubeflow_tier, searching)


@pytest.mark.usefixtures("deploying", "relearning")
def test_a_run_of_kubeflows_gives_the_laptops_bytes(site: KubeflowSite, flat: Finished) -> None:
    task = digits_task()

    site.submit(task, *DATA, "--flat", "--follow")

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
    for pod in site.steps(task):
        (main,) = [each for each in pod["spec"]["containers"] if each["name"] == "main"]
        assert main["securityContext"]["runAsNonRoot"]
        assert pod["spec"]["nodeName"] == "cloud"
        assert not [each for each in main["env"] if each["name"].startswith("AWS_") and "value" in each], "only by reference"


def test_a_line_gets_its_model_in_a_run_of_kubeflows(
    kubeflow_tier: KubeflowTier, site: KubeflowSite, line: Line, trained: Deployable, deploying: InspectionDeploymentTask
) -> None:
    site.succeeded(deploying)

    assert line.outcome(deploying).state == "serving"
    until(lambda: line.judging() == trained.sha256, what="parts that are judged by it")
    said = f"1 of 1 detector on {deploying.line} judges {deploying.brand} by the model."
    assert said in site.report_shown(kubeflow_tier, deploying)


def test_a_meta_model_is_not_trained_anew_of_too_few_searches_in_a_run_of_kubeflows(
    kubeflow_tier: KubeflowTier, site: KubeflowSite, relearning: AutomlMetaTask
) -> None:
    site.succeeded(relearning)

    learned = learning_of(site.run(relearning))
    assert learned is not None
    assert (learned.searches, learned.trained) == (1, None)
    assert not site.mlflow.search_model_versions(f"name = '{relearning.model_name}'")
    assert learned.verdict in site.report_shown(kubeflow_tier, relearning)
