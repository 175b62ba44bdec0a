"""host:port, as people write it."""

import ipaddress
import os
import socket

from cloudedge.errors import InvalidInput

NODE_ADDRESS = "CLOUDEDGE_NODE_ADDRESS"
"""Variable of a pod that is reached by ports of its node: the node's address, as nobody outside reaches the pod's own."""


def host_and_port(address: str) -> tuple[str, int]:
    """Host and port of an address; an IPv6 address stands in brackets.

    Raises:
        InvalidInput: it is no such address.
    """
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535 or (":" in host and not bracketed):
        raise InvalidInput(f"{address!r} is no address. Give HOST:PORT, and an IPv6 address in brackets: [::1]:7443.")
    return host.strip("[]"), int(port)


def joined_address(host: str, port: int) -> str:
    """A host and a port as one address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine itself reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_any(host: str) -> bool:
    """Whether it stands for all addresses of a machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def own_address() -> str:
    """An address of this machine that others on its network reach: the one that it would use itself, or its name.

    In a pod that is reached by ports of its node it is the node's.
    """
    if os.environ.get(NODE_ADDRESS):
        return os.environ[NODE_ADDRESS]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))  # Reserved for examples; nothing is sent, only the way there is looked up.
            return str(asked.getsockname()[0])
        except OSError:
            return socket.gethostname()
