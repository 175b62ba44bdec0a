"""KubeEdge's nodes: cloudcore in the cloud, and edge nodes in namespaces of their own with containerd and edgecore.

A node sees its own /run, /var/lib and /var/log; so a hostPath below /var/lib differs from node to node, outlives a power cut,
and can be looked at from outside.
"""

import base64
import json
import os
import signal
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, utils
from kubernetes.client.exceptions import ApiException

from tests.cluster.control_plane import ControlPlane
from tests.cluster.network import Network, run
from tests.cluster.processes import Afterwards, Server, free_port
from tests.cluster.tools import beside, program
from tests.waiting import until

PAUSE = "cloudedge.test/pause:1"
_MACHINE = Path(__file__).with_name("machine.sh")
_CONTAINERD = f"""version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true  # Root in a container may not lower it.
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/var/lib/cni-configuration"
"""


class CloudCore:
    """KubeEdge's part in the cloud."""

    def __init__(self, folder: Path, control_plane: ControlPlane, address: str) -> None:
        """Prepare it for edges that reach the cloud at an address."""
        self.control_plane = control_plane
        self.join_url = f"https://{address}:{free_port(address)}"
        self.websocket = f"{address}:{free_port(address)}"
        keys = {"CAFile": "ca.crt", "CAKeyFile": "ca.key", "CertFile": "server.crt", "PrivateKeyFile": "server.key"}
        hub = {
            "advertiseAddress": [address],
            "nodeLimit": 100,
            "keepaliveInterval": 15,
            "https": {"enable": True, "address": address, "port": int(self.join_url.rpartition(":")[2])},
            "websocket": {"enable": True, "address": address, "port": int(self.websocket.rpartition(":")[2])},
            **{f"tls{name}": str(folder / file) for name, file in keys.items()},
        }
        off: dict[str, Any] = {"enable": False}
        configuration = {
            "apiVersion": "cloudcore.config.kubeedge.io/v1alpha1",
            "kind": "CloudCore",
            "commonConfig": {"monitorServer": {"bindAddress": f"127.0.0.1:{free_port()}"}},
            "kubeAPIConfig": {"kubeConfig": str(control_plane.kubeconfig)},
            "modules": {"cloudHub": hub, "cloudStream": off, "iptablesManager": off, "router": off, "taskManager": off},
        }
        (folder / "cloudcore.json").write_text(json.dumps(configuration))
        self._server = Server([program("cloudcore"), "--config", folder / "cloudcore.json"], folder / "cloudcore.log")
        self.token = ""

    def start(self) -> None:
        """Start it, or start it again."""
        api = self.control_plane.client()
        for path in sorted(beside("cloudcore").rglob("*.yaml")):
            for definition in yaml.safe_load_all(path.read_text()):
                if definition:
                    _made_once(lambda definition=definition: utils.create_from_dict(api, definition))
        core = client.CoreV1Api(api)
        _made_once(lambda: core.create_namespace({"metadata": {"name": "kubeedge"}}))
        self._server.start(self._has_token)

    def kill(self) -> None:
        """As a crash would."""
        self._server.kill()

    def stop(self) -> None:
        """End it."""
        self._server.stop()

    def _has_token(self) -> bool:
        try:
            secret = client.CoreV1Api(self.control_plane.client()).read_namespaced_secret("tokensecret", "kubeedge")
        except ApiException:
            return False
        self.token = base64.b64decode(secret.data["tokendata"]).decode()
        return True


