"""A server that answers what a test has it answer, with TLS or without, and a proxy on the way to it."""

import datetime
import ipaddress
import json
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


class Answer(NamedTuple):
    """What is said to a request; status 0: the connection is broken off."""

    status: int
    text: str = ""
    kind: str = "application/json"


class Asked(NamedTuple):
    """A request."""

    verb: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Answering:
    """A server.

    Attributes:
        url: Its address.
        answer: What it says to a request.
        asked: The requests so far.
    """

    url: str
    answer: Callable[[Asked], Answer]
    asked: list[Asked] = field(default_factory=list)

    def paths(self) -> list[str]:
        """What was asked for, without queries."""
        return [asked.path.partition("?")[0] for asked in self.asked]


def status(code: int, message: str, **said: Any) -> Answer:
    """What an API server of Kubernetes says where it does not do what it is asked to."""
    return Answer(code, json.dumps({"kind": "Status", "apiVersion": "v1", "code": code, "message": message, **said}))


class Authority:
    """Makes certificates, and is trusted by whoever has its own."""

    def __init__(self, folder: Path) -> None:
        """Write its certificate there."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._key, self._count = folder, ec.generate_private_key(ec.SECP256R1()), 0
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        self.certificate = self._written("authority", self._key, (), _DAY)[0]

    def issue(self, *names: str, lasts: datetime.timedelta = _DAY) -> tuple[Path, Path]:
        """A certificate for these names and addresses, and its key."""
        self._count += 1
        return self._written(f"issued-{self._count}", ec.generate_private_key(ec.SECP256R1()), names, lasts)

    def server(self, *names: str, lasts: datetime.timedelta = _DAY, clients: bool = False) -> ssl.SSLContext:
        """What a server speaks TLS with; perhaps only with clients that have a certificate of ours."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(*names, lasts=lasts))
        if clients:
            context.load_verify_locations(self.certificate)
            context.verify_mode = ssl.CERT_REQUIRED
            # It refuses amid the handshake; from 1.3 on it may close before the client has read why.
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _written(
        self, name: str, key: ec.EllipticCurvePrivateKey, names: tuple[str, ...], lasts: datetime.timedelta
    ) -> tuple[Path, Path]:
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) if names else self._name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 10 * _DAY)
            .not_valid_after(now + lasts)
            .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
        )
        if names:
            made = made.add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names]), critical=False)
        certificate, private = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain))
        return certificate, private


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@contextmanager
def answering(answer: Callable[[Asked], Answer], tls: ssl.SSLContext | None = None) -> Iterator[Answering]:
    """Have such a server for a while."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.command, self.path, dict(self.headers), body)
            found.asked.append(asked)
            said = found.answer(asked)
            if not said.status:
                self.close_connection = True
                return
            self.send_response(said.status)
            self.send_header("Content-Type", said.kind)
            self.send_header("Content-Length", str(len(said.text.encode())))
            self.end_headers()
            self.wfile.write(said.text.encode())

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    with _served(Handler, tls) as port:
        found = Answering(f"http{'s' if tls else ''}://127.0.0.1:{port}", answer)
        yield found


@dataclass
class Proxy:
    """A proxy that leads every connection to one server.

    Attributes:
        url: Its address.
        hosts: Whom it was asked for.
        credentials: How those who asked named themselves.
    """

    url: str
    hosts: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)


@contextmanager
def proxy(server: Answering, refusal: int = 0) -> Iterator[Proxy]:
    """Have one for a while, which may refuse all with a status."""
    port = int(server.url.rpartition(":")[2])

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            found.hosts.append(self.path)
            found.credentials.append(self.headers.get("Proxy-Authorization", ""))
            if refusal:
                self.send_error(refusal)
                return
            self.send_response(200)
            self.end_headers()
            with socket.create_connection(("127.0.0.1", port)) as other:
                _pass_on(self.connection, other)
            self.close_connection = True

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    with _served(Handler, None) as own:
        found = Proxy(f"http://127.0.0.1:{own}")
        yield found


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    peers = {one: other, other: one}
    while True:
        for ready in select.select(list(peers), [], [])[0]:
            content = ready.recv(65536)
            if not content:
                return
            peers[ready].sendall(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    tls: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands here, in a thread of the request's own."""
        super().finish_request(self.tls.wrap_socket(request, server_side=True) if self.tls else request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about."""


@contextmanager
def _served(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None) -> Iterator[int]:
    server = _Server(("127.0.0.1", 0), handler)
    server.tls = tls
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
