"""A small object store over real HTTP that can be told to misbehave."""

import hashlib
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any, TypeVar
from xml.sax.saxutils import escape

from cloudedge.documents import RemoteFile, UploadTarget

Fault = Callable[["Handler"], bool]
"""Answers a request in its own way; whether it did, and the store shall do nothing more."""


@dataclass
class Request:
    """What came over the wire."""

    verb: str
    path: str
    headers: dict[str, str]
    connection: int


@dataclass
class HttpStore:
    """Objects by path, and the faults that the next requests meet, one each."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def holds(self, path: str, content: bytes) -> RemoteFile:
        """Keep an object; the file that an order announces it as."""
        self.objects[path] = content
        return RemoteFile(
            url=f"{self.url}{path}?signature=secret", sha256=hashlib.sha256(content).hexdigest(), size=len(content)
        )

    def target(self, path: str, *, once: bool = False, max_bytes: int = 10**9) -> UploadTarget:
        """Where an object may be put."""
        headers = {"If-None-Match": "*"} if once else {}
        return UploadTarget(url=f"{self.url}{path}?signature=secret", headers=headers, max_bytes=max_bytes, once=once)


StoreT = TypeVar("StoreT", bound=HttpStore)


class Handler(BaseHTTPRequestHandler):
    """GET with Range, PUT with If-None-Match, as S3 answers them."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    store: HttpStore
    body: bytes = b""

    def do_GET(self) -> None:
        self.take()

    def do_HEAD(self) -> None:
        self.take()

    def do_PUT(self) -> None:
        self.take()

    def do_POST(self) -> None:
        self.take()

    def do_DELETE(self) -> None:
        self.take()

    def take(self) -> None:
        """Take a request, and answer it unless it meets a fault."""
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.store.requests.append(Request(self.command, self.path, dict(self.headers), self.client_address[1]))
        if not (self.store.faults and self.store.faults.pop(0)(self)):
            self.answer()

    def answer(self) -> None:
        """Do what is asked, and say so."""
        content = self.store.objects.get(self.key)
        if self.command == "PUT":
            if self.headers.get("If-None-Match") == "*" and content is not None:
                self.refuse(412, "PreconditionFailed", "It exists.")
                return
            self.store.objects[self.key] = self.body
            self.head(200, 0)
            return
        if content is None:
            self.refuse(404, "NoSuchKey", "The key does not exist.")
            return
        begin = self.range_begin()
        if begin and begin >= len(content):
            self.refuse(416, "InvalidRange", "There is nothing there.")
            return
        self.head(206 if begin else 200, len(content) - begin)
        self.wfile.write(content[begin:])

    @property
    def key(self) -> str:
        """The request's path without its query."""
        return self.path.split("?")[0]

    def range_begin(self) -> int:
        """First byte that is asked for."""
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))

    def head(self, status: int, length: int | None, **headers: str) -> None:
        """Send status and headers."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer with S3's error document, which may repeat the signature."""
        text = (
            f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message>"
            f"<SignatureProvided>secret</SignatureProvided><Resource>{escape(self.path)}</Resource></Error>"
        ).encode()
        self.head(status, len(text), Content_Type="application/xml")
        if self.command != "HEAD":
            self.wfile.write(text)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


def fine(_: Handler) -> bool:
    """No fault at all."""
    return False


def answers(status: int, code: str = "InternalError") -> Fault:
    """An error in place of the object."""

    def fault(request: Handler) -> bool:
        request.refuse(status, code, "We are sorry.")
        return True

    return fault


def breaks_off_after(count: int, *, announced: bool = True) -> Fault:
    """So many bytes of what is asked for, and the connection is closed."""

    def fault(request: Handler) -> bool:
        content = request.store.objects[request.key][request.range_begin() :]
        request.head(206 if request.range_begin() else 200, len(content) if announced else None)
        request.wfile.write(content[:count])
        request.close_connection = True
        return True

    return fault


def sends(content: bytes, status: int = 200, **headers: str) -> Fault:
    """Other bytes than the object's."""

    def fault(request: Handler) -> bool:
        request.head(status, len(content), **headers)
        if request.command != "HEAD":
            request.wfile.write(content)
        return True

    return fault


def trickles(pause_seconds: float) -> Fault:
    """The object, byte by byte."""

    def fault(request: Handler) -> bool:
        content = request.store.objects[request.key][request.range_begin() :]
        request.head(206 if request.range_begin() else 200, len(content))
        for byte in content:
            request.wfile.write(bytes([byte]))
            request.wfile.flush()
            if request.store.stopped.wait(pause_seconds):
                break
        return True

    return fault


def ignores_ranges(request: Handler) -> bool:
    """The whole object, whatever part of it is asked for."""
    content = request.store.objects[request.key]
    request.head(200, len(content))
    request.wfile.write(content)
    return True


def loses_the_answer(request: Handler) -> bool:
    """What is asked is done, but nobody is told."""
    done_in_silence(request)
    request.close_connection = True
    return True


def cuts_the_answer(request: Handler) -> bool:
    """What is asked is done, and half of what is to be said of it is."""
    head, end, body = done_in_silence(request).partition(b"\r\n\r\n")
    if body:
        request.wfile.write(head + end + body[: len(body) // 2])
    request.close_connection = True
    return True


def done_in_silence(request: Handler) -> bytes:
    """Do what is asked; the answer that nobody has got yet."""
    out, kept = request.wfile, BytesIO()
    request.wfile = kept
    try:
        request.answer()
    finally:
        request.wfile = out
    return kept.getvalue()


def does_it_and_answers(status: int, code: str = "InternalError") -> Fault:
    """What is asked is done, but nobody is told."""

    def fault(request: Handler) -> bool:
        done_in_silence(request)
        return answers(status, code)(request)

    return fault


@contextmanager
def http_store() -> Iterator[HttpStore]:
    """A store that serves as long as the block lasts."""
    with served(HttpStore(), Handler) as store:
        yield store


@contextmanager
def served(store: StoreT, handler: type[Handler], tls: ssl.SSLContext | None = None) -> Iterator[StoreT]:
    """A store that is served by a handler as long as the block lasts."""
    server = _Server(("127.0.0.1", 0), type("Bound", (handler,), {"store": store}))
    store.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    if tls:  # Greeted by the connection's own thread, so that one that does not greet holds up no other.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield store
    finally:
        store.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about."""
