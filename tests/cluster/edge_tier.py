"""The edge tier: a cluster whose edges are KubeEdge nodes, with the runners of users as pods on them."""

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from cloud.fleet.enrolment import USER, runner_name
from cloud.inboxes.config_maps import EDGE_LABEL, RUNNERS
from tests.cluster.control_plane import ControlPlane
from tests.cluster.edge_node import CloudCore, EdgeNode
from tests.cluster.images import pods_pytorch
from tests.cluster.machine import pause_archive
from tests.cluster.network import Network
from tests.cluster.object_store import MinioServer
from tests.cluster.site import NAMESPACE, Site
from tests.cluster.unpacked import unpacked
from tests.waiting import until

SYNC = "10s"
"""How often nodes look after what is mounted, in these tests; users' do every minute."""

_CTR = ("ctr", "--namespace", "k8s.io")


class EdgeTier:
    """A control plane, a MinIO, KubeEdge's cloud and its nodes."""

    def __init__(self, folder: Path, nodes: int = 2, sync: str = SYNC) -> None:
        """Prepare it."""
        self._folder, self._count, self._sync = folder, nodes, sync
        self._running = ExitStack()
        self.nodes: list[EdgeNode] = []

    def start(self) -> None:
        """Start it all, and wait until the nodes are ready."""
        self.network = network = Network(self._folder)
        self._running.callback(network.stop)
        network.start()
        self.control_plane = ControlPlane(self._made("control-plane"), network.cloud)
        self.minio = MinioServer(self._made("minio"), network.cloud)
        for server in (self.control_plane, self.minio):
            self._running.callback(server.stop)
            server.start()
        self.cloud = CloudCore(self._made("cloudcore"), self.control_plane, network.cloud)
        self._running.callback(self.cloud.stop)
        self.cloud.start()
        self.pause = pause_archive()
        for number in range(1, self._count + 1):
            node = EdgeNode(self._made(f"edge-{number}"), number, network, self.cloud, self._sync)
            node.add_images(unpacked("edge"), self.pause)
            self._running.callback(node.stop)
            node.start()
            self.nodes.append(node)
        for node in self.nodes:
            until(node.ready, what=f"{node.name} ready")

    def stop(self) -> None:
        """End it all."""
        self._running.close()

    def _made(self, name: str) -> Path:
        (self._folder / name).mkdir()
        return self._folder / name


