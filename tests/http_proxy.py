"""A small proxy over real HTTP: it passes requests on, and leads connections on by CONNECT."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Proxy:
    """What it was asked for.

    Attributes:
        address: host:port.
        asked: Verb and place of each request.
        credentials: What it wants to be told; empty: nothing.
        refusal: Status that it answers in place of passing on; 0: none.
    """

    address: str = ""
    asked: list[str] = field(default_factory=list)
    credentials: str = ""
    refusal: int = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def do_CONNECT(self) -> None:
        if self._refused(self.path):
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_led, args=(server, self.connection))
            back.start()
            _led(self.connection, server)
            back.join()
        self.close_connection = True

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self._refused(parts.netloc):
            return
        with closing(http.client.HTTPConnection(parts.netloc)) as connection:
            connection.request(self.command, self.path.removeprefix(f"http://{parts.netloc}"), body, dict(self.headers))
            response = connection.getresponse()
            content = response.read()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("date", "server", "connection"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def _refused(self, place: str) -> bool:
        self.proxy.asked.append(f"{self.command} {place}")
        status = self.proxy.refusal
        if self.proxy.credentials and self.headers.get("Proxy-Authorization") != self.proxy.credentials:
            status = 407
        if status:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.send_header("Content-Type", "text/html")
            self.end_headers()
        return bool(status)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


def _led(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65536):
            target.sendall(content)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def http_proxy() -> Iterator[Proxy]:
    """A proxy that serves as long as the block lasts."""
    proxy = Proxy()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"proxy": proxy}))
    server.daemon_threads, server.block_on_close = True, False
    proxy.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
