"""MLflow's own application behind a server that answers in its place where a test wants it to, as what stands before it may."""

import json
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import responses
from pathlib import Path
from typing import Any
from unittest.mock import patch

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""

Rule = Callable[[str, str], Answer | None]
"""By method and path, what is answered instead of MLflow; None: MLflow answers."""


SERVE_ARTIFACTS = ("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
"""By this variable, looked for at each request, the server takes files."""


@dataclass
class Served:
    """A server and what it was asked.

    Attributes:
        uri: Its address.
        rule: What it answers instead of MLflow.
        asked: Method and path of each request.
    """

    uri: str = ""
    rule: Rule | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)


def page(status: int, title: str, **headers: str) -> Answer:
    """A page that a person is to read."""
    return status, {"Content-Type": "text/html", **headers}, f"<!doctype html>\n<title>{title}</title>".encode()


def told(status: int, **body: Any) -> Answer:
    """An answer in JSON."""
    return status, {"Content-Type": "application/json"}, json.dumps(body).encode()


def text(status: int, body: str) -> Answer:
    """A line of text."""
    return status, {"Content-Type": "text/plain"}, body.encode()


@contextmanager
def serving(database: str, artifacts: Path) -> Iterator[Served]:
    """Serve a database as `mlflow server` does, and artifacts into a folder."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    served = Served()
    surroundings = {
        "_MLFLOW_SERVER_FILE_STORE": database,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(artifacts),
    }
    with patch.dict(os.environ, [*surroundings.items(), SERVE_ARTIFACTS]), warnings.catch_warnings(action="ignore"):
        from mlflow import set_registry_uri
        from mlflow.server import app, fastapi_app, handlers  # noqa: F401 - it imports one while it answers

        # It looks for its places when it is first asked for something there, and remembers them.
        handlers._get_tracking_store()
        handlers._get_model_registry_store()
        handlers._get_artifact_repo_mlflow_artifacts()  # type: ignore[no-untyped-call]
        set_registry_uri("")  # Which it has set for all clients in this process, whatever they are of.

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        served.asked.append((method, path))
        instead = served.rule(method, path) if served.rule else None
        if instead is None:
            whole: Iterable[bytes] = app(environ, start)
            return whole
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, headers, body = instead
        start(f"{status} {responses.get(status, 'Odd')}", [*headers.items(), ("Content-Length", str(len(body)))])
        return [body]

    class Quiet(WSGIRequestHandler):
        def log(self, *_: object) -> None: ...

    server = make_server("127.0.0.1", 0, answer, threaded=True, request_handler=Quiet)
    served.uri = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
