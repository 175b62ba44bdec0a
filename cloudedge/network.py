"""The way from here to any server, for both shores: whose certificates are believed, which proxy is asked, what stands in it.

Certificates are believed that come from the authorities in the file or folder which the first of `AUTHORITIES` names; without
one, from those of the operating system, and of the package certifi where that is installed.

A proxy is named by https_proxy or http_proxy, or for both by all_proxy, in small letters or else in capitals, as for curl and
MLflow's client. It is not asked for this machine itself, nor for what no_proxy names, as Go's programs such as kubectl read it.

A server that restarts refuses connections or breaks them off, and is worth another try. A certificate of somebody else, a port
that speaks another protocol, or a name that nobody has, stays that until a person mends it.
"""

import contextlib
import ipaddress
import os
import re
import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import unquote, urlsplit

import urllib3

from cloudedge.errors import CloudedgeError, InvalidInput

AUTHORITIES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that name a file of certificates in PEM, or a folder of them; the first that is set counts."""

_NO_TLS = re.compile(
    "WRONG_VERSION_NUMBER|HTTPS?_(PROXY_)?REQUEST|UNKNOWN_PROTOCOL|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG"
)
"""What OpenSSL says of an answer that is no TLS."""

_OF_OUR_CERTIFICATE = re.compile(
    "ALERT.*(CERTIFICATE_REQUIRED|CERTIFICATE_EXPIRED|CERTIFICATE_UNKNOWN|BAD_CERTIFICATE|UNKNOWN_CA|DECRYPT_ERROR)$"
)
"""The alerts by which a server refuses a client's certificate."""

_WANTS_TLS = re.compile(r"HTTPS (server|port)|SSL-enabled server port", re.IGNORECASE)
"""How Go's servers (MinIO's and Kubernetes' among them), nginx and Apache answer plain HTTP on a port of HTTPS."""

_TUNNEL = re.compile(r"Tunnel connection failed: (\d+)")
_PASSING = {408, 429, 500, 502, 503, 504}


class Obstacle(Enum):
    """What stands in the way to a server; the value says it of the server."""

    AUTHORITY = "its certificate is of an authority that is not trusted here"
    NAME = "its certificate is for another name"
    EXPIRED = "its certificate has expired"
    EARLY = "its certificate is not valid yet by the clock here"
    PLAIN = "it does not speak https at this port"
    CLIENT = "it refuses the client's certificate"
    HOST = "there is no host of this name"
    LOOKUP = "its name cannot be looked up now"
    PROXY = "the proxy before it refuses"
    PROXY_BUSY = "the proxy before it does not reach it"
    PROXY_AWAY = "the proxy before it does not answer"

    @property
    def certain(self) -> bool:
        """Whether another try would fail in the same way until a person mends it."""
        return self not in (Obstacle.LOOKUP, Obstacle.PROXY_BUSY, Obstacle.PROXY_AWAY)


_OF_CERTIFICATES = {9: Obstacle.EARLY, 10: Obstacle.EXPIRED, 62: Obstacle.NAME, 64: Obstacle.NAME}
"""By OpenSSL's number of what is wrong; all but these mean that nobody trusted has signed it."""


class Trouble(NamedTuple):
    """Why a server cannot be asked.

    Attributes:
        obstacle: What stands in the way.
        said: More of it, as OpenSSL or the operating system says it; may be empty.
        status: What a proxy answered that does not lead on; else 0.
    """

    obstacle: Obstacle
    said: str = ""
    status: int = 0


def trouble_of(error: BaseException) -> Trouble | None:
    """What stands in the way to a server, if an error tells.

    Args:
        error: What a client of urllib3 raised, or one that is built on it.
    """
    causes = list(causes_of(error))
    for cause in causes:
        if found := _TUNNEL.search(str(cause)):
            status = int(found[1])
            return Trouble(Obstacle.PROXY_BUSY if status in _PASSING else Obstacle.PROXY, status=status)
    if any(isinstance(cause, urllib3.exceptions.ProxyError) for cause in causes):
        # What follows is then wrong with the proxy, and not with the server.
        why = next((cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror), "")
        return Trouble(Obstacle.PROXY_AWAY, why)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            obstacle = _OF_CERTIFICATES.get(cause.verify_code, Obstacle.AUTHORITY)
            return Trouble(obstacle, cause.verify_message.rstrip("."))
        if isinstance(cause, ssl.SSLError):
            reason = (getattr(cause, "reason", None) or str(cause)).upper().replace(" ", "_")
            if _OF_OUR_CERTIFICATE.search(reason):
                return Trouble(Obstacle.CLIENT)
            if _NO_TLS.search(reason):
                return Trouble(Obstacle.PLAIN)
        if isinstance(cause, socket.gaierror):
            return Trouble(Obstacle.HOST if cause.errno == socket.EAI_NONAME else Obstacle.LOOKUP, cause.strerror or "")
    return None


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """An error and what stands behind it, nearest first, as libraries wrap some and raise others amid handling them.

    It ends at our own errors: what was amiss before, and is being dealt with when another error comes, is no cause of that.
    """
    left, seen = [error], set[int]()
    while left:
        one = left.pop(0)
        if id(one) in seen or (one is not error and isinstance(one, CloudedgeError)):
            continue
        seen.add(id(one))
        yield one
        kept = (getattr(one, "original_error", None), getattr(one, "reason", None))
        left += [cause for cause in (*one.args, *kept, one.__cause__, one.__context__) if isinstance(cause, BaseException)]


