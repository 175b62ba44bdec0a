"""Real servers for tests, started once for a session. Where they are not built, the tests that need them are left out."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.edge_tier import EdgeTier
from tests.cluster.object_store import MinioServer
from tests.cluster.tools import missing, missing_packages

TIERS = {
    "servers": {"control_plane", "minio", "own_control_plane", "own_minio"},
    "edge": {"edge_tier"},
}
"""The fixtures that start something, by the marker of the tests that need them."""

ServerT = TypeVar("ServerT", MinioServer, ControlPlane, EdgeTier)


def left_out() -> dict[str, str]:
    """The tiers whose tests cannot run here: why, and how they can."""
    servers, nodes, packages = missing(), missing(edge=True), missing_packages()
    sentences = {}
    if servers:
        sentences["servers"] = (
            f"Not run: the tests against a real Kubernetes and MinIO, as these are not built: {', '.join(servers)}. "
            "To run them: make cluster-tools"
        )
    ways = ["be root"] * bool(os.geteuid()) + [f"apt install {' '.join(packages)}"] * bool(packages)
    ways += ["make cluster-tools"] * bool(servers or nodes)
    if ways:
        sentences["edge"] = f"Not run: the tests on KubeEdge nodes. To run them: {', '.join(ways)}"
    return sentences


def pytest_configure(config: pytest.Config) -> None:
    """Name the tests that need real servers."""
    config.addinivalue_line("markers", "servers: runs against a real Kubernetes API server or MinIO")
    config.addinivalue_line("markers", "edge: runs on KubeEdge nodes, which root makes on this machine")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs servers, and leave out what cannot run here."""
    impossible = left_out()
    for item in list(items):
        tiers = [tier for tier, fixtures in TIERS.items() if fixtures & set(getattr(item, "fixturenames", ()))]
        for tier in tiers:
            item.add_marker(tier)
        if impossible.keys() & set(tiers):
            config.hook.pytest_deselected(items=[item])
            items.remove(item)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out."""
    for sentence in left_out().values():
        terminalreporter.write_line(sentence)


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
def edge_tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeTier]:
    """A cluster with two KubeEdge nodes."""
    with _running(EdgeTier(tmp_path_factory.mktemp("edge-tier"))) as tier:
        yield tier
