"""Real servers for tests, started once for a session. Where they are not built, the tests that need them are left out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.edge_tier import EdgeTier
from tests.cluster.kubeflow import KubeflowServer
from tests.cluster.object_store import MinioServer
from tests.cluster.tools import missing


@dataclass(frozen=True)
class Tier:
    """Tests that need something real.

    Attributes:
        tests: Which these are, for a person.
        fixtures: By which they are known.
        parts: Parts of a test cluster that must be here.
    """

    tests: str
    fixtures: frozenset[str]
    parts: tuple[str, ...]


TIERS = {
    "servers": Tier(
        "against a real Kubernetes and MinIO",
        frozenset(("control_plane", "minio", "own_control_plane", "own_minio")),
        ("servers",),
    ),
    "kubeflow": Tier("against a real Kubeflow", frozenset(("kubeflow", "shared_kubeflow")), ("servers", "kubeflow")),
    "edge": Tier("on KubeEdge nodes", frozenset(("edge_tier",)), ("servers", "images", "edge")),
}
"""By the marker of the tests."""

ServerT = TypeVar("ServerT", MinioServer, ControlPlane, EdgeTier, KubeflowServer)


def pytest_configure(config: pytest.Config) -> None:
    """Name the tests that need real servers."""
    for name, tier in TIERS.items():
        config.addinivalue_line("markers", f"{name}: runs {tier.tests}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs servers, and leave out what cannot run here."""
    impossible = {name for name, tier in TIERS.items() if missing(tier.parts)}
    left_out = []
    for item in items:
        needed = {name for name, tier in TIERS.items() if tier.fixtures & set(getattr(item, "fixturenames", ()))}
        for name in needed:
            item.add_marker(name)
        if needed & impossible:
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out."""
    for tier in TIERS.values():
        ways = missing(tier.parts)
        if ways:
            terminalreporter.write_line(f"Not run: the tests {tier.tests}. To run them: {', then '.join(ways)}")


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
