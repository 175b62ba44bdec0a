"""The way to any server; see also tests/cloud/stores/test_ways.py."""

import ssl
from base64 import b64decode

import pytest

from cloudedge.errors import InvalidInput, StoreFailed
from cloudedge.network import Obstacle, Proxy, proxy_for, trouble_of
from cloudedge.store.way import said_of
from tests.obstacles import MET, WAYS


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WAYS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("error", "obstacle"), MET)
def test_an_error_tells_what_stands_in_the_way(error: Exception, obstacle: Obstacle) -> None:
    trouble = trouble_of(error)
    assert trouble is not None
    assert trouble.obstacle is obstacle
    assert said_of(trouble, "https://one.example/bucket").startswith("cannot be asked: ")


def test_every_obstacle_is_met() -> None:
    assert {obstacle for _, obstacle in MET} == set(Obstacle)


@pytest.mark.parametrize("error", [ConnectionRefusedError(111, "Connection refused"), ssl.SSLEOFError(8, "EOF"), OSError("?")])
def test_what_a_server_does_that_restarts_is_no_obstacle(error: Exception) -> None:
    assert trouble_of(error) is None


def test_what_was_handled_when_an_error_was_raised_is_looked_at_and_circles_end() -> None:
    error = ValueError("of a client")
    error.__context__, error.__suppress_context__ = MET[0][0], True
    MET[0][0].__context__ = error
    try:
        trouble = trouble_of(error)
    finally:
        MET[0][0].__context__ = None
    assert trouble is not None
    assert trouble.obstacle is MET[0][1]


def test_what_was_amiss_with_another_server_is_no_cause() -> None:
    earlier = StoreFailed("MLflow's certificate has expired.")
    earlier.__context__ = MET[0][0]
    error = ConnectionRefusedError(111, "Connection refused")
    error.__context__ = earlier
    assert trouble_of(error) is None


@pytest.mark.parametrize(
    ("server", "environment", "used"),
    [
        ("https://one:6443", {}, ""),
        ("https://one:6443", {"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ("https://one:6443", {"https_proxy": "proxy:3128"}, "http://proxy:3128"),
        ("https://one:6443", {"HTTP_PROXY": "http://proxy:3128"}, ""),
        ("http://one:8080", {"HTTP_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ("https://localhost:6443", {"HTTPS_PROXY": "http://proxy:3128"}, ""),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": "http://proxy:3128"}, ""),
        ("https://[::1]:6443", {"HTTPS_PROXY": "http://proxy:3128"}, ""),
        ("https://one:6443", {"HTTPS_PROXY": "http://me:secret@proxy"}, "http://me:secret@proxy"),
        ("https://one:6443", {"HTTPS_PROXY": "http://capital:1", "https_proxy": "http://small:1"}, "http://small:1"),
        ("https://one:6443", {"HTTPS_PROXY": "http://capital:1", "https_proxy": ""}, "http://capital:1"),
        ("https://one:6443", {"ALL_PROXY": "http://all:1"}, "http://all:1"),
        ("http://one:8080", {"all_proxy": "http://all:1"}, "http://all:1"),
        ("https://one:6443", {"ALL_PROXY": "http://all:1", "HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ("https://one:6443", {"ALL_PROXY": "http://all:1", "NO_PROXY": "one"}, ""),
        ("https://127.0.0.2:6443", {"HTTPS_PROXY": "socks5://proxy:3128"}, ""),
        ("https://one:6443", {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, ""),
        ("https://one:6443", {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "two,*"}, ""),
        ("https://one:6443", {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "ONE"}, ""),
        ("https://one:6443", {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "two", "no_proxy": "one"}, ""),
        ("https://one", {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "one:443"}, ""),
        ("http://one", {"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "one:80"}, ""),
        ("https://one:6443", {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "two, one"}, ""),
        ("https://one:6443", {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "one:6443"}, ""),
        ("https://one:6443", {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "one:443"}, "http://proxy:3128"),
        ("https://api.site.example", {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "site.example"}, ""),
        ("https://api.site.example", {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": ".site.example"}, ""),
        ("https://api.site.example", {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "*.site.example"}, ""),
        ("https://site.example", {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": ".site.example"}, "http://proxy:3128"),
        ("https://website.example", {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "site.example"}, "http://proxy:3128"),
        ("https://10.1.2.3", {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "10.0.0.0/8"}, ""),
        ("https://11.1.2.3", {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "10.0.0.0/8"}, "http://proxy:3128"),
        ("https://[fd00::1]:6443", {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "fd00::/8"}, ""),
        ("https://[fd00::1]:6443", {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "[fd00::1]:6443"}, ""),
    ],
)
def test_the_proxy_that_the_environment_names_is_asked_but_for_what_no_proxy_names(
    monkeypatch: pytest.MonkeyPatch, server: str, environment: dict[str, str], used: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(server)
    assert (found.url if found else "") == used


@pytest.mark.parametrize("wrong", ["socks5://me:secret@proxy:1080", "http://", "http://proxy:port", "http://proxy:0"])
def test_a_proxy_that_cannot_be_asked_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("ALL_PROXY", wrong)
    with pytest.raises(InvalidInput, match="of ALL_PROXY cannot be used here: give .*, or name one in NO_PROXY") as failed:
        proxy_for("https://one:6443")
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize(
    ("account", "told"), [("", ""), ("me@", "me:"), ("me:p%40ss@", "me:p@ss"), ("m%C3%A9:%E2%82%AC@", "mé:€")]
)
def test_a_proxy_is_told_who_asks(account: str, told: str) -> None:
    proxy = Proxy.parse(f"{account}proxy:3128", "ALL_PROXY")
    assert b64decode(proxy.headers.get("proxy-authorization", "").removeprefix("Basic ")).decode() == told
    assert str(proxy) == "the proxy http://proxy:3128 of ALL_PROXY"
