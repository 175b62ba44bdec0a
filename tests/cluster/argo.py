"""A whole Kubeflow Pipelines: its API server, and what runs its workflows in a cloud tier.

Driver, launcher and agent are of Kubeflow Pipelines 2.0.5, as the API server is; Argo is 4.0.
"""

import json
import sqlite3
import sys
from contextlib import ExitStack, closing
from pathlib import Path

from kubernetes import client

from tests.cluster.cloud_tier import CloudTier
from tests.cluster.images import pods_pytorch, uv
from tests.cluster.kept import digest_of, kept
from tests.cluster.kubeflow import NAMESPACE, KubeflowServer, in_a_pod, pods_environment
from tests.cluster.machine import image_of
from tests.cluster.network import run
from tests.cluster.processes import Server, free_port
from tests.cluster.tools import beside, program

_IMAGE = "cloudedge.test/kubeflow:1"
_ACCOUNT = "pipeline-runner"
_PROGRAMS = {
    "argoexec": "argoexec",
    "driver": "driver",
    "kubeflow-driver": "kubeflow-driver",
    "launcher-v2": "kubeflow-launcher",
}
"""Of the image: the names that workflows call them by, and ours."""

_WORKFLOW_DEFAULTS = {
    "ttlStrategy": {"secondsAfterCompletion": 3600, "secondsAfterSuccess": 3600, "secondsAfterFailure": 3600},
    "templateDefaults": {"retryStrategy": {"limit": "2", "retryPolicy": "OnError"}},
}
"""What the manifests of Kubeflow Pipelines 2.17 have Argo do with every workflow."""

_PYTHON = "python3.11"
"""The last one that ML Metadata is published for."""

_HERE = Path(__file__).parent


