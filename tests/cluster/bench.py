"""A detector's machine beside a KubeEdge node: on a line's own network, with a cable to its switch that can be pulled.

What is pulled is gone without a word, as no kernel on the way says so: packets vanish, and nobody resets a connection.
"""

from pathlib import Path

from tests.cluster.machine import Machine
from tests.cluster.network import run
from tests.cluster.processes import Server

_NODE, _BENCH = "198.51.100.1", "198.51.100.2"
"""Of a range for documentation (RFC 5737), which no real network has."""

_LONG = ("-i", "eth0", "-m", "length", "--length", "1000:65535")
"""Packets of a transfer. What else comes from an edge server is short, and no less of it comes while nothing is transferred."""


class Bench:
    """A machine that is nothing but a network of its own, for programs of this one to run in.

    Attributes:
        node: The node's address on the line's network.
    """

    node = _NODE

    def __init__(self, folder: Path, node: Machine) -> None:
        """Prepare it, beside a node that is on."""
        self._node = node
        namespace: list[str | Path] = ["unshare", "--net", "sleep", "infinity"]
        self._switch, self._machine = (Server(namespace, folder / f"{name}.log") for name in ("switch", "bench"))

    def start(self) -> None:
        """Switch it on, plugged in."""
        here = Path("/proc/self/ns/net").readlink()
        for server in (self._switch, self._machine):
            server.start(lambda server=server: Path(f"/proc/{server.pid}/ns/net").readlink() != here)  # type: ignore[misc]
        _ip(self._switch.pid, "link", "add", "switch", "type", "bridge")
        _ip(self._switch.pid, "link", "set", "switch", "up")
        for port, pid, interface, address in (
            ("node", self._node.init, "line", _NODE),
            ("bench", self._machine.pid, "eth0", _BENCH),
        ):
            _ip(self._switch.pid, "link", "add", port, "type", "veth", "peer", "name", interface, "netns", str(pid))
            _ip(self._switch.pid, "link", "set", port, "master", "switch", "up")
            _ip(pid, "address", "add", f"{address}/24", "dev", interface)
            _ip(pid, "link", "set", interface, "up")
        _ip(self._machine.pid, "link", "set", "lo", "up")
        run(*self.inside, "iptables", "-t", "mangle", "-A", "PREROUTING", *_LONG)  # Only counts.

    def stop(self) -> None:
        """Switch it off; the kernel takes the cables away with their namespaces."""
        self._machine.stop()
        self._switch.stop()

    @property
    def inside(self) -> list[str]:
        """What has a command run on it."""
        return _in_network_of(self._machine.pid)

    @property
    def received(self) -> int:
        """Bytes of transfers that have come to it."""
        *_, long = run(*self.inside, "iptables", "-t", "mangle", "-nvxL", "PREROUTING").splitlines()
        return int(long.split()[1])

    def pull(self) -> None:
        """Pull its cable."""
        _ip(self._switch.pid, "link", "set", "bench", "down")

    def pull_after(self, count: int) -> None:
        """Have nothing of a transfer come to it any more once so many bytes have; until it is plugged in again."""
        run(*self.inside, "iptables", "-A", "INPUT", *_LONG, "-m", "quota", "--quota", str(count), "-j", "ACCEPT")
        run(*self.inside, "iptables", "-A", "INPUT", *_LONG, "-j", "DROP")

    @property
    def nothing_comes(self) -> bool:
        """Whether `pull_after` has begun to keep something away."""
        *_, drop = run(*self.inside, "iptables", "-nvxL", "INPUT").splitlines()
        return " DROP " in drop and int(drop.split()[0]) > 0

    def plug_in(self) -> None:
        """Plug its cable in again."""
        run(*self.inside, "iptables", "-F", "INPUT")
        _ip(self._switch.pid, "link", "set", "bench", "up")


def _in_network_of(pid: int) -> list[str]:
    return ["nsenter", f"--net=/proc/{pid}/ns/net", "--"]


def _ip(pid: int, *command: str) -> None:
    run(*_in_network_of(pid), "ip", *command)