class EdgeNode:
    """A machine at the edge.

    Attributes:
        name: The node's name in Kubernetes.
        lib: Its /var/lib.
    """

    def __init__(self, folder: Path, number: int, network: Network, cloud: CloudCore, sync: str) -> None:
        """Install one.

        Args:
            folder: What it keeps, not below /run or /var/lib.
            number: Counted from 1.
            network: Its way to the cloud.
            cloud: Whom it joins.
            sync: How often it looks, by itself, whether what its pods have mounted has changed: KubeEdge's `syncFrequency`.
        """
        self.name = f"edge-{number}"
        self.lib = folder / "lib"
        self._number, self._network, self._folder, self._cloud = number, network, folder, cloud
        for each in ("lib/cni-configuration", "log", "images"):
            (folder / each).mkdir(parents=True)
        (folder / "containerd.toml").write_text(_CONTAINERD)
        (self.lib / "cni-configuration" / "10-pods.conflist").write_text(json.dumps(self._pod_network()))
        self.look_every(sync)
        own = ("--net", "--mount", "--pid", "--ipc", "--uts", "--mount-proc", "--propagation=private")
        self._machine = Server(
            ["unshare", *own, "--fork", "--kill-child", "bash", _MACHINE],
            folder / "machine.log",
            {"NODE": str(folder), "EDGECORE": str(program("edgecore"))},
        )
        self._sweeping: Afterwards | None = None

    def look_every(self, sync: str) -> None:
        """Have it look, from the next start of edgecore on, this often at what its pods have mounted; see `__init__`."""
        (self._folder / "edgecore.json").write_text(json.dumps(self._edgecore(sync)))

    def add_image(self, archive: Path) -> None:
        """Have an image there from the next start on."""
        (self._folder / "images" / archive.name).symlink_to(archive)

    def start(self) -> None:
        """Switch it on, or on again, and wait until it has booted; that its node is ready takes longer."""
        if not self._sweeping:
            self._sweeping = _own_cgroups(self._network.name(self._number))
        self._machine.start(self._has_init)
        self._network.join(self._number, self.init)
        until(Path(f"/proc/{self.init}/root/run/booted").exists, 120, f"{self.name} booted")

    def power_off(self) -> None:
        """Without a warning."""
        if self._has_init():
            os.kill(self.init, signal.SIGKILL)
        self._machine.kill()
        self._network.leave(self._number)

    def stop(self) -> None:
        """Switch it off, and leave nothing of it on this machine but its folder."""
        self.power_off()
        if self._sweeping:
            self._sweeping.run()

    def kill_edgecore(self) -> None:
        """As a crash would; it starts again at once, and the pods live on."""
        before = self._edgecore_pid()
        os.kill(before, signal.SIGKILL)
        until(lambda: self._edgecore_pid() not in {before, 0}, 30, "edgecore's restart")

    def cut(self) -> None:
        """Take its link down."""
        self._network.cut(self._number)

    def heal(self) -> None:
        """Take its link up again."""
        self._network.heal(self._number)

    def ready(self) -> bool:
        """Whether the cloud thinks so."""
        try:
            node = client.CoreV1Api(self._cloud.control_plane.client()).read_node(self.name)
        except ApiException:
            return False
        return any(each.type == "Ready" and each.status == "True" for each in node.status.conditions or ())

    def run(self, *command: str | Path) -> str:
        """Run a program on the node, as its administrator; see `network.run`."""
        return run("nsenter", f"--target={self.init}", "--mount", "--net", "--pid", "--ipc", "--uts", "--", *command)

    @property
    def init(self) -> int:
        """Its first process."""
        (pid,) = _children(self._machine.pid)
        return pid

    def log(self) -> str:
        """What edgecore said last."""
        return (self._folder / "log" / "edgecore.log").read_text(errors="replace")[-4000:]

    def _has_init(self) -> bool:
        pids = _children(self._machine.pid)
        here = Path("/proc/self/ns/net").readlink()
        try:
            return bool(pids) and Path(f"/proc/{pids[0]}/ns/net").readlink() != here
        except OSError:
            return False

    def _edgecore_pid(self) -> int:
        found = [pid for pid in _children(self.init) if _program_of(pid) == "edgecore"]
        return found[0] if found else 0

    def _pod_network(self) -> dict[str, Any]:
        addresses = {
            "type": "host-local",
            "ranges": [[{"subnet": self._network.pods(self._number)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "ipam": addresses}
        return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}

    def _edgecore(self, sync: str) -> dict[str, Any]:
        home = "/var/lib/kubeedge"
        runtime = "unix:///run/containerd/containerd.sock"
        hub = {
            "heartbeat": 5,
            "token": self._cloud.token,
            "httpServer": self._cloud.join_url,
            "tlsCaFile": f"{home}/ca.crt",
            "tlsCertFile": f"{home}/server.crt",
            "tlsPrivateKeyFile": f"{home}/server.key",
            "websocket": {
                "enable": True,
                "server": self._cloud.websocket,
                "handshakeTimeout": 30,
                "readDeadline": 15,
                "writeDeadline": 15,
            },
        }
        kubelet = {
            "address": "127.0.0.1",
            "containerRuntimeEndpoint": runtime,
            "imageServiceEndpoint": runtime,
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": True,
            "cgroupRoot": f"/{self._network.name(self._number)}",
            "enforceNodeAllocatable": ["none"],
            "failSwapOn": False,
            "syncFrequency": sync,
            # This machine's disk is not the node's: that it is nearly full must not cost the node its images.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        }
        edged = {
            "enable": True,
            "hostnameOverride": self.name,
            "nodeIP": self._network.node(self._number),
            "registerNodeNamespace": "default",
            "rootDirectory": "/var/lib/kubelet",
            "podSandboxImage": PAUSE,
            "tailoredKubeletConfig": kubelet,
        }
        off: dict[str, Any] = {"enable": False}
        return {
            "apiVersion": "edgecore.config.kubeedge.io/v1alpha2",
            "kind": "EdgeCore",
            "database": {"dataSource": f"{home}/edgecore.db"},
            "modules": {
                "edgeHub": {"enable": True, **hub, "quic": off},
                "edged": edged,
                "metaManager": {"enable": True, "metaServer": off},
                "deviceTwin": {"enable": True},
                "eventBus": off,
                "serviceBus": off,
                "edgeStream": off,
                "taskManager": off,
            },
        }


def pause_archive(folder: Path) -> Path:
    """The image of the first process of each pod."""
    archive = folder / "pause.tar"
    storage = ["--root", str(folder / "storage"), "--runroot", str(folder / "runroot"), "--storage-driver", "vfs"]
    (folder / "Containerfile").write_text('FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n')
    recipe: list[str | Path] = [
        "--isolation",
        "chroot",
        "--file",
        folder / "Containerfile",
        "--tag",
        PAUSE,
        program("pause").parent,
    ]
    run("buildah", *storage, "build", *recipe)
    run("buildah", *storage, "push", PAUSE, f"docker-archive:{archive}:{PAUSE}")
    return archive


def _own_cgroups(name: str) -> Afterwards:
    """Make a control group in each hierarchy (there is one, or the several of version 1), to be removed with all below it."""
    top = Path("/sys/fs/cgroup")
    hierarchies = [top] if (top / "cgroup.controllers").exists() else [path for path in top.iterdir() if not path.is_symlink()]
    made = [hierarchy / name for hierarchy in hierarchies if (hierarchy / "cgroup.procs").exists()]
    for group in made:
        group.mkdir(exist_ok=True)
    groups = " ".join(map(str, made))
    # The processes in them end at the same time as whoever asks for this.
    remove = f"find {groups} -depth -type d -exec rmdir {{}} + 2> /dev/null; ls -d {groups} > /dev/null 2>&1 || exit 0"
    return Afterwards(f"for _ in $(seq 300); do {remove}; sleep 0.1; done; exit 1")


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _program_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _made_once(make: Any) -> None:
    try:
        make()
    except utils.FailToCreateError as error:
        if any(each.status != 409 for each in error.api_exceptions):
            raise
    except ApiException as error:
        if error.status != 409:
            raise
