"""How a node becomes a member: by a token that a person carries from one machine to the other, and that is good for once.

    HOST:PORT/NAME/<first 32 hexadecimal digits of the server certificate's SHA-256>/<secret>

The digits let the node know the server before it says anything, the secret lets the server know the node. Then each has the
other's certificate, and the token is worth nothing any more. Joining has a port of its own, where nothing else is answered.
"""

import re
import secrets
import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

import grpc
from pydantic import Field

from cloudedge.addresses import host_and_port, joined_address
from cloudedge.channel.client import Client
from cloudedge.channel.identity import MAX_CERTIFICATE_BYTES, Identity, check_certificate, fingerprint
from cloudedge.channel.messages import code_of, packed, unpacked
from cloudedge.channel.server import listening
from cloudedge.documents.base import Part, Told
from cloudedge.errors import CloudedgeError, Conflict, InvalidInput, StoreFailed
from cloudedge.names import NAME

TOKEN_SECONDS = 3600.0
"""How long a token is good for."""

MOST_FAILURES, FAILURE_SECONDS = 10, 60.0
"""Attempts to join that failed, from one address within this time; after that none is answered."""

_MOST_ADDRESSES = 1000
_DIGITS = 32
_SECRET_BYTES = 24
_METHOD = "/cloudedge.joining/join"
_TOKEN = re.compile(
    rf"^(?P<address>[^/\s]+:\d{{1,5}})/(?P<name>[^/\s]+)/(?P<digest>[0-9a-f]{{{_DIGITS}}})/(?P<secret>[\w-]{{16,64}})$"
)
_OPTIONS = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 64 * 1024), ("grpc.http2.max_pings_without_data", 2)]


@dataclass(frozen=True)
class Token:
    """What a person carries to the node.

    Attributes:
        address: host:port where joining is answered.
        name: Name that the node will have.
        digest: First digits of the server certificate's digest.
        secret: Known to the server by its digest only.
    """

    address: str
    name: str
    digest: str
    secret: str

    @classmethod
    def new(cls, address: str, name: str, certificate: str) -> Self:
        """A token for a node.

        Args:
            address: host:port where joining is answered.
            name: Name of the node.
            certificate: The server's, PEM.
        """
        return cls(address, name, fingerprint(certificate)[:_DIGITS], secrets.token_urlsafe(_SECRET_BYTES))

    @classmethod
    def read(cls, text: str) -> Self:
        """A token from its text.

        Raises:
            InvalidInput: it is none; the text is not repeated, as it may be a secret.
        """
        found = _TOKEN.match(text.strip())
        if found is None or not re.fullmatch(NAME, found["name"]):
            raise InvalidInput("This is no token to join with. Copy the whole line that 'detectors add' printed.")
        host_and_port(found["address"])
        return cls(**found.groupdict())

    def __str__(self) -> str:
        return f"{self.address}/{self.name}/{self.digest}/{self.secret}"


def digest_of(secret: str) -> str:
    """What a server keeps of a secret; it is long and random, so nobody finds it from its digest."""
    return sha256(secret.encode()).hexdigest()


class Join(Part):
    """A node asks to become a member."""

    name: str = Field(pattern=NAME, description="Name that the token has.")
    secret: str = Field(max_length=100, description="The token's secret.")
    certificate: str = Field(max_length=MAX_CERTIFICATE_BYTES, description="The node's certificate, PEM.")


class Joined(Told):
    """It is one."""

    port: int = Field(ge=1, le=65_535, description="Where members are answered, on the same host.")


Admit = Callable[[str, str, str], Joined]
"""Makes a member of a name, the digest of a secret and a certificate; raises Conflict where the token is not good any more."""


class JoinServer:
    """Answers those who want to become members, from the moment that it is made until it is closed."""

    def __init__(self, address: str, own: Identity, admit: Admit) -> None:
        """Listen.

        Args:
            address: host:port; port 0 takes a free one.
            own: Who this is to those who call.
            admit: Makes members.

        Raises:
            InvalidInput: nobody can listen there.
        """
        self._admit = admit
        self._failures = Failures()
        self._server = grpc.server(
            ThreadPoolExecutor(4, thread_name_prefix="join"), options=_OPTIONS, maximum_concurrent_rpcs=8
        )
        service, name = _METHOD.strip("/").split("/")
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {name: grpc.unary_unary_rpc_method_handler(self._answer)}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        credentials = grpc.ssl_server_credentials([(own.key, own.certificate.encode())])
        self.port = listening(self._server, address, credentials)
        self._server.start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.stop(0.5).wait()

    def _answer(self, content: bytes, context: grpc.ServicerContext) -> bytes:
        address = context.peer().rpartition(":")[0]
        try:
            self._failures.check(address)
            try:
                asked, _ = unpacked(Join, content, "what was sent to join")
                return packed(self._admit(asked.name, digest_of(asked.secret), check_certificate(asked.certificate)))
            except CloudedgeError:
                self._failures.count(address)
                raise
        except CloudedgeError as error:
            context.abort(*code_of(error))


class Failures:
    """Counts failures by where they come from, so that nobody can go on guessing."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Begin with none.

        Args:
            now: Clock, in seconds.
        """
        self._now = now
        self._lock = threading.Lock()
        self._times: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, address: str) -> None:
        """See whether somebody may try.

        Raises:
            StoreFailed: too many attempts from there have failed.
        """
        with self._lock:
            recent = [at for at in self._times.get(address, []) if self._now() - at < FAILURE_SECONDS]
        if len(recent) >= MOST_FAILURES:
            raise StoreFailed(f"{MOST_FAILURES} attempts to join from this address have failed. Wait a minute.")

    def count(self, address: str) -> None:
        """Take note of a failure."""
        with self._lock:
            self._times[address] = [*self._times.pop(address, []), self._now()][-MOST_FAILURES:]
            if len(self._times) > _MOST_ADDRESSES:
                self._times.popitem(last=False)


def join(token: Token, own: Identity, seconds: float = 10.0) -> tuple[str, str]:
    """Become a member.

    Args:
        token: What the person brought.
        own: Who this node is.
        seconds: How long to wait for each answer.

    Returns:
        The address where members are answered, and the only certificate to believe there, PEM.

    Raises:
        InvalidInput: somebody else answers there, or the token is not good (any more).
        StoreFailed: nobody answers.
    """
    certificate = _shown(token, seconds)
    client = Client(token.address, certificate)
    try:
        asked = Join(name=token.name, secret=token.secret, certificate=own.certificate)
        answer = client.ask(_METHOD, asked, Joined, seconds=seconds, patiently=True)
    except Conflict as error:
        raise InvalidInput(str(error)) from None
    finally:
        client.close()
    return joined_address(host_and_port(token.address)[0], answer.port), certificate


def _shown(token: Token, seconds: float) -> str:
    """The certificate that the server shows, if it is the one that the token tells of."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # Nothing is believed before its digest is compared.
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(host_and_port(token.address), timeout=seconds) as plain,
            context.wrap_socket(plain) as connection,
        ):
            shown = connection.getpeercert(binary_form=True)
    except OSError as error:
        raise StoreFailed(
            f"Nobody at {token.address} answers: {error}. See that the line's service runs, and this machine reaches it."
        ) from error
    certificate = ssl.DER_cert_to_PEM_cert(shown or b"")
    if not secrets.compare_digest(fingerprint(certificate)[:_DIGITS], token.digest):
        raise InvalidInput(
            f"Somebody else answers at {token.address}: its certificate is not the token's. Nothing was said to it."
        )
    return certificate
