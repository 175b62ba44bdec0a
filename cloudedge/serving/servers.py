"""The servers of a process: the Open Inference Protocol over HTTP and gRPC, each where an address is given."""

import contextlib
import ipaddress
import socket
from concurrent import futures
from types import TracebackType
from typing import Self

import grpc

from cloudedge.errors import InvalidInput, StoreFailed
from cloudedge.serving.grpc_server import handlers
from cloudedge.serving.http import application
from cloudedge.serving.metrics import Metrics
from cloudedge.serving.models import Models
from cloudedge.serving.tensors import MOST_REQUEST_BYTES
from cloudedge.serving.turns import AT_ONCE, MOST_WAITING, Turns
from cloudedge.web import WebServer

_GRACE_SECONDS = 5
"""For answers that are under way when the servers are closed."""

_MORE_THREADS = 4
"""Of gRPC, for what is asked besides inference."""

_MOST_CONNECTIONS = 128


class Servers:
    """Servers at work.

    Attributes:
        http_port: Port of HTTP; None: there is no such server.
        grpc_port: Port of gRPC; None: there is no such server.
        metrics: What is counted of what is asked.
    """

    def __init__(self, models: Models, http: str | None, grpc: str | None, at_once: int, waiting: int) -> None:
        self.http_port: int | None = None
        self.grpc_port: int | None = None
        self.metrics = Metrics(models)
        self._turns = Turns(at_once, waiting)
        self._closing = contextlib.ExitStack()
        self._closing.callback(self._turns.close)
        try:
            if http is not None:
                self._serve_http(models, http)
            if grpc is not None:
                self._serve_grpc(models, grpc)
        except BaseException:
            self._closing.close()
            raise

    def close(self) -> None:
        """Take no more requests, and end once those under way are answered, or soon."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _serve_http(self, models: Models, address: str) -> None:
        listener = _listening(address)
        self.http_port = listener.getsockname()[1]
        server = WebServer(
            application(models, self._turns, self.metrics),
            listener,
            "serving-http",
            most_connections=_MOST_CONNECTIONS,
            grace_seconds=_GRACE_SECONDS,
            idle_seconds=60,
        )
        self._closing.callback(server.close)

    def _serve_grpc(self, models: Models, address: str) -> None:
        host, port = _parsed(address)
        threads = self._turns.places + _MORE_THREADS
        server = grpc.server(
            futures.ThreadPoolExecutor(threads, thread_name_prefix="serving-grpc"),
            handlers=[handlers(models, self._turns, self.metrics)],
            maximum_concurrent_rpcs=threads,
            options=[
                ("grpc.max_receive_message_length", MOST_REQUEST_BYTES),
                ("grpc.max_send_message_length", MOST_REQUEST_BYTES),
                ("grpc.so_reuseport", 0),  # A port that is taken is an error and not shared.
            ],
        )
        try:
            self.grpc_port = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError as error:
            raise StoreFailed(f"Cannot listen at {address}: {error}. Choose another address or port.") from None
        server.start()
        self._closing.callback(lambda: server.stop(_GRACE_SECONDS).wait())


def serve(models: Models, http: str | None, grpc: str | None, at_once: int = AT_ONCE, waiting: int = MOST_WAITING) -> Servers:
    """Answer the Open Inference Protocol for some models, until the servers are closed.

    There is no account and no encryption: whoever reaches an address may ask the models, so give one of the machine itself
    (127.0.0.1), or of a network of which all may.

    Args:
        models: The models, which stay the caller's.
        http: Address and port of HTTP, such as 127.0.0.1:8080; port 0: one that is free. None: no HTTP.
        grpc: The same of gRPC.
        at_once: Requests that models compute for at a time.
        waiting: Further requests that are taken in; what comes beyond them is told to come again.

    Raises:
        InvalidInput: an address is none.
        StoreFailed: an address is taken, or not of this machine.
    """
    return Servers(models, http, grpc, at_once, waiting)


def _listening(address: str) -> socket.socket:
    host, port = _parsed(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Of a socket that does not say that it is TCP's, asyncio has small answers wait for the client's acknowledgement: 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_MOST_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise StoreFailed(f"Cannot listen at {address}: {error.strerror}. Choose another address or port.") from None
    return listener


def _parsed(address: str) -> tuple[str, int]:
    """IP address, or localhost, and port."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        if host != "localhost":
            ipaddress.ip_address(host)
        if not (port.isascii() and port.isdigit() and int(port) < 65536):
            raise ValueError(port)
    except ValueError:
        raise InvalidInput(
            f"{address!r} is no address to listen at. Give an IP address and a port, such as 127.0.0.1:8080 or 0.0.0.0:8080."
        ) from None
    return host, int(port)
