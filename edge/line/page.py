"""What people on the line's network see: how the line stands, as JSON, and the pictures of what was rejected.

From this machine alone it is open to all its users, and only under this machine's names, so that no page of the internet reads
it through somebody's browser. From elsewhere it needs the key: as a header, or in the address, whence a browser has it
in a cookie. The page itself, in `web/`, is files that ask for nothing from elsewhere.
"""

import asyncio
import importlib.resources
import re
import secrets
import socket
import time
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cloudedge.addresses import host_and_port
from cloudedge.errors import InvalidInput
from cloudedge.names import NAME, SHA256
from cloudedge.web import WebServer
from edge.line.history import History
from edge.line.reports import LineReport
from edge.line.settings import LineSettings
from edge.signals import Signal

KEY_HEADER = "X-Cloudedge-Key"

MOST_REJECTS = 500

_LOOK_SECONDS = 0.25
_SIGN_OF_LIFE_SECONDS = 15.0
_MOST_CONNECTIONS = 200
_ENDING_SECONDS = 1
_COOKIE_SECONDS = 365 * 24 * 3600
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_WEB = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""What the page is made of, by the endings of its files."""


class Shown(Protocol):
    """What there is to see."""

    history: History
    changed: Signal

    def report(self) -> LineReport:
        """How the line stands."""


def served(settings: LineSettings, shown: Shown) -> WebServer:
    """Have people answered.

    Raises:
        InvalidInput: nobody can listen there.
    """
    listener = bound(settings.page)
    return WebServer(
        application(settings, shown), listener, "page", most_connections=_MOST_CONNECTIONS, grace_seconds=_ENDING_SECONDS
    )


def bound(address: str) -> socket.socket:
    """A socket that listens at an address.

    Raises:
        InvalidInput: nobody can listen there.
    """
    host, port = host_and_port(address)
    try:
        (family, kind, protocol, _, place), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(_MOST_CONNECTIONS)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise InvalidInput(f"Cannot listen at {address}: {error.strerror}. Choose another address.") from error
    return listener


def application(settings: LineSettings, shown: Shown) -> Starlette:
    """The pages.

    Args:
        settings: Whether a key is needed, and which.
        shown: What there is to see.
    """
    files = {path.name: path.read_bytes() for path in importlib.resources.files("edge.line").joinpath("web").iterdir()}

    version = sha256(b"".join(files[name] for name in sorted(files))).hexdigest()

    def opened(request: Request) -> Response:
        if "key" in request.query_params:  # From here on the browser keeps it: out of sight, and for images and events too.
            answer = RedirectResponse("./", 303, headers=_HEADERS)
            answer.set_cookie(
                _cookie(settings), settings.page_key, max_age=_COOKIE_SECONDS, path="/", httponly=True, samesite="lax"
            )
            return answer
        return web_file("index.html")

    def web(request: Request) -> Response:
        return web_file(request.path_params["name"])

    def web_file(name: str) -> Response:
        kind = _WEB.get(Path(name).suffix)
        if kind is None or name not in files:
            return _refused(404, "there is no such file")
        return Response(files[name], media_type=kind, headers={**_HEADERS, "Content-Security-Policy": _POLICY})

    def line(request: Request) -> Response:
        headers = {**_HEADERS, "X-Cloudedge-Page": version}
        return Response(shown.report().model_dump_json(), media_type="application/json", headers=headers)

    def rejects(request: Request) -> Response:
        detector = request.query_params.get("detector", "")
        limit = request.query_params.get("limit", "50")
        if (
            (detector and not re.fullmatch(NAME, detector))
            or not re.fullmatch("[0-9]{1,4}", limit)
            or not 1 <= int(limit) <= MOST_REJECTS
        ):
            return _refused(400, f"give a detector's name, and a limit from 1 to {MOST_REJECTS}")
        found = [
            {"detector": name, "heat": heat, "record": record.model_dump(mode="json")}
            for name, record, heat in shown.history.rejects(detector, int(limit))
        ]
        return JSONResponse(found, headers=_HEADERS)

    def picture(request: Request) -> Response:
        digests = [*request.path_params.values()]
        find = shown.history.image if len(digests) == 1 else shown.history.heat
        path = find(*digests) if all(re.fullmatch(SHA256, digest) for digest in digests) else None
        if path is None or not path.exists():
            return _refused(404, "there is no such image (any more)")
        return FileResponse(
            path, media_type="image/png", headers={**_HEADERS, "Cache-Control": "private, max-age=86400, immutable"}
        )

    def events(request: Request) -> Response:
        return StreamingResponse(_changes(shown.changed), media_type="text/event-stream", headers=_HEADERS)

    routes = [
        Route("/", opened),
        Route("/web/{name}", web),
        Route("/api/line", line),
        Route("/api/rejects", rejects),
        Route("/api/images/{digest}", picture),
        Route("/api/heat/{digest}/{model}", picture),
        Route("/api/events", events),
    ]
    if settings.page_needs_key:
        guard = Middleware(_Keyed, key=settings.page_key, cookie=_cookie(settings))
    else:
        guard = Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "::1", "[::1]"], www_redirect=False)
    return Starlette(routes=routes, middleware=[guard])


async def _changes(changed: Signal) -> AsyncIterator[str]:
    """An event whenever the snapshot is another one; how many there were in between is nobody's business."""
    told, last = -1, 0.0
    while True:
        count = changed.count
        if count != told:
            told, last = count, time.monotonic()
            yield f"event: changed\ndata: {count}\n\n"
        elif time.monotonic() - last > _SIGN_OF_LIFE_SECONDS:
            last = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(_LOOK_SECONDS)


class _Keyed:
    """Lets only those through who know the key."""

    def __init__(self, app: ASGIApp, key: str, cookie: str) -> None:
        self._app = app
        self._key = key.encode()
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        # What was opened with another key than that of the cookie is meant to be seen with that one.
        given = (
            connection.headers.get(KEY_HEADER)
            or connection.query_params.get("key")
            or connection.cookies.get(self._cookie)
            or ""
        )
        if secrets.compare_digest(given.encode(), self._key):
            await self._app(scope, receive, send)
        elif scope["path"] == "/":
            text = "To see this line, open the address that 'cloudedge-edge line show' prints on its edge server."
            await PlainTextResponse(text, 403, headers=_HEADERS)(scope, receive, send)
        else:
            await _refused(403, "open the address that 'cloudedge-edge line show' prints")(scope, receive, send)


def _cookie(settings: LineSettings) -> str:
    """Of this line's page: browsers keep cookies by host, and there may be another line at another port."""
    return f"cloudedge-line-{host_and_port(settings.page)[1]}"


def _refused(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status_code=status, headers=_HEADERS)
