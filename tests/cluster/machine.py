"""Machines of a test cluster: namespaces of their own on this one, with containerd and one agent that runs pods.

A machine sees its own /run, /var/lib and /var/log; so a hostPath below /var/lib differs from machine to machine, outlives a
power cut, and can be looked at from outside.
"""

import json
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kept import digest_of, kept
from tests.cluster.network import Network, run
from tests.cluster.processes import Afterwards, Server
from tests.cluster.tools import program
from tests.cluster.unpacked import lay_out
from tests.waiting import until

PAUSE = "cloudedge.test/pause:1"
_INIT = Path(__file__).with_name("machine.sh")
_CONTAINERD = f"""version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true  # Root in a container may not lower it.
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/var/lib/cni-configuration"
"""


class Machine:
    """A node of a cluster.

    Attributes:
        name: The node's name in Kubernetes.
        lib: Its /var/lib.
    """

    def __init__(
        self, name: str, folder: Path, number: int, network: Network, control_plane: ControlPlane, agent: Sequence[str | Path]
    ) -> None:
        """Install one; what its agent reads may come later.

        Args:
            name: See the class.
            folder: What it keeps, not below /run or /var/lib.
            number: Counted from 1, of all machines.
            network: What it is plugged into.
            control_plane: Which knows it as a node.
            agent: The command that runs what the cluster wants to run here.
        """
        self.name = name
        self.lib = folder / "lib"
        self._number, self._network, self._folder, self._control_plane = number, network, folder, control_plane
        for each in ("lib/cni-configuration", "log", "images"):
            (folder / each).mkdir(parents=True)
        (folder / "containerd.toml").write_text(_CONTAINERD)
        (self.lib / "cni-configuration" / "10-pods.conflist").write_text(json.dumps(self._pod_network()))
        own = ("--net", "--mount", "--pid", "--ipc", "--uts", "--mount-proc", "--propagation=private")
        self._machine = Server(
            ["unshare", *own, "--fork", "--kill-child", "bash", _INIT, *agent],
            folder / "machine.log",
            {"NODE": str(folder), "HOST": name},
        )
        self._sweeping: Afterwards | None = None

    @property
    def kubelet(self) -> dict[str, Any]:
        """Settings of a kubelet, or of what is made of one."""
        runtime = "unix:///run/containerd/containerd.sock"
        return {
            "containerRuntimeEndpoint": runtime,
            "imageServiceEndpoint": runtime,
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": True,
            "cgroupRoot": f"/{self._network.name(self._number)}",
            "enforceNodeAllocatable": ["none"],
            "failSwapOn": False,
            # This machine's disk is not the node's: that it is nearly full must not cost the node its images.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        }

    def add_images(self, ours: Path, *archives: Path) -> None:
        """Have images there from its first start on: those that were `unpacked`, and those of archives."""
        lay_out(ours, self.lib / "containerd")
        for archive in archives:
            (self._folder / "images" / archive.name).symlink_to(archive)

    def load(self, archive: Path) -> None:
        """Bring an image to it while it is on."""
        self.run("ctr", "--namespace", "k8s.io", "images", "import", archive)

    def start(self) -> None:
        """Switch it on, or on again, and wait until it has booted; that its node is ready takes longer."""
        if not self._sweeping:
            self._sweeping = _own_cgroups(self._network.name(self._number))
        self._machine.start(self._has_init)
        self._network.join(self._number, self.init)
        until(Path("/proc", str(self.init), "root", "run", "booted").exists, what=f"{self.name} booted")

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

    def cut(self) -> None:
        """Take its link down."""
        self._network.cut(self._number)

    def heal(self) -> None:
        """Take its link up again."""
        self._network.heal(self._number)

    def ready(self) -> bool:
        """Whether the cloud thinks so."""
        try:
            node = client.CoreV1Api(self._control_plane.client()).read_node(self.name)
        except ApiException:
            return False
        return any(each.type == "Ready" and each.status == "True" for each in node.status.conditions or ())

    def run(self, *command: str | Path) -> str:
        """Run a program on the node, as its administrator; see `network.run`."""
        return run("nsenter", f"--target={self.init}", "--mount", "--net", "--pid", "--ipc", "--uts", "--", *command)

    @property
    def init(self) -> int:
        """Its first process."""
        (pid,) = children(self._machine.pid)
        return pid

    def _has_init(self) -> bool:
        pids = children(self._machine.pid)
        here = Path("/proc/self/ns/net").readlink()
        try:
            return bool(pids) and Path(f"/proc/{pids[0]}/ns/net").readlink() != here
        except OSError:
            return False

    def _pod_network(self) -> dict[str, Any]:
        addresses = {
            "type": "host-local",
            "ranges": [[{"subnet": self._network.pods(self._number)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        # What pods ask for comes from their node, as behind the router of a factory or a home.
        bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "ipMasq": True, "ipam": addresses}
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}


def image_of(name: str, programs: Mapping[str, Path]) -> Path:
    """The archive of an image of nothing but programs that need no system around them.

    Args:
        name: The image's.
        programs: By their names in /bin; the first is what a container runs by itself.
    """
    recipe = f'FROM scratch\nCOPY . /bin/\nENTRYPOINT ["/bin/{next(iter(programs))}"]\n'

    def build(path: Path) -> None:
        with TemporaryDirectory() as place:
            folder, context, file = Path(place), Path(place, "context"), Path(place, "Containerfile")
            context.mkdir()
            for inside, ours in programs.items():
                shutil.copy(ours, context / inside)
            file.write_text(recipe)
            buildah = ("buildah", "--root", folder / "root", "--runroot", folder / "run", "--storage-driver", "vfs")
            run(*buildah, "build", "--isolation", "chroot", "--file", file, "--tag", name, context)
            run(*buildah, "push", name, f"docker-archive:{path}:{name}")

    kind = name.rpartition("/")[2].partition(":")[0]
    return kept(kind, f"{name} {recipe} {list(programs)} {digest_of(programs.values())}", build)


def pause_archive() -> Path:
    """The image of the first process of each pod."""
    return image_of(PAUSE, {"pause": program("pause")})


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


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def program_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
