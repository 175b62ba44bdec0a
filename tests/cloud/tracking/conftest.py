"""A real MLflow: one database for all tests here, because making one takes seconds; each test has its own experiment."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudedge.store import DirectoryStore
from tests.cloud.tracking.served import SERVE_ARTIFACTS, Served, serving

if TYPE_CHECKING:
    # Importing it costs seconds, which collecting the tests need not.
    from mlflow import MlflowClient


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(scope="session")
def client(tracking_uri: str) -> "MlflowClient":
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri, tracking_uri)


@pytest.fixture(scope="session")
def only_server(tracking_uri: str, client: "MlflowClient", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    # `client` made the database.
    with serving(tracking_uri, tmp_path_factory.mktemp("artifacts")) as served:
        yield served


@pytest.fixture
def served(only_server: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv(*SERVE_ARTIFACTS)
    only_server.asked.clear()
    yield only_server
    only_server.rule = None


@pytest.fixture
def experiment() -> str:
    return f"experiment-{uuid.uuid4().hex}"


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


@pytest.fixture(autouse=True)
def nothing_is_left_in_the_working_directory() -> Iterator[None]:
    before = set(Path().iterdir())
    yield
    assert {path for path in Path().iterdir() if path.name.startswith("ml")} <= before
