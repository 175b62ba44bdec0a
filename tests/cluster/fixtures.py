"""Real servers for tests, started once for a session. Where they are not built, the tests that need them are left out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubeflow import KubeflowServer
from tests.cluster.object_store import MinioServer
from tests.cluster.tools import missing, packages_missing

KUBEFLOW = {"kubeflow", "shared_kubeflow"}
"""Fixtures that start a Kubeflow."""

SERVERS = {"control_plane", "minio", "own_control_plane", "own_minio"} | KUBEFLOW
"""Fixtures that start a server."""

ServerT = TypeVar("ServerT", MinioServer, ControlPlane, KubeflowServer)


def pytest_configure(config: pytest.Config) -> None:
    """Name the tests that need real servers."""
    config.addinivalue_line("markers", "servers: runs against a real Kubernetes API server or MinIO")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs servers, and leave out what cannot run here."""
    needing = [item for item in items if SERVERS & set(getattr(item, "fixturenames", ()))]
    for item in needing:
        item.add_marker("servers")
    if not missing():
        needing = [item for item in needing if packages_missing() and KUBEFLOW & set(getattr(item, "fixturenames", ()))]
    if needing:
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out."""
    names = missing()
    if names:
        terminalreporter.write_line(
            f"Not run: the tests against a real Kubernetes and MinIO, as these are not built: {', '.join(names)}. "
            "To run them: make cluster-tools"
        )
    elif packages_missing():
        terminalreporter.write_line(
            f"Not run: the tests against a real Kubeflow Pipelines. To run them: apt-get install {' '.join(packages_missing())}"
        )


@contextmanager
def _running(server: ServerT) -> Iterator[ServerT]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def own_minio(tmp_path: Path) -> Iterator[MinioServer]:
    """A MinIO of a test's own, to be killed and started again."""
    with _running(MinioServer(tmp_path / "minio")) as server:
        yield server


@pytest.fixture
def own_control_plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane of a test's own, to be killed and started again."""
    with _running(ControlPlane(tmp_path / "control-plane")) as server:
        yield server


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """A MinIO."""
    with _running(MinioServer(tmp_path_factory.mktemp("minio"))) as server:
        yield server


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A Kubernetes control plane."""
    with _running(ControlPlane(tmp_path_factory.mktemp("control-plane"))) as server:
        yield server


@pytest.fixture(scope="session")
def kubeflow(
    control_plane: ControlPlane, minio: MinioServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KubeflowServer]:
    """A Kubeflow Pipelines."""
    with _running(KubeflowServer(tmp_path_factory.mktemp("kubeflow") / "one", control_plane, minio)) as server:
        yield server


@pytest.fixture(scope="session")
def shared_kubeflow(
    control_plane: ControlPlane, minio: MinioServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KubeflowServer]:
    """A Kubeflow Pipelines that gives each user a namespace."""
    folder = tmp_path_factory.mktemp("kubeflow") / "shared"
    with _running(KubeflowServer(folder, control_plane, minio, multi_user=True)) as server:
        yield server