def wants_tls(answer: str) -> bool:
    """Whether an answer to plain HTTP says that HTTPS is spoken there."""
    return bool(_WANTS_TLS.search(answer))


def trust(pool: urllib3.PoolManager) -> None:
    """Have connections that somebody else opens believe whom the environment names, and nobody else.

    Raises:
        InvalidInput: the environment names authorities that cannot be used.
    """
    context = _context()
    pool.connection_pool_kw |= {"ssl_context": context, "ca_certs": None}
    if pool.proxy_config:
        pool.proxy_config = pool.connection_pool_kw["_proxy_config"] = pool.proxy_config._replace(ssl_context=context)


def way_to_trust(variable: str) -> str:
    """What makes an authority one that is believed, for a person.

    Args:
        variable: The one of `AUTHORITIES` that is told where none is set.
    """
    named = _named()
    if named:
        place = os.environ[named]
        rehashed = f" and have it found there (openssl rehash {place})" if Path(place).is_dir() else ""
        return f"add its authority's certificate to {place}, which {named} names{rehashed}"
    return f"name a file with its authority's certificate in {variable}"


class Proxy(NamedTuple):
    """Who is asked to pass requests on.

    Attributes:
        url: http(s)://[user:password@]host[:port].
        source: What names it.
    """

    url: str
    source: str

    @classmethod
    def parse(cls, text: str, source: str, otherwise: str = "") -> Self:
        """Understand one.

        Args:
            text: Its address, with http:// or without.
            source: What names it.
            otherwise: Another way out than to correct it, for a message.

        Raises:
            InvalidInput: it is one that cannot be asked.
        """
        url = text if "://" in text else f"http://{text}"
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            shown = text.rpartition("@")[2]
            raise InvalidInput(f"The proxy {shown!r} of {source} cannot be used here: give http(s)://host[:port]{otherwise}.")
        return cls(url, source)

    @property
    def headers(self) -> dict[str, str]:
        """What it is told of who asks."""
        parts = urlsplit(self.url)
        if parts.username is None:
            return {}
        account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return {"proxy-authorization": f"Basic {b64encode(account.encode()).decode()}"}

    def __str__(self) -> str:
        """Without its credentials."""
        parts = urlsplit(self.url)
        return f"the proxy {parts.scheme}://{parts.netloc.rpartition('@')[2]} of {self.source}"


def proxy_for(url: str) -> Proxy | None:
    """The proxy by which a URL is asked for.

    Args:
        url: http(s)://host[:port].

    Raises:
        InvalidInput: it is one that cannot be asked.
    """
    parts = urlsplit(url)
    variable = _set(f"{parts.scheme}_proxy") or _set("all_proxy")
    if not variable or _is_asked_directly(parts.hostname or "", parts.port or {"http": 80}.get(parts.scheme, 443)):
        return None
    return Proxy.parse(os.environ[variable], variable, f", or name {parts.hostname} in NO_PROXY")


def open_pool(url: str, timeout: urllib3.Timeout, most: int) -> urllib3.PoolManager:
    """Connections to a server, which try nothing twice.

    Args:
        url: Where it is: scheme and host.
        timeout: Of connecting, and of each answer.
        most: Connections that are kept.

    Raises:
        InvalidInput: the environment names authorities or a proxy that cannot be used.
    """
    proxy = proxy_for(url)
    if proxy is None:
        pool = urllib3.PoolManager(timeout=timeout, retries=False, maxsize=most)
    else:
        pool = urllib3.ProxyManager(proxy.url, proxy_headers=proxy.headers, timeout=timeout, retries=False, maxsize=most)
    if url.startswith("https:") or (proxy and proxy.url.startswith("https:")):
        trust(pool)
    return pool


def _set(name: str) -> str:
    """The variable of this name that is set, in small letters or in capitals; empty: none."""
    return next((each for each in (name, name.upper()) if os.environ.get(each)), "")


def _is_asked_directly(host: str, port: int) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if host == "localhost" or (address and address.is_loopback):
        return True
    patterns = os.environ.get(_set("no_proxy"), "").lower().split(",")
    return any(_matches(each.strip(), host, port, address) for each in patterns if each.strip())


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


def _named() -> str:
    return next((name for name in AUTHORITIES if os.environ.get(name)), "")


def _context() -> ssl.SSLContext:
    variable = _named()
    if not variable:
        context = ssl.create_default_context()
        with contextlib.suppress(ImportError):
            import certifi  # Not at the edge.

            context.load_verify_locations(certifi.where())
        return context
    path = Path(os.environ[variable])
    try:
        if path.is_dir():
            return ssl.create_default_context(capath=str(path))
        return ssl.create_default_context(cafile=str(path))
    except ssl.SSLError:
        fault = "holds no certificate in PEM"
    except OSError as error:
        fault = f"cannot be read: {error.strerror}"
    raise InvalidInput(
        f"{variable} names {str(path)!r}, which {fault}: name a file of the certificates of authorities, or unset it."
    ) from None
