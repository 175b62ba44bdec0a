"""What stands in the way to a server, as clients meet it."""

import socket
import ssl

import urllib3

from cloudedge.network import AUTHORITIES, Obstacle

WAYS = (*AUTHORITIES, *(each for kind in ("HTTP", "HTTPS", "ALL", "NO") for each in (f"{kind}_PROXY", f"{kind}_proxy".lower())))
"""All variables that the way to a server depends on."""


def _certificate(code: int, message: str) -> Exception:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return _wrapped(error)


def _tls(reason: str) -> Exception:
    error = ssl.SSLError(1, f"[SSL: {reason}] {reason.lower()} (_ssl.c:1000)")
    error.reason = reason
    return _wrapped(error)


def _name(code: int) -> Exception:
    pool = urllib3.connection.HTTPConnection("one.example")
    try:
        raise urllib3.exceptions.NameResolutionError("one.example", pool, socket.gaierror(code, "of a name")) from (
            socket.gaierror(code, "of a name")
        )
    except urllib3.exceptions.NameResolutionError as error:
        return _wrapped(error)


def _wrapped(error: Exception) -> Exception:
    pool = urllib3.HTTPSConnectionPool("one.example")
    return urllib3.exceptions.MaxRetryError(pool, "/", urllib3.exceptions.SSLError(error))


def _proxy(error: Exception) -> Exception:
    return _wrapped(urllib3.exceptions.ProxyError("Unable to connect to proxy", error))


MET = [
    (_certificate(19, "self-signed certificate in certificate chain"), Obstacle.AUTHORITY),
    (_certificate(20, "unable to get local issuer certificate"), Obstacle.AUTHORITY),
    (_certificate(62, "Hostname mismatch"), Obstacle.NAME),
    (_certificate(64, "IP address mismatch"), Obstacle.NAME),
    (_certificate(10, "certificate has expired"), Obstacle.EXPIRED),
    (_certificate(9, "certificate is not yet valid"), Obstacle.EARLY),
    (_tls("WRONG_VERSION_NUMBER"), Obstacle.PLAIN),
    (_tls("HTTP_REQUEST"), Obstacle.PLAIN),
    (_tls("RECORD_LAYER_FAILURE"), Obstacle.PLAIN),
    (_tls("PACKET_LENGTH_TOO_LONG"), Obstacle.PLAIN),
    (_tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), Obstacle.CLIENT),
    (_tls("TLSV1_ALERT_UNKNOWN_CA"), Obstacle.CLIENT),
    (_name(socket.EAI_NONAME), Obstacle.HOST),
    (_name(socket.EAI_AGAIN), Obstacle.LOOKUP),
    (_proxy(OSError("Tunnel connection failed: 403 Forbidden")), Obstacle.PROXY),
    (_proxy(OSError("Tunnel connection failed: 407 Proxy Authentication Required")), Obstacle.PROXY),
    (_proxy(OSError("Tunnel connection failed: 429 Too Many Requests")), Obstacle.PROXY_BUSY),
    (_proxy(OSError("Tunnel connection failed: 502 Bad Gateway")), Obstacle.PROXY_BUSY),
    (_proxy(ConnectionRefusedError(111, "Connection refused")), Obstacle.PROXY_AWAY),
    (_proxy(_name(socket.EAI_NONAME)), Obstacle.PROXY_AWAY),
    (_proxy(_certificate(19, "self-signed certificate")), Obstacle.PROXY_AWAY),
]
"""An error, and what it means."""
