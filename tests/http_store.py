"""A small object store over real HTTP that can be told to misbehave."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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


class Handler(BaseHTTPRequestHandler):
    """GET with Range, PUT with If-None-Match, as S3 answers them."""

    protocol_version = "HTTP/1.1"
    store: HttpStore
    body: bytes = b""

    def do_GET(self) -> None:
        if self._meets_a_fault():
            return
        content = self.store.objects.get(self.key)
        if content is None:
            self.refuse(404, "NoSuchKey", "The key does not exist.")
            return
        begin = self.range_begin()
        if begin and begin >= len(content):
            self.refuse(416, "InvalidRange", "There is nothing there.")
            return
        self.head(206 if begin else 200, len(content) - begin)
        self.wfile.write(content[begin:])

    def do_PUT(self) -> None:
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._meets_a_fault():
            return
        if self.headers.get("If-None-Match") == "*" and self.key in self.store.objects:
            self.refuse(412, "PreconditionFailed", "It exists.")
            return
        self.store.objects[self.key] = self.body
        self.head(200, 0)

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
            f"<SignatureProvided>secret</SignatureProvided><Resource>{self.path}</Resource></Error>"
        ).encode()
        self.head(status, len(text))
        self.wfile.write(text)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""

    def _meets_a_fault(self) -> bool:
        self.store.requests.append(Request(self.command, self.path, dict(self.headers), self.client_address[1]))
        return bool(self.store.faults) and self.store.faults.pop(0)(self)


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
    """The object is kept, but nobody is told."""
    request.store.objects[request.key] = request.body
    request.close_connection = True
    return True


@contextmanager
def http_store() -> Iterator[HttpStore]:
    """A store that serves as long as the block lasts."""
    store = HttpStore()
    server = _Server(("127.0.0.1", 0), type("Bound", (Handler,), {"store": store}))
    store.url = f"http://127.0.0.1:{server.server_port}"
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