class EdgeSite(Site):
    """A site whose runners are pods."""

    def __init__(self, folder: Path, tier: EdgeTier, tracking_uri: str = "") -> None:
        """See `Site`."""
        super().__init__(folder, tier.control_plane, tier.minio, tracking_uri)
        self.nodes = tier.nodes

    def node_of(self, name: str) -> EdgeNode:
        """The node of an edge; nodes are given to edges in turn."""
        return self.nodes[(int(name.rpartition("-")[2]) - 1) % len(self.nodes)]

    def state(self, name: str) -> Path:
        """What the runner of an edge keeps."""
        return self.node_of(name).lib / "cloudedge" / name

    @contextmanager
    def edges(self, samples: Path, names: tuple[str, ...], *options: str) -> Iterator[None]:
        """See `Site.edges`; `options` are more ones of their enrolment."""
        for name in names:
            node = self.node_of(name)
            shutil.copytree(samples / "edges" / name, node.lib / "samples" / name, dirs_exist_ok=True)
            # As the administrator's guide says.
            node.run("install", "-d", "-o", str(USER), "-g", str(USER), f"/var/lib/cloudedge/{name}")
            self.enroll(name, *options)
        try:
            for name in names:
                self.wait_for_runner(name)
            yield
        finally:
            for process in self._pipelines:
                process.kill()
                process.wait()
            for node in self.nodes:
                node.heal()
            for name in names:
                (self.folder / f"{name}.log").write_text(self.log(name))
                self.cli("edges", "remove", name, "--force")
            # KubeEdge may take minutes to hear of it where a link was cut before.
            until(lambda: not any(map(self.pods, names)), 300, "the end of their runners' pods")
            for name in names:
                shutil.rmtree(self.state(name))
                shutil.rmtree(self.node_of(name).lib / "samples" / name)
                for folder in self._pods_logs(name):  # The node may keep them for minutes, or remove them just now.
                    shutil.rmtree(folder, ignore_errors=True)

    def enroll(self, name: str, *options: str) -> None:
        """Enroll an edge, or enroll it again, with its folders on its node."""
        places = ("--state", f"/var/lib/cloudedge/{name}", "--samples", f"/var/lib/samples/{name}")
        node = self.node_of(name).name
        self._apply_with_pytorch(name, self.cli("edges", "enroll", name, "--node", node, *places, *options, "--render"))

    def wait_for_runner(self, name: str) -> None:
        """Wait until an edge has one pod, and that one runs."""
        until(lambda: self.pods(name) == ["Running"], what=f"the runner of {name}")

    def pods(self, name: str) -> list[str]:
        """The phases of an edge's runner's pods, as the cloud knows them."""
        return [pod.status.phase for pod in self._pods_of(name)]

    def log(self, name: str) -> str:
        """What the runner of an edge said since its pod came."""
        said = []
        for log in sorted(log for folder in self._pods_logs(name) for log in folder.glob("runner/*.log")):
            with suppress(FileNotFoundError):  # The node may remove those of a former pod just now.
                said.append(log.read_text())
        return "".join(said)

    def _pods_logs(self, name: str) -> list[Path]:
        """A folder for each pod that the runner of an edge has had."""
        return list((self.node_of(name).lib.parent / "log" / "pods").glob(f"{NAMESPACE}_{runner_name(name)}-*"))

    def inside(self, name: str, *command: str) -> str:
        """Run a program in the container of an edge's runner, as its user."""
        execute = ("tasks", "exec", "--user", str(USER), "--exec-id", secrets.token_hex(4))
        return self.node_of(name).run(*_CTR, *execute, self._container(name), *command)

    def kill(self, name: str) -> None:
        """End all processes in the container of an edge's runner, as a crash would."""
        self.node_of(name).run(*_CTR, "tasks", "kill", "--signal", "SIGKILL", self._container(name))

    def _container(self, name: str) -> str:
        """Id of the container in which an edge's runner is at work.

        Raises:
            AssertionError: there is none now, or another pod takes the place of the one before.
        """
        pods = [pod.metadata.name for pod in self._pods_of(name)]
        assert len(pods) == 1, f"the pods of the runner {name} are {pods}"
        which = f'labels."io.kubernetes.pod.name"=={pods[0]},labels."io.kubernetes.container.name"==runner'
        node = self.node_of(name)
        found = node.run(*_CTR, "containers", "list", "--quiet", which).split()
        running = {line.split()[0] for line in node.run(*_CTR, "tasks", "list").splitlines()[1:] if "RUNNING" in line}
        at_work = running.intersection(found)
        assert len(at_work) == 1, f"the containers of the runner {name} that are at work are {at_work}"
        return at_work.pop()

    def _pods_of(self, name: str) -> list[Any]:
        labels = f"{RUNNERS},{EDGE_LABEL}={name}"
        core = client.CoreV1Api(self.control_plane.client())
        return list(core.list_namespaced_pod(NAMESPACE, label_selector=labels).items)

    def _apply_with_pytorch(self, name: str, rendered: str) -> None:
        """Make an edge known, with this machine's PyTorch mounted: the image that is tested here was built without one."""
        inbox, deployment = yaml.safe_load_all(rendered)
        pod, addition = deployment["spec"]["template"]["spec"], pods_pytorch("runner")
        pod["volumes"] += addition["volumes"]
        pod["containers"][0]["volumeMounts"] += addition["containers"][0]["volumeMounts"]
        manifest = self.folder / f"{name}.json"
        manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [inbox, deployment]}))
        self.kubectl("apply", "--filename", str(manifest))
