"""Whoever asks is answered, whatever others on the network do with their connections; over real sockets."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from cloudedge.web import WebServer

MOST = 5
ASKED = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
PATIENCE = 600
"""Seconds that a connection may say nothing; far longer than any test."""


@contextlib.contextmanager
def serving(idle_seconds: int = PATIENCE) -> Iterator[tuple[str, int]]:
    """A server's address."""

    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    def endless(request: Request) -> StreamingResponse:
        return StreamingResponse(pieces())

    application = Starlette(routes=[Route("/", hello, methods=["GET", "POST"]), Route("/endless", endless)])
    listener = socket.create_server(("127.0.0.1", 0))
    server = WebServer(application, listener, "web", most_connections=MOST, grace_seconds=0, idle_seconds=idle_seconds)
    try:
        yield listener.getsockname()
    finally:
        server.close()


@pytest.fixture
def connected() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def connect(connected: contextlib.ExitStack, address: tuple[str, int], says: bytes = b"") -> socket.socket:
    connection = connected.enter_context(socket.create_connection(address, timeout=PATIENCE))
    connection.sendall(says)
    return connection


def answer(connection: socket.socket) -> bytes:
    """What comes, up to the last word of an answer; empty: the connection was ended."""
    found = b""
    while not found.endswith((b"hello", b"first\r\n", b"Unavailable")):
        piece = taken(connection)
        if not piece:
            break
        found += piece
    return found


def taken(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize(
    "says",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(ASKED[:-2], id="half-a-request"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\nhalf", id="half-a-body"),
    ],
)
def test_connections_that_say_nothing_keep_nobody_out(connected: contextlib.ExitStack, says: bytes) -> None:
    with serving() as address:
        idle = [connect(connected, address, says) for _ in range(MOST)]
        for each in idle if b"Content-Length" in says else ():
            assert answer(each).startswith(b"HTTP/1.1 200")
        for _ in range(3 * MOST):
            assert answer(connect(connected, address, ASKED)).startswith(b"HTTP/1.1 200")
        assert answer(idle[0]) == b""


def test_the_one_that_has_said_nothing_for_longest_goes_first(connected: contextlib.ExitStack) -> None:
    with serving() as address:
        idle = []
        for _ in range(MOST):
            idle.append(connect(connected, address, ASKED))
            assert answer(idle[-1]).startswith(b"HTTP/1.1 200")
        idle[0].sendall(ASKED)
        assert answer(idle[0]).startswith(b"HTTP/1.1 200")
        assert answer(connect(connected, address, ASKED)).startswith(b"HTTP/1.1 200")
        assert answer(idle[1]) == b""
        idle[0].sendall(ASKED)
        assert answer(idle[0]).startswith(b"HTTP/1.1 200")


def test_where_all_are_being_answered_one_more_is_told_to_come_again(connected: contextlib.ExitStack) -> None:
    with serving() as address:
        asked = [connect(connected, address, ASKED.replace(b"/ ", b"/endless ", 1)) for _ in range(MOST)]
        for each in asked:
            assert answer(each).startswith(b"HTTP/1.1 200")
        assert answer(connect(connected, address, ASKED)).startswith(b"HTTP/1.1 503")
        asked[0].close()
        served = b""
        while not served.startswith(b"HTTP/1.1 200"):
            served = answer(connect(connected, address, ASKED))


def test_a_connection_that_asks_nothing_is_ended(connected: contextlib.ExitStack) -> None:
    with serving(idle_seconds=3) as address:
        silent, asked = connect(connected, address), connect(connected, address, ASKED)
        assert answer(asked).startswith(b"HTTP/1.1 200")
        assert (answer(silent), answer(asked)) == (b"", b"")


BODY = b"x" * 50_000_000


def serving_large(grace_seconds: int) -> tuple[WebServer, tuple[str, int]]:
    """A server whose answers are more than connections hold, and its address."""

    def large(request: Request) -> PlainTextResponse:
        return PlainTextResponse(BODY)

    listener = socket.create_server(("127.0.0.1", 0))
    application = Starlette(routes=[Route("/", large)])
    server = WebServer(application, listener, "web", most_connections=MOST, grace_seconds=grace_seconds)
    return server, listener.getsockname()


def length_of_what_comes(connection: socket.socket) -> int:
    """Bytes until the connection is ended."""
    came = 0
    while piece := taken(connection):
        came += len(piece)
    return came


def test_who_takes_nothing_of_an_answer_loses_the_connection(
    connected: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudedge.web._STALLED_SECONDS", 0.1)
    server, address = serving_large(grace_seconds=PATIENCE)
    connection = connect(connected, address, ASKED)
    assert taken(connection).startswith(b"HTTP/1.1 200")
    server.close()  # It waits for answers that are under way.
    assert length_of_what_comes(connection) < len(BODY)


def test_who_has_not_taken_an_answer_when_the_server_is_closed_loses_the_connection(connected: contextlib.ExitStack) -> None:
    server, address = serving_large(grace_seconds=0)
    connection = connect(connected, address, ASKED)
    assert taken(connection).startswith(b"HTTP/1.1 200")
    server.close()
    assert length_of_what_comes(connection) < len(BODY)
