"""The network between a cloud on this machine and its edge nodes: a namespace of its own, in which each link can be cut.

It ends with the process that made it, and with it every interface on both sides, so nothing stays even after a crash.
"""

import subprocess
from pathlib import Path

from tests.cluster.processes import Server

_CLAIMS = 256


class Network:
    """A switch that this machine, as the cloud, and all edge nodes are plugged into.

    Attributes:
        cloud: This machine's address in it.
    """

    def __init__(self, folder: Path) -> None:
        """Prepare it."""
        self._switch = Server(["unshare", "--net", "sleep", "infinity"], folder / "network.log")
        self._number = -1

    def start(self) -> None:
        """Make it, with this machine plugged in.

        Raises:
            AssertionError: no range of addresses is free, or root is missing.
        """
        self._switch.start(lambda: Path(f"/proc/{self._switch.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink())
        for number in range(_CLAIMS):  # Whoever makes the interface has the range.
            if plug(f"cloudedge{number}", "cloud", self._switch.pid):
                self._number = number
                break
        else:
            raise AssertionError("no range of addresses is free for edge nodes, or this is not root")
        self._inside("ip", "link", "add", "switch", "type", "bridge")
        self._inside("ip", "link", "set", "switch", "up")
        self._plugged_in("cloud")
        run("ip", "address", "add", f"{self.cloud}/24", "dev", self._interface)
        run("ip", "link", "set", self._interface, "up")

    def stop(self) -> None:
        """Unplug everything."""
        self._switch.stop()

    @property
    def cloud(self) -> str:
        """See the class. The range is meant for tests of networks (RFC 2544), so no real one has it."""
        return f"198.18.{self._number}.1"

    def node(self, number: int) -> str:
        """Address of a node, which are numbered from 1 to 15."""
        return f"198.18.{self._number}.{10 + number}"

    def pods(self, number: int) -> str:
        """The range of a node's pods."""
        return f"198.19.{self._number}.{16 * number}/28"

    def name(self, number: int) -> str:
        """A name for what belongs to a node and to nobody else on this machine."""
        return f"{self._interface}-{number}"

    def join(self, number: int, pid: int) -> None:
        """Plug a node's namespace in, as its eth0, and tell everybody where its pods are."""
        inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip"]
        port = f"edge{number}"
        self._inside("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        self._plugged_in(port)
        run(*inside, "address", "add", f"{self.node(number)}/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "route", "add", "default", "via", self.cloud)
        run("ip", "route", "replace", self.pods(number), "via", self.node(number), "dev", self._interface)

    def leave(self, number: int) -> None:
        """Pull a node's plug, if it is in: the kernel takes a while to do so after the end of a namespace."""
        switch = f"--net=/proc/{self._switch.pid}/ns/net"
        subprocess.run(["nsenter", switch, "ip", "link", "delete", f"edge{number}"], capture_output=True, check=False)

    def cut(self, number: int) -> None:
        """Take a node's link down."""
        self._inside("ip", "link", "set", f"edge{number}", "down")

    def heal(self, number: int) -> None:
        """Take it up again."""
        self._inside("ip", "link", "set", f"edge{number}", "up")

    @property
    def _interface(self) -> str:
        return f"cloudedge{self._number}"

    def _plugged_in(self, port: str) -> None:
        self._inside("ip", "link", "set", port, "master", "switch", "up")

    def _inside(self, *command: str) -> None:
        run("nsenter", f"--net=/proc/{self._switch.pid}/ns/net", *command)


def plug(interface: str, other_end: str, pid: int) -> bool:
    """Lay a wire from this machine to a process's network; false if there is an interface of that name."""
    wire = ["ip", "link", "add", interface, "type", "veth", "peer", "name", other_end, "netns", str(pid)]
    return subprocess.run(wire, capture_output=True, check=False).returncode == 0


def run(*command: str | Path) -> str:
    """Run a program to its end.

    Returns:
        What it printed.

    Raises:
        AssertionError: it failed; with what it said.
    """
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}"
    return done.stdout
