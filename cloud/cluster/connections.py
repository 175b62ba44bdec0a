"""What is certain about a connection that failed, and the way to a server where that leads over a proxy.

A server that restarts refuses connections or breaks them off, and is worth another try. A certificate of somebody else, a port
that speaks another protocol, or a name that nobody has, stays that until a person mends it.
"""

import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator
from enum import Enum
from urllib.parse import unquote, urlsplit

import urllib3

from cloudedge.errors import InvalidInput

_OTHER_NAME = {62, 64}
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_OTHER_TIME = {9, 10}
"""Its X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""
_OF_OUR_CERTIFICATE = (
    *("CERTIFICATE_REQUIRED", "CERTIFICATE_EXPIRED", "CERTIFICATE_UNKNOWN", "BAD_CERTIFICATE", "UNKNOWN_CA", "DECRYPT_ERROR"),
)
"""Ends of the alerts by which a server refuses a client's certificate."""
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL")
_REFUSED_BY_PROXY = "Tunnel connection failed: "


class Fault(Enum):
    """What stays wrong with a connection until a person mends it; the value says it of a server."""

    AUTHORITY = "its certificate is of an authority that is not trusted here"
    NAME = "its certificate is for another name"
    TIME = "its certificate has expired, or is not valid yet by the clock here"
    PLAIN = "it does not speak https at this port"
    CLIENT = "it refuses the client's certificate"
    HOST = "there is no host of this name"
    PROXY = "the proxy before it refuses"


def fault_of(error: BaseException) -> Fault | None:
    """What is certainly wrong, or none: then another try may help.

    Args:
        error: What a client of urllib3 raised, or one that is built on it.
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            code = cause.verify_code
            return Fault.NAME if code in _OTHER_NAME else Fault.TIME if code in _OTHER_TIME else Fault.AUTHORITY
        if isinstance(cause, ssl.SSLError):
            reason = (cause.reason or str(cause)).upper().replace(" ", "_")
            if "ALERT" in reason and reason.endswith(_OF_OUR_CERTIFICATE):
                return Fault.CLIENT
            if any(each in reason for each in _NO_TLS):
                return Fault.PLAIN
        if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
            return Fault.HOST
        if isinstance(cause, OSError) and str(cause).startswith(f"{_REFUSED_BY_PROXY}4"):
            return Fault.PROXY
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what stands behind it, as urllib3 wraps some and raises others amid handling them."""
    seen: list[BaseException] = []
    left: list[BaseException] = [error]
    while left:
        each = left.pop(0)
        if each not in seen:
            seen.append(each)
            yield each
            behind = (*each.args, getattr(each, "reason", None), each.__cause__, each.__context__)
            left += [cause for cause in behind if isinstance(cause, BaseException)]


def authorities() -> str:
    """File of the certificate authorities that the environment trusts; empty: those that come with Python's packages.

    Raises:
        InvalidInput: there is no such file.
    """
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        path = os.environ.get(variable)
        if path:
            try:
                ssl.create_default_context(cafile=path)
            except OSError as error:
                raise InvalidInput(f"{variable} is {path!r}, which holds no certificates: {error.strerror or error}.") from None
            return path
    return ""


def proxy_for(url: str) -> str:
    """The proxy that the environment names for a server, as curl and Go's programs such as kubectl read it.

    That is HTTPS_PROXY or HTTP_PROXY, but for what is in NO_PROXY (names, with all below them; addresses; networks; with a port
    or without; `*`) and this machine itself.

    Args:
        url: The server's address, http(s)://host[:port].

    Returns:
        The proxy's URL; empty: there is none.
    """
    parts = urlsplit(url)
    proxy = _variable(f"{parts.scheme}_proxy")
    if not proxy or _bypassed(parts.hostname or "", parts.port or {"http": 80}.get(parts.scheme, 443)):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def proxy_headers(proxy: str, source: str) -> dict[str, str]:
    """What a proxy is told of who asks.

    Args:
        proxy: Its URL, which may hold a name and a password.
        source: Who names it, for a message.

    Raises:
        InvalidInput: it is of a kind that cannot be used here.
    """
    parts = urlsplit(proxy)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        shown = proxy.rpartition("@")[2]
        raise InvalidInput(f"The proxy {shown!r} of {source} cannot be used here: give one as http(s)://host[:port].")
    if parts.username is None:
        return {}
    return dict(urllib3.make_headers(proxy_basic_auth=f"{unquote(parts.username)}:{unquote(parts.password or '')}"))


def _variable(name: str) -> str:
    return os.environ.get(name.upper()) or os.environ.get(name) or ""


def _bypassed(host: str, port: int) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if host == "localhost" or (address and address.is_loopback):
        return True
    return any(_matches(each.strip().lower(), host, port, address) for each in _variable("no_proxy").split(",") if each.strip())


def _matches(pattern: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    if pattern == "*":
        return True
    try:
        network = ipaddress.ip_network(pattern.strip("[]"), strict=False)
    except ValueError:
        name, _, of_port = pattern.rpartition(":")
        if name and of_port.isdigit():
            return int(of_port) == port and _matches(name, host, port, address)
    else:
        return address is not None and address in network
    pattern = pattern.removeprefix("*")
    return host.endswith(pattern) if pattern.startswith(".") else host == pattern or host.endswith(f".{pattern}")
