"""The cloud tier: a node in the cloud of an edge tier, with the images that manifests name, volumes, and names of services."""

from contextlib import ExitStack
from pathlib import Path

from kubernetes import client

from tests.cluster.cloud_node import CloudNode
from tests.cluster.edge_tier import EdgeTier
from tests.cluster.images import TARGETS
from tests.cluster.machine import image_of
from tests.cluster.network import run
from tests.cluster.processes import Server
from tests.cluster.tools import program
from tests.cluster.unpacked import unpacked

_RELEASE = "docker.io/minio/minio:RELEASE.2025-09-07T16-13-09Z"
"""As the manifests name it; what is in it is the same release, built here."""


class CloudTier:
    """A cloud that pods run in.

    Attributes:
        edges: The edge tier.
        node: The cloud's only node.
    """

    def __init__(self, folder: Path, edges: EdgeTier) -> None:
        """Prepare it, in a cluster that is up."""
        self.edges = edges
        self._folder = folder
        self._running = ExitStack()
        self._names = self.made("names")
        self.node = CloudNode(self.made("cloud"), len(edges.nodes) + 1, edges.network, edges.control_plane)

    def start(self) -> None:
        """Start it, and wait until it can run something."""
        minio = image_of(_RELEASE, {"minio": program("minio")})
        self.node.add_images(unpacked(*TARGETS), self.edges.pause, minio)
        names = Server(self._name_server(), self._folder / "names.log")
        self._running.callback(names.stop)
        names.start(lambda: True)
        self._running.callback(self.node.stop)
        self.node.start()
        # As the administrator's guide has it: Kubeflow's own pods would be put anywhere.
        edge = "node-role.kubernetes.io/edge"
        kubeconfig = self.edges.control_plane.kubeconfig
        run(program("kubectl"), "--kubeconfig", kubeconfig, "taint", "nodes", "--selector", edge, f"{edge}:NoSchedule")

    def stop(self) -> None:
        """End it all."""
        self._running.close()

    def made(self, name: str) -> Path:
        """A new folder."""
        (self._folder / name).mkdir()
        return self._folder / name

    def name_services(self, namespace: str) -> None:
        """Let pods find the services of a namespace by their names, as a cluster's own name server does."""
        services = client.CoreV1Api(self.edges.control_plane.client()).list_namespaced_service(namespace).items
        names = (f"{each.metadata.name}.{namespace}.svc" for each in services)
        lines = (f"{each.spec.cluster_ip} {name} {name}.cluster.local\n" for each, name in zip(services, names, strict=True))
        (self._names / namespace).write_text("".join(lines))

    def add_volume(self, name: str) -> None:
        """Make a volume for whoever claims one next, as a storage class does."""
        path = self.node.lib / "volumes" / name
        path.mkdir(parents=True)
        path.chmod(0o777)
        spec = {
            "capacity": {"storage": "50Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": f"/var/lib/volumes/{name}", "type": "Directory"},
        }
        core = client.CoreV1Api(self.edges.control_plane.client())
        core.create_persistent_volume({"metadata": {"name": name}, "spec": spec})

    def _name_server(self) -> list[str | Path]:
        here = f"--listen-address={self.edges.network.cloud}"
        alone = (
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--pid-file=",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
        )
        return ["dnsmasq", *alone, here, "--user=root", f"--hostsdir={self._names}"]
