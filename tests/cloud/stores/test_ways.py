"""The way to a store, for all who speak to it: whose certificates are believed, which proxy is asked, what is wrong with it."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloud.stores import open_store
from cloud.stores.address import S3Address
from cloud.stores.prepare import prepare
from cloudedge.errors import CloudedgeError, InvalidInput, StoreFailed
from cloudedge.network import AUTHORITIES
from cloudedge.store import Store
from cloudedge.transport import Transport
from tests.certificates import Authority
from tests.cluster.object_store import User
from tests.cluster.processes import free_port
from tests.http_proxy import Proxy, http_proxy
from tests.http_store import Handler, Request
from tests.obstacles import WAYS
from tests.s3_server import S3Server, s3_server

Ask = Callable[[S3Server, str, Path], object]


def _by_an_edge(server: S3Server, origin: str, folder: Path) -> None:
    server.keep("/bucket/runs/a", b"1")
    file = server.holds("/bucket/runs/a", b"1")
    Transport().fetch(file.model_copy(update={"url": f"{origin}/bucket/runs/a"}), folder / "received")


def _opened(origin: str, folder: Path, patience: float = 600) -> Store:
    return open_store(f"{origin}/bucket", for_edges="", scratch=folder, patience_seconds=patience)


def _by_a_step(server: S3Server, origin: str, folder: Path) -> None:
    _opened(origin, folder).put("runs/a", b"1")


def _by_an_administrator(server: S3Server, origin: str, folder: Path) -> None:
    prepare(S3Address.parse(f"{origin}/bucket"), "", "")


SPEAKERS = pytest.mark.parametrize("ask", [_by_an_edge, _by_a_step, _by_an_administrator])
"""All who speak to a store."""


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*WAYS, "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in User("user", "12345678").environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("cloud.patience._FIRST_PAUSE_SECONDS", 0.001)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with http_proxy() as proxy:
        yield proxy


# Certificates


@SPEAKERS
@pytest.mark.parametrize("variable", AUTHORITIES)
def test_the_authorities_that_a_variable_names_are_trusted(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, ask: Ask
) -> None:
    monkeypatch.setenv(variable, str(authority.file))
    with s3_server(tls=authority.server()) as server:
        ask(server, server.url, tmp_path)
        assert server.requests


@SPEAKERS
def test_of_the_variables_the_first_counts(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ask: Ask
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    for number, variable in enumerate(AUTHORITIES):
        monkeypatch.setenv(variable, str(other.file if number else authority.file))
    with s3_server(tls=authority.server()) as server:
        ask(server, server.url, tmp_path)
        monkeypatch.setenv(AUTHORITIES[0], "")
        with pytest.raises(StoreFailed, match=f"add its authority.s certificate to .*other.*, which {AUTHORITIES[1]} names"):
            ask(server, server.url, tmp_path)


CERTIFICATES = [
    ({}, "an authority that is not trusted here .*: name a file with its authority's certificate in AWS_CA_BUNDLE"),
    ({"name": "store.example"}, "its certificate is for another name .*127.0.0.1.*: give the address by a name that it holds"),
    ({"begins_in_days": -9}, "its certificate has expired .*: renew it there; if it is valid, set this machine's clock"),
    ({"begins_in_days": 1}, "its certificate is not valid yet by the clock here .*: set this machine's clock"),
]


@SPEAKERS
@pytest.mark.parametrize(("certificate", "told"), CERTIFICATES)
def test_what_is_wrong_with_a_certificate_is_told_at_once(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ask: Ask, certificate: dict[str, float], told: str
) -> None:
    if certificate:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.file))
    with s3_server(tls=authority.server(**certificate)) as server:  # type: ignore[arg-type]
        with pytest.raises(StoreFailed, match=told):
            ask(server, server.url, tmp_path)
        assert server.requests == []


@SPEAKERS
def test_a_port_that_speaks_no_tls_is_named_at_once(tmp_path: Path, ask: Ask) -> None:
    with s3_server() as server, pytest.raises(StoreFailed, match="does not speak https at this port: .* http://"):
        ask(server, server.url.replace("http:", "https:"), tmp_path)


@SPEAKERS
@pytest.mark.parametrize(
    "said",
    [
        "Client sent an HTTP request to an HTTPS server.\n",
        "<html><h1>400 Bad Request</h1>The plain HTTP request was sent to HTTPS port</html>",
        "Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",
    ],
)
def test_a_port_that_speaks_tls_is_named_at_once(tmp_path: Path, ask: Ask, said: str) -> None:
    def answer(request: Handler) -> bool:
        request.head(400, len(said), Content_Type="text/plain")
        request.wfile.write(said.encode())
        return True

    with s3_server() as server:
        server.faults = [answer]
        with pytest.raises(StoreFailed, match=r"speaks HTTPS on this port|begins with http://"):
            ask(server, server.url, tmp_path)


@SPEAKERS
@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_authorities_that_cannot_be_read_are_named(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ask: Ask, content: bytes | None
) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    with (
        s3_server(tls=authority.server()) as server,
        pytest.raises(InvalidInput if ask is not _by_an_edge else StoreFailed, match="REQUESTS_CA_BUNDLE names .*bundle.pem"),
    ):
        ask(server, server.url, tmp_path)


def test_a_store_that_has_answered_before_is_met_with_patience(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.file))
    tls = authority.server()
    with s3_server(tls=tls) as server:
        store = _opened(server.url, tmp_path)
        server.faults = [_closes]
        store.put("runs/a", b"1")
        (tmp_path / "other").mkdir()
        other = Authority(tmp_path / "other")
        other.server()
        tls.load_cert_chain(tmp_path / "other" / "server.pem")
        monkeypatch.setattr("cloud.patience.time.sleep", lambda _: tls.load_cert_chain(tmp_path / "server.pem"))
        store.put("runs/a", b"2")
        assert server.objects["/bucket/runs/a"] == b"2"


# Proxies

FAR = "0.0.0.0"
"""Leads to this machine as well, but is no address of those that are never asked for at a proxy."""


def _far(server: S3Server) -> str:
    return server.url.replace("127.0.0.1", FAR)


@SPEAKERS
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_plain_http_goes_through_the_proxy(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ask: Ask, variable: str, scheme: str
) -> None:
    monkeypatch.setenv(variable, f"{scheme}{proxy.address}")
    with s3_server() as server:
        ask(server, _far(server), tmp_path)
        assert len(proxy.asked) == len(server.requests) > 0


@SPEAKERS
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_https_goes_through_the_proxy_unread(
    authority: Authority, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ask: Ask, variable: str
) -> None:
    monkeypatch.setenv(variable, proxy.address)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.file))
    with s3_server(tls=authority.server(FAR)) as server:
        ask(server, _far(server), tmp_path)
        assert set(proxy.asked) == {f"CONNECT {_far(server).removeprefix('https://')}"}


@SPEAKERS
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("direct", ["0.0.0.0", "*", "other.example, 0.0.0.0/8", ".example,0.0.0.0"])
def test_whom_no_proxy_names_is_asked_directly(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ask: Ask, variable: str, direct: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.address)
    monkeypatch.setenv(variable, direct)
    with s3_server() as server:
        ask(server, _far(server), tmp_path)
        assert server.requests
        assert proxy.asked == []


@SPEAKERS
def test_this_machine_itself_is_asked_directly(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ask: Ask) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.address)
    with s3_server() as server:
        ask(server, server.url, tmp_path)
        assert server.requests
        assert proxy.asked == []


@SPEAKERS
def test_a_proxy_gets_its_credentials_and_the_store_does_not(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ask: Ask
) -> None:
    proxy.credentials = "Basic " + b64encode(b"me:p@ss").decode()
    monkeypatch.setenv("HTTP_PROXY", f"http://me:p%40ss@{proxy.address}")
    with s3_server() as server:
        ask(server, _far(server), tmp_path)
        assert server.requests


@SPEAKERS
@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize(
    ("refusal", "told"), [(403, "have it allow .*, or name 0.0.0.0 in NO_PROXY"), (407, "give it credentials")]
)
def test_a_proxy_that_refuses_is_named_at_once(
    authority: Authority,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    ask: Ask,
    secure: bool,
    refusal: int,
    told: str,
) -> None:
    proxy.refusal = refusal
    variable = "HTTPS_PROXY" if secure else "HTTP_PROXY"
    monkeypatch.setenv(variable, f"http://me:secret@{proxy.address}")
    with s3_server(tls=authority.server(FAR) if secure else None) as server:
        with pytest.raises(
            StoreFailed, match=f"the proxy http://{proxy.address} of {variable} answers {refusal}; {told}"
        ) as failed:
            ask(server, _far(server), tmp_path)
        assert "secret" not in str(failed.value)
        assert server.requests == []


def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("HTTP_PROXY", address)
    with s3_server() as server:
        with pytest.raises(StoreFailed, match=f"the proxy http://{address} of HTTP_PROXY does not answer"):
            _opened(_far(server), tmp_path, 0.1).put("runs/a", b"1")
        with pytest.raises(StoreFailed, match=f"the proxy http://{address} of HTTP_PROXY does not answer"):
            _by_an_edge(server, _far(server), tmp_path)


@SPEAKERS
@pytest.mark.parametrize("wrong", ["socks5://me:secret@proxy:1080", "http://", "http://proxy:port"])
def test_a_proxy_that_cannot_be_asked_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ask: Ask, wrong: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", wrong)
    with s3_server() as server, pytest.raises(CloudedgeError, match="of HTTP_PROXY cannot be used here: give http") as failed:
        ask(server, _far(server), tmp_path)
    assert "secret" not in str(failed.value)


# Regions


@pytest.mark.parametrize("ask", [_by_a_step, _by_an_administrator])
@pytest.mark.parametrize(
    ("regions", "signed"),
    [
        ({}, "us-east-1"),
        ({"AWS_DEFAULT_REGION": "eu-2"}, "eu-2"),
        ({"AWS_REGION": "eu-1", "AWS_DEFAULT_REGION": "eu-2"}, "eu-1"),
    ],
)
def test_all_is_signed_for_the_region_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ask: Ask, regions: dict[str, str], signed: str
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in regions.items():
        monkeypatch.setenv(name, value)
    with s3_server() as server:
        ask(server, server.url, tmp_path)
        assert {_region_of(request) for request in server.requests} == {signed}


def test_a_region_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_REGION", "Europe!")
    with pytest.raises(InvalidInput, match="AWS_REGION is 'Europe!'"):
        _opened("http://127.0.0.1:1", tmp_path)


def _closes(request: Handler) -> bool:
    request.close_connection = True
    return False


def _region_of(request: Request) -> str:
    return request.headers["Authorization"].split("/")[2]
