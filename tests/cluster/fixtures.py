"""Real servers for tests, started once for a session."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.cluster.argo import KubeflowTier
from tests.cluster.cloud_tier import CloudTier
from tests.cluster.containers import Containerd
from tests.cluster.control_plane import ControlPlane
from tests.cluster.edge_tier import EdgeTier
from tests.cluster.images import TARGETS
from tests.cluster.kubeflow import KubeflowServer
from tests.cluster.object_store import MinioServer
from tests.cluster.unpacked import lay_out, unpacked

ServerT = TypeVar("ServerT", MinioServer, ControlPlane, Containerd, EdgeTier, CloudTier, KubeflowServer, KubeflowTier)


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


@pytest.fixture(scope="module")
def own_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of a module's own, to be killed and started again."""
    with _running(ControlPlane(tmp_path_factory.mktemp("control-plane"))) as server:
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
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    """A containerd that holds the images of cloud and edge."""
    containerd = Containerd(tmp_path_factory.mktemp("containerd"))
    lay_out(unpacked(*TARGETS), containerd.root)
    with _running(containerd):
        yield containerd
    shutil.rmtree(containerd.root)


@pytest.fixture(scope="session")
def edge_tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeTier]:
    """A cluster with two KubeEdge nodes."""
    with _running(EdgeTier(tmp_path_factory.mktemp("edge-tier"))) as tier:
        yield tier


@pytest.fixture(scope="session")
def cloud_tier(edge_tier: EdgeTier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudTier]:
    """That cluster with a node in the cloud."""
    with _running(CloudTier(tmp_path_factory.mktemp("cloud-tier"), edge_tier)) as tier:
        yield tier


@pytest.fixture(scope="session")
def kubeflow_tier(cloud_tier: CloudTier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeflowTier]:
    """That cluster with a whole Kubeflow Pipelines, too."""
    with _running(KubeflowTier(tmp_path_factory.mktemp("kubeflow-tier"), cloud_tier)) as tier:
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
