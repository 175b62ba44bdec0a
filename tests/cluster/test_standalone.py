"""A cluster that had neither a store nor MLflow: what the overlay `standalone` brings, as pods, from its manifests to a run."""

import json
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.cloud_tier import CloudTier
from tests.cluster.edge_tier import EdgeSite
from tests.cluster.images import name as image_name
from tests.cluster.object_store import User
from tests.cluster.site import MANIFESTS
from tests.digits import EDGES, digits_task
from tests.e2e.conftest import Finished
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

CLOUD = "cloudedge"


class StandaloneSite(EdgeSite):
    """A site whose store is a pod, prepared as the administrator's guide says."""

    def __init__(self, folder: Path, tier: CloudTier) -> None:
        """See `Site`."""
        super().__init__(folder, tier.edges)
        for volume in ("minio", "mlflow"):
            tier.add_volume(volume)
        shutil.copytree(MANIFESTS, folder / "manifests")
        overlay = folder / "manifests" / "overlays" / "standalone"
        origin = f"http://{tier.edges.network.node(len(tier.edges.nodes) + 1)}:30900"
        with (overlay / "settings.env").open("a") as settings:
            settings.write(f"CLOUDEDGE_STORE_FOR_EDGES={origin}\n")
        self.user, self.address = User("cloudedge", secrets.token_hex(20)), f"{origin}/cloudedge"
        root = {"MINIO_ROOT_USER": "root", "MINIO_ROOT_PASSWORD": secrets.token_hex(20)}
        for file, keys in (("minio.env", root), ("store.env", self.user.environment)):
            (overlay / file).write_text("".join(f"{name}={value}\n" for name, value in keys.items()))
        self.kubectl("apply", "-k", str(overlay))
        tier.name_services(CLOUD)

    def remove(self) -> None:
        """Take away what only this overlay brings."""
        for name, policy in (("minio", "edges-and-steps-call-minio"), ("mlflow", "steps-call-mlflow")):
            mine = (f"deployment/{name}", f"service/{name}", f"pvc/{name}", f"networkpolicy/{policy}")
            self.kubectl("delete", "--namespace", CLOUD, "--ignore-not-found", *mine)
        self.kubectl("delete", "job", "cloudedge-prepare-store", "-n", CLOUD)
        self.kubectl("delete", "pv", "minio", "mlflow")

    def waited_for(self, condition: str, *what: str) -> None:
        """Wait until objects of the cloud's namespace are so."""
        self.kubectl("wait", "--namespace", CLOUD, "--for", condition, "--timeout=240s", *what)

    def done(self, name: str, namespace: str, *command: str) -> str:
        """Run a command in a pod to its end, and say what it said."""
        with self.pod(name, namespace, *command):
            where = ("--namespace", namespace)
            phase = ("get", "pod", name, *where, "--output", "jsonpath={.status.phase}")
            until(lambda: self.kubectl(*phase) in {"Succeeded", "Failed"}, what=f"the end of {name}")
            return self.kubectl("logs", name, *where)

    @contextmanager
    def pod(self, name: str, namespace: str, *command: str) -> Iterator[None]:
        """A pod of the cloud's image that has begun a command; its label `run` is its name."""
        container = {
            "name": "main",
            "image": image_name("cloud"),
            "command": list(command),
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        spec = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "nodeSelector": {"kubernetes.io/hostname": "cloud"},
            "securityContext": {"runAsUser": 10001, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        }
        metadata = {"name": name, "labels": {"run": name}}
        manifest = self.folder / f"{name}.json"
        manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
        where = ("--namespace", namespace)
        self.kubectl("apply", *where, "--filename", str(manifest))
        try:
            begun = ("get", "pod", name, *where, "--output", "jsonpath={.status.phase}")
            until(lambda: self.kubectl(*begun) != "Pending", what=f"the beginning of {name}")
            yield
        finally:
            self.kubectl("delete", "pod", name, *where)

    def address_of(self, label: str) -> str:
        """The address of a pod in the cloud's namespace."""
        where = ("--namespace", CLOUD, "--selector", label)
        return self.kubectl("get", "pods", *where, "--output", "jsonpath={.items[0].status.podIP}")


@pytest.fixture(scope="module")
def site(cloud_tier: CloudTier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandaloneSite]:
    """The overlay, installed."""
    site = StandaloneSite(tmp_path_factory.mktemp("standalone"), cloud_tier)
    try:
        site.waited_for("condition=Available", "deployment/minio", "deployment/mlflow")
        site.waited_for("condition=Complete", "job/cloudedge-prepare-store")
        yield site
    finally:
        site.remove()


def test_a_run_whose_store_is_the_overlays_gives_the_laptops_bytes(site: StandaloneSite, flat: Finished, samples: Path) -> None:
    task = digits_task()
    with site.edges(samples, EDGES):
        site.put_samples(samples)
        site.finish(site.pipeline(task, compact=True))
    site.assert_bytes_of(flat)


def test_the_reaper_finds_the_store_and_the_inboxes(site: StandaloneSite) -> None:
    site.kubectl("create", "job", "tried", "-n", CLOUD, "--from=cronjob/cloudedge-reaper")
    try:
        site.waited_for("condition=Complete", "job/tried")
    finally:
        # The schedule removes jobs that are over, this one included, but for the newest ones.
        site.kubectl("delete", "job", "tried", "-n", CLOUD, "--ignore-not-found")


def test_what_runs_in_the_cluster_reaches_mlflow_by_its_name(site: StandaloneSite) -> None:
    ask = "from mlflow import MlflowClient; print([each.name for each in MlflowClient('{}').search_experiments()])"
    assert site.done("step", "default", "python", "-c", ask.format("http://mlflow.cloudedge.svc:5000")) == "['Default']\n"


def test_network_policies_let_edges_call_the_store_and_nobody_else(site: StandaloneSite) -> None:
    # Here is outside of the cluster, as edges are; whatever has no policy of its own would be reached by the same way.
    names = {"minio": "app.kubernetes.io/name=minio", "mlflow": "app.kubernetes.io/name=mlflow", "another": "run=listens"}
    ports = {"minio": 9000, "mlflow": 5000, "another": 8000}
    with site.pod("listens", CLOUD, "python", "-m", "http.server", "8000"):

        def reached() -> dict[str, bool]:
            return {name: _reached(site.address_of(label), ports[name]) for name, label in names.items()}

        until(lambda: reached() == {"minio": True, "mlflow": False, "another": False}, what="what the policies say")
        for policy in ("nobody-calls-unless-allowed", "steps-call-mlflow"):
            site.kubectl("delete", "networkpolicy", policy, "-n", CLOUD)
        until(lambda: all(reached().values()), what="calls that no policy forbids")


def _reached(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=3).close()
    except OSError:
        return False
    return True
