"""The side of the channel that answers: members only, told apart by their certificates.

Who a call is from is what the TLS handshake proved, and never what the call says. The members may change while it runs: who is
new is let in with the next connection, and whoever was taken off the list loses the calls under way and gets no other one.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from cloudedge.channel.identity import Identity, fingerprint
from cloudedge.channel.messages import COMMON_OPTIONS, code_of, packed, unpacked
from cloudedge.documents.base import Part
from cloudedge.errors import CloudedgeError, InvalidInput, StoreFailed

MOST_CALLS = 8
"""Of one member at a time, so that none takes the place of all others."""

_MOST_THREADS = 2048
"""They are started as they are needed: a long call of each of a thousand members has one."""

_SERVER_OPTIONS = [
    *COMMON_OPTIONS,
    ("grpc.so_reuseport", 0),  # A second server on this port is a mistake, and not to share it.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]


class Members(Protocol):
    """Who may call. Asked at each connection and each call, from any thread."""

    def certificates(self) -> list[str]:
        """Those of all members, PEM."""

    def name_of(self, fingerprint: str) -> str | None:
        """The member whose certificate has this digest; none: nobody's."""


class Call:
    """A call under way."""

    def __init__(self, member: str, context: grpc.ServicerContext) -> None:
        """Take note of who calls."""
        self.member = member
        self._context = context

    @property
    def over(self) -> bool:
        """Whether nobody listens any more."""
        return not self._context.is_active()

    def when_over(self, act: Callable[[], None]) -> None:
        """Have something done when nobody listens any more; at once, if that is so already."""
        if not self._context.add_callback(act):
            act()

    def end(self) -> None:
        """End it from here."""
        self._context.cancel()


@dataclass(frozen=True)
class Unary:
    """A method that answers a message, with bytes behind it, by one message."""

    asked: type[Part]
    answer: Callable[[Call, Any, memoryview], Part]


@dataclass(frozen=True)
class Following:
    """A method that answers a message by others, as long as the call lasts."""

    asked: type[Part]
    answer: Callable[[Call, Any], Iterator[Part]]


@dataclass(frozen=True)
class Chunks:
    """A method that answers a message by a stream of bytes. The next chunk is asked for when the last one has gone."""

    asked: type[Part]
    answer: Callable[[Call, Any], Iterator[bytes]]


Method = Unary | Following | Chunks


class Server:
    """Answers members' calls, from the moment that it is made until it is closed."""

    def __init__(self, address: str, own: Identity, members: Members, service: str, methods: Mapping[str, Method]) -> None:
        """Listen.

        Args:
            address: host:port; port 0 takes a free one.
            own: Who this is to those who call.
            members: Who may call.
            service: Name that stands before each method's.
            methods: Those, by their names.

        Raises:
            InvalidInput: nobody can listen there.
        """
        self._own = own
        self._members = members
        self._calls: dict[str, set[Call]] = defaultdict(set)
        self._lock = threading.Lock()
        handlers = {name: self._handler(f"/{service}/{name}", method) for name, method in methods.items()}
        threads = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="channel")
        self._server = grpc.server(threads, options=_SERVER_OPTIONS)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        credentials = grpc.dynamic_ssl_server_credentials(self._accepted(), self._accepted, require_client_authentication=True)
        self.port = listening(self._server, address, credentials)
        self._server.start()

    def end_calls(self, member: str) -> None:
        """End all that goes on for somebody who is no member any more, or has another certificate now."""
        with self._lock:
            calls = list(self._calls.get(member, ()))
        for call in calls:
            call.end()

    def close(self, grace_seconds: float = 0.5) -> None:
        """Answer no more calls, and end those that do not end by themselves in this time."""
        self._server.stop(grace_seconds).wait()

    def _accepted(self) -> grpc.ServerCertificateConfiguration:
        """Asked for each connection: only who is a member now gets through the handshake."""
        # Its own is among them because without any, everybody would be let in; whoever has it is no member all the same.
        roots = "".join([self._own.certificate, *self._members.certificates()])
        return grpc.ssl_server_certificate_configuration(
            [(self._own.key, self._own.certificate.encode())], root_certificates=roots.encode()
        )

    def _handler(self, name: str, method: Method) -> "grpc.RpcMethodHandler[bytes, bytes]":
        if isinstance(method, Unary):
            unary = method

            def answer(content: bytes, context: grpc.ServicerContext) -> bytes:
                with self._admitted(context) as call:
                    asked, body = unpacked(unary.asked, content, f"what {call.member} sent to {name}")
                    return packed(unary.answer(call, asked, body))

            return grpc.unary_unary_rpc_method_handler(answer)
        streamed = method

        def stream(content: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            with self._admitted(context) as call:
                asked, _ = unpacked(streamed.asked, content, f"what {call.member} sent to {name}")
                for part in streamed.answer(call, asked):
                    yield part if isinstance(part, bytes) else packed(part)

        return grpc.unary_stream_rpc_method_handler(stream)

    @contextmanager
    def _admitted(self, context: grpc.ServicerContext) -> Iterator[Call]:
        """A call, if it is a member's and not one too many; what is raised in it becomes its end."""
        (shown, *_) = context.auth_context().get("x509_pem_cert", [b""])
        member = self._members.name_of(fingerprint(shown.decode())) if isinstance(shown, bytes) and shown else None
        if member is None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "its certificate is no member's")
        call = Call(member, context)
        try:
            with self._lock:
                calls = self._calls[member]
                if len(calls) >= MOST_CALLS:
                    raise StoreFailed(f"{member} has {MOST_CALLS} calls under way, which are enough. End one first.")
                calls.add(call)
            try:
                yield call
            finally:
                with self._lock:
                    calls.discard(call)
        except CloudedgeError as error:
            context.abort(*code_of(error))


def listening(server: grpc.Server, address: str, credentials: grpc.ServerCredentials) -> int:
    """Have a server listen at an address; returns the port.

    Raises:
        InvalidInput: nobody can listen there.
    """
    try:
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise InvalidInput(
            f"Cannot listen at {address}: it is taken, or no address of this machine. Choose another one."
        ) from error
