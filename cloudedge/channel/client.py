"""The side of the channel that calls: it believes the one certificate that it was told of."""

from collections.abc import Generator, Iterator
from typing import Any, TypeVar

import grpc

from cloudedge.channel.identity import Identity, name_in
from cloudedge.channel.messages import COMMON_OPTIONS, error_of, packed, unpacked
from cloudedge.documents.base import Part

AnswerT = TypeVar("AnswerT", bound=Part)

_CONNECT_MILLISECONDS = 5_000
"""What an attempt to connect gets, which is what gRPC does with that option: it takes several ways there and back, and a server
that trains may be slow. Where packets vanish, the next attempt comes as late."""

ANSWER_SECONDS = 30.0
"""What a call gets that is answered at once."""


class Client:
    """A connection to one server, made when it is needed and made again when it broke. Safe for threads."""

    def __init__(self, address: str, certificate: str, own: Identity | None = None) -> None:
        """Prepare to call; nothing is sent yet.

        Args:
            address: host:port of the server.
            certificate: The only one that is believed, PEM.
            own: Who this is to the server; none: nobody, as before joining.

        Raises:
            InvalidInput: the certificate is none of a node's.
        """
        self.address = address
        credentials = grpc.ssl_channel_credentials(
            certificate.encode(), own.key if own else None, own.certificate.encode() if own else None
        )
        options = [
            *COMMON_OPTIONS,
            ("grpc.ssl_target_name_override", name_in(certificate)),
            ("grpc.enable_http_proxy", 0),  # It stands on the same network.
            # How long to wait before another try is the caller's to say.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", _CONNECT_MILLISECONDS),
            ("grpc.max_reconnect_backoff_ms", 500),
            ("grpc.use_local_subchannel_pool", 1),  # A new client begins with a connection of its own.
        ]
        self._channel = grpc.secure_channel(address, credentials, options)

    def ask(
        self,
        method: str,
        message: Part,
        answer: type[AnswerT],
        body: bytes = b"",
        seconds: float = ANSWER_SECONDS,
        patiently: bool = False,
    ) -> AnswerT:
        """Call, and wait for the answer.

        Args:
            method: /service/method.
            message: What is asked.
            answer: Class of the answer.
            body: Bytes that go behind the message.
            seconds: How long to wait.
            patiently: Whether to connect again within that time where a first connection failed.

        Raises:
            StoreFailed: the server cannot be reached, or has no room.
            CloudedgeError: as the server raised it.
        """
        call: Any = self._channel.unary_unary(method)
        try:
            content = call(packed(message, body), timeout=seconds, wait_for_ready=patiently)
        except grpc.RpcError as error:
            raise error_of(error, self.address) from None
        return unpacked(answer, content, self.address)[0]

    def follow(self, method: str, message: Part, answer: type[AnswerT]) -> "Following[AnswerT]":
        """Call, and hear what the server says as long as it does.

        Args:
            method: /service/method.
            message: What is asked.
            answer: Class of what is heard.
        """
        call: Any = self._channel.unary_stream(method)
        return Following(call(packed(message)), answer, self.address)

    def chunks(self, method: str, message: Part) -> Generator[bytes, None, None]:
        """Call, and get bytes as a stream: as fast as they are taken, and no faster.

        Args:
            method: /service/method.
            message: What is asked.

        Raises:
            StoreFailed: the stream broke.
            CloudedgeError: as the server raised it.
        """
        method_call: Any = self._channel.unary_stream(method)
        call = method_call(packed(message))
        try:
            yield from call
        except grpc.RpcError as error:
            raise error_of(error, self.address) from None
        finally:
            call.cancel()

    def close(self) -> None:
        """End all calls."""
        self._channel.close()


class Following(Iterator[AnswerT]):
    """What a server says, one document after the other; to be ended from any thread."""

    def __init__(self, call: Any, answer: type[AnswerT], address: str) -> None:
        """Listen to a call."""
        self._call = call
        self._answer = answer
        self._address = address

    def __next__(self) -> AnswerT:
        """Wait for the next one.

        Raises:
            StopIteration: the server has ended the call.
            StoreFailed: the connection broke.
            CloudedgeError: as the server raised it.
        """
        try:
            content = next(self._call)
        except grpc.RpcError as error:
            raise error_of(error, self._address) from None
        return unpacked(self._answer, content, self._address)[0]

    def end(self) -> None:
        """Hear no more."""
        self._call.cancel()
