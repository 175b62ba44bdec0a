"""Containers of the images, run as a node runs them: by containerd, on a read-only file system."""

import secrets
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.processes import Server

_OWN = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""In these namespaces everything that containerd starts and mounts ends with it, also when it is killed."""

_START = 'mount -t tmpfs tmpfs /run && exec containerd --config "$0"'


@dataclass(frozen=True)
class Container:
    """What is run: an image, a command in place of the image's own, and what it is given.

    Attributes:
        image: Name of an image that was loaded.
        command: Words of the command; none: the image's own.
        mounts: Folders of this machine by their paths inside. Those that it may write to end in `:rw`.
        environment: Variables beside the image's own.
        host_network: Whether it shares this machine's network; else it has none.
    """

    image: str
    command: Sequence[str] = ()
    mounts: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    host_network: bool = False


class Containerd:
    """A containerd of a test's own.

    Attributes:
        root: Where it keeps images.
    """

    def __init__(self, folder: Path) -> None:
        """Prepare one."""
        self.root = folder / "root"
        self._folder = folder
        self._socket = folder / "containerd.sock"
        config = folder / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{self.root}"\nstate = "{folder}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{self._socket}"\n'
        )
        self._server = Server([*_OWN, "sh", "-c", _START, config], folder / "containerd.log")

    def start(self) -> None:
        """Start it."""
        self._server.start(
            lambda: self._socket.exists() and subprocess.run(self._ctr("version"), capture_output=True).returncode == 0
        )

    def stop(self) -> None:
        """End it and whatever it runs."""
        self._server.kill()

    def load(self, archive: Path) -> None:
        """Take the image of an archive."""
        subprocess.run(self._ctr("images", "import", str(archive)), check=True, stdout=subprocess.DEVNULL)

    def run(self, container: Container) -> "subprocess.CompletedProcess[str]":
        """Run to the end; both outputs are in `stdout`."""
        return subprocess.run(self._command(container), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def begin(self, container: Container, log: Path) -> "subprocess.Popen[bytes]":
        """Run beside the test, in a process that passes signals on and ends with the container's exit code."""
        with log.open("ab") as file:
            return subprocess.Popen(self._command(container), stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def _command(self, container: Container) -> list[str]:
        # No control groups: nothing here is about limits.
        options = ["--rm", "--read-only", "--cgroup", "", "--fifo-dir", str(self._folder / "fifo")]
        options += ["--mount", "type=tmpfs,src=tmpfs,dst=/tmp,options=mode=1777"]
        for inside, path in container.mounts.items():
            way = "rw" if inside.endswith(":rw") else "ro"
            options += ["--mount", f"type=bind,src={path},dst={inside.removesuffix(':rw')},options=rbind:{way}"]
        for name, value in container.environment.items():
            options += ["--env", f"{name}={value}"]
        if container.host_network:
            options.append("--net-host")
        return self._ctr("run", *options, container.image, secrets.token_hex(8), *container.command)

    def _ctr(self, *arguments: str) -> list[str]:
        return ["ctr", "--address", str(self._socket), "--namespace", "k8s.io", *arguments]