class KubeflowTier:
    """A Kubeflow in a cloud tier.

    Attributes:
        edges: Its edge tier.
        kubeflow: Its API server.
    """

    def __init__(self, folder: Path, cloud: CloudTier) -> None:
        """Prepare it, in a cluster that is up."""
        self.edges = edges = cloud.edges
        self._cloud = cloud
        self._folder = folder
        self._running = ExitStack()
        self._metadata = f"{edges.network.cloud}:{free_port(edges.network.cloud)}"
        self.kubeflow = KubeflowServer(folder / "kubeflow", edges.control_plane, edges.minio, pods_image=_IMAGE)

    def start(self) -> None:
        """Start it all, and wait until it can run something."""
        programs = {name: program(ours) for name, ours in _PROGRAMS.items()}
        self._cloud.node.load(image_of(_IMAGE, programs))
        self._kubectl("apply", "--kustomize", beside("argo-controller"))
        self._running.callback(self.kubeflow.stop)
        self.kubeflow.start()
        self._prepare()
        for server in (self._metadata_store(), self._controller(), self._agent()):
            self._running.callback(server.stop)
            server.start(lambda: True)

    def stop(self) -> None:
        """End it all."""
        self._running.close()

    def artifacts(self, kind: str) -> list[str]:
        """Where the artifacts of a kind lie, as ML Metadata has it, which Kubeflow's pages ask."""
        asked = "SELECT uri FROM Artifact JOIN Type ON Type.id = Artifact.type_id WHERE Type.name = ?"
        with closing(sqlite3.connect(f"file:{self._folder / 'metadata.db'}?mode=ro", uri=True)) as database:
            return [str(uri) for (uri,) in database.execute(asked, (kind,))]

    def _prepare(self) -> None:
        """Make what Kubeflow's manifests make in its namespace."""
        core = client.CoreV1Api(self.edges.control_plane.client())
        minio, secret = self.edges.minio, {"name": "mlpipeline-minio-artifact"}
        keys = {"accesskey": minio.root.access_key, "secretkey": minio.root.secret_key}
        core.create_namespaced_secret(NAMESPACE, {"metadata": secret, "stringData": keys})
        minio.client().make_bucket("mlpipeline")
        self._serve("minio-service", 9000, minio.endpoint)
        # By address, as there are no names in this cluster.
        metadata = {
            "METADATA_GRPC_SERVICE_HOST": self._serve("metadata-grpc-service", 8080, self._metadata),
            "METADATA_GRPC_SERVICE_PORT": "8080",
        }
        core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "metadata-grpc-configmap"}, "data": metadata})
        core.create_namespaced_service_account(NAMESPACE, {"metadata": {"name": _ACCOUNT}})
        rules = [
            {"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "patch"]},
            {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]},
        ]
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": _ACCOUNT}
        subject = {"kind": "ServiceAccount", "name": _ACCOUNT, "namespace": NAMESPACE}
        rights = client.RbacAuthorizationV1Api(core.api_client)
        rights.create_namespaced_role(NAMESPACE, {"metadata": {"name": _ACCOUNT}, "rules": rules})
        rights.create_namespaced_role_binding(
            NAMESPACE, {"metadata": {"name": _ACCOUNT}, "roleRef": role, "subjects": [subject]}
        )
        # PyTorch is not in the image that is tested here.
        patch = pods_pytorch("main")
        # And the driver wants to know which node of its workflow it is.
        node = {"fieldPath": "metadata.annotations['workflows.argoproj.io/node-name']"}
        patch["containers"][0]["env"] = [{"name": "NODE_NAME", "valueFrom": {"fieldRef": node}}]
        defaults = json.dumps({"spec": {**_WORKFLOW_DEFAULTS, "podSpecPatch": json.dumps(patch)}})
        name = {"name": "workflow-controller-configmap"}
        core.create_namespaced_config_map(NAMESPACE, {"metadata": name, "data": {"workflowDefaults": defaults}})

    def _serve(self, name: str, port: int, endpoint: str) -> str:
        """Make a server on this machine a service of the cluster; returns its address there."""
        api = self.edges.control_plane.client()
        spec = {"ports": [{"name": "main", "port": port}]}
        made = client.CoreV1Api(api).create_namespaced_service(NAMESPACE, {"metadata": {"name": name}, "spec": spec})
        host, _, its = endpoint.partition(":")
        labels = {"kubernetes.io/service-name": name}
        slice_of_one = {
            "metadata": {"name": name, "labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "main", "port": int(its)}],
            "endpoints": [{"addresses": [host]}],
        }
        client.DiscoveryV1Api(api).create_namespaced_endpoint_slice(NAMESPACE, slice_of_one)
        return str(made.spec.cluster_ip)

    def _metadata_store(self) -> Server:
        command: list[str | Path] = [_PYTHON, _HERE / "metadata_server.py", self._metadata, self._folder / "metadata.db"]
        return Server(command, self._folder / "metadata.log", {"PYTHONPATH": str(_ml_metadata())})

    def _controller(self) -> Server:
        command: list[str | Path] = [
            program("argo-controller"),
            f"--kubeconfig={self.edges.control_plane.kubeconfig}",
            f"--namespace={NAMESPACE}",
            "--namespaced",
            f"--managed-namespace={NAMESPACE}",
            f"--executor-image={_IMAGE}",
        ]
        # At its default, ten seconds, each task of a run takes twenty.
        own = {"LEADER_ELECTION_DISABLE": "true", "DEFAULT_REQUEUE_TIME": "1s"}
        return Server(command, self._folder / "argo-controller.log", own)

    def _agent(self) -> Server:
        folder = self._made("agent")
        host, _, port = self.kubeflow.url.removeprefix("http://").partition(":")
        command = in_a_pod(
            program("kubeflow-agent"),
            f"--kubeconfig={self.edges.control_plane.kubeconfig}",
            f"--namespace={NAMESPACE}",
            f"--mlPipelineAPIServerName={host}",
            f"--mlPipelineServiceHttpPort={port}",
            f"--mlPipelineServiceGRPCPort={self.kubeflow.rpc_port}",
            "--logtostderr",
        )
        return Server(command, folder / "agent.log", pods_environment(self.edges.control_plane, folder))

    def _kubectl(self, *arguments: str | Path) -> None:
        run(program("kubectl"), "--kubeconfig", self.edges.control_plane.kubeconfig, *arguments)

    def _made(self, name: str) -> Path:
        (self._folder / name).mkdir()
        return self._folder / name


def _ml_metadata() -> Path:
    """A folder with ML Metadata as locked; it wants other versions of what we have."""
    lock = _HERE / "ml-metadata.lock"

    def install(path: Path) -> None:
        options = ["--quiet", "--python", sys.executable, "--python-version", _PYTHON.removeprefix("python")]
        run(uv(), "pip", "install", *options, "--target", path, "--no-deps", "--require-hashes", "--requirement", lock)

    return kept("mlmd", digest_of([lock]), install)
