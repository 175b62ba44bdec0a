"""How both shores speak HTTP, as the environment says: whose certificates are believed, which proxy is asked, what is wrong.

Certificates are believed that come from the authorities in the file or folder which the first of `AUTHORITIES` names; without
one, from those of the operating system, and of the package certifi where that is installed. Proxies are those of HTTPS_PROXY,
HTTP_PROXY, ALL_PROXY and NO_PROXY, in small letters too, as curl and Amazon's tools take them.
"""

import contextlib
import ipaddress
import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from cloudedge.errors import InvalidInput

AUTHORITIES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that name a file of certificates in PEM, or a folder of them; the first that is set counts."""

_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}
"""What OpenSSL says of an answer that is no TLS."""

_EXPIRED, _NOT_YET_VALID, _OTHER_NAMES = 10, 9, {62, 64}
"""OpenSSL's numbers of what is wrong with a certificate; all but these mean that nobody trusted has signed it."""

_WANTS_TLS = re.compile(r"HTTPS (server|port)|SSL-enabled server port", re.IGNORECASE)
"""How Go's servers (MinIO's among them), nginx and Apache answer plain HTTP on a port of HTTPS."""

_TUNNEL = re.compile(r"Tunnel connection failed: (\d+)")
_PASSING = {408, 429, 500, 502, 503, 504}
_PROXY_WANTS_CREDENTIALS = 407


class Proxy(NamedTuple):
    """Who is asked to pass requests on.

    Attributes:
        url: http(s)://[user:password@]host:port.
        variable: What names it.
    """

    url: str
    variable: str

    def __str__(self) -> str:
        """Without its credentials."""
        parts = urlsplit(self.url)
        return f"the proxy {parts.scheme}://{parts.netloc.rpartition('@')[2]} of {self.variable}"


class Trouble(NamedTuple):
    """Why a server cannot be asked.

    Attributes:
        said: What is wrong and what mends it, as a sentence that goes on after the server's name.
        certain: Whether another try would fail in the same way.
    """

    said: str
    certain: bool


def proxy_for(url: str) -> Proxy | None:
    """The proxy by which a URL is asked for.

    Raises:
        InvalidInput: it is one that cannot be asked.
    """
    parts = urlsplit(url)
    proxies = getproxies()
    scheme = parts.scheme if parts.scheme in proxies else "all"
    if scheme not in proxies or _is_asked_directly(parts.hostname or "", parts.netloc):
        return None
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY")
    variable = next((name for name in names if os.environ.get(name)), "the system's settings")
    found = proxies[scheme] if "://" in proxies[scheme] else f"http://{proxies[scheme]}"
    try:
        usable = urlsplit(found).scheme in ("http", "https") and bool(urlsplit(found).hostname) and urlsplit(found).port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidInput(
            f"{variable} is {found.rpartition('@')[2]!r}: give http://host:port of a proxy, or name {parts.hostname} in "
            "NO_PROXY."
        )
    return Proxy(found, variable)


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
    secure = [part for part in (url, proxy.url if proxy else "") if part.startswith("https:")]
    context = _context() if secure else None
    if proxy is None:
        return urllib3.PoolManager(timeout=timeout, retries=False, maxsize=most, ssl_context=context)
    who, at, _ = urlsplit(proxy.url).netloc.rpartition("@")
    return urllib3.ProxyManager(
        proxy.url,
        proxy_headers=urllib3.make_headers(proxy_basic_auth=unquote(who)) if at else None,
        proxy_ssl_context=context,
        timeout=timeout,
        retries=False,
        maxsize=most,
        ssl_context=context,
    )


def trouble_of(error: BaseException, url: str) -> Trouble | None:
    """What is wrong with the way to a server, if an error tells.

    Args:
        error: What urllib3 raised.
        url: What was asked for.
    """
    causes = list(_causes(error))
    host = urlsplit(url).hostname
    through_proxy = any(isinstance(cause, urllib3.exceptions.ProxyError) for cause in causes)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Trouble(_said_of_certificate(cause, str(host)), certain=True)
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
            return Trouble("does not speak TLS on this port: correct its address: http:// or another port.", certain=True)
        if found := _TUNNEL.search(str(cause)):
            return Trouble(said_of_proxy(int(found[1]), url), certain=int(found[1]) not in _PASSING)
    if through_proxy:
        return Trouble(
            f"cannot be reached, as {proxy_for(url)} does not answer: check that it runs, or name {host} in NO_PROXY.", False
        )
    if any(isinstance(cause, urllib3.exceptions.NameResolutionError) for cause in causes):
        return Trouble(
            f"cannot be reached, as the name {host} is not known here: check the address, or this machine's DNS.", False
        )
    return None


def said_of_proxy(status: int, url: str) -> str:
    """What a proxy's refusal means, as `Trouble` says it."""
    if status == _PROXY_WANTS_CREDENTIALS:
        way_out = "give it credentials there: http://user:password@host:port"
    else:
        way_out = f"have it allow {urlsplit(url).netloc}, or name {urlsplit(url).hostname} in NO_PROXY"
    return f"cannot be reached: {proxy_for(url) or 'a proxy'} answers {status}; {way_out}."


def wants_tls(answer: str) -> bool:
    """Whether an answer to plain HTTP says that HTTPS is spoken there."""
    return bool(_WANTS_TLS.search(answer))


def _is_asked_directly(host: str, place: str) -> bool:
    if proxy_bypass(place):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for entry in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")).split(","):
        with contextlib.suppress(ValueError):  # As Kubernetes' own tools do, and requests.
            if address in ipaddress.ip_network(entry.strip(), strict=False):
                return True
    return False


def _context() -> ssl.SSLContext:
    variable = next((name for name in AUTHORITIES if os.environ.get(name)), "")
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


def _said_of_certificate(error: ssl.SSLCertVerificationError, host: str) -> str:
    if error.verify_code in _OTHER_NAMES:
        return (
            f"has a certificate for other names than {host}: give the address by a name that it holds, or have one made that "
            f"holds {host}."
        )
    if error.verify_code == _EXPIRED:
        return "has a certificate that has expired: renew it there; if it is valid, set this machine's clock."
    if error.verify_code == _NOT_YET_VALID:
        return "has a certificate that is not valid yet: set this machine's clock."
    variable = next((name for name in AUTHORITIES if os.environ.get(name)), "")
    if variable:
        way_out = f"add its authority's certificate to {os.environ[variable]}, which {variable} names"
    else:
        way_out = f"name a file with its authority's certificate in {AUTHORITIES[0]}"
    return f"has a certificate of an authority that is not trusted here ({error.verify_message}): {way_out}."


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and all that it was raised from."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = (*one.args, one.__cause__, getattr(one, "original_error", None), getattr(one, "reason", None))
        waiting += [cause for cause in inner if isinstance(cause, BaseException)]
