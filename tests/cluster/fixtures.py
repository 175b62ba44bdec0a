"""Real servers for tests, started once for a session; a test that needs one that is not built is left out, and says so."""

from collections.abc import Iterator

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.object_store import MinioServer
from tests.cluster.tools import ToolMissing


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """A MinIO."""
    try:
        server = MinioServer(tmp_path_factory.mktemp("minio"))
    except ToolMissing as error:
        pytest.skip(str(error))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A Kubernetes control plane."""
    try:
        plane = ControlPlane(tmp_path_factory.mktemp("control-plane"))
    except ToolMissing as error:
        pytest.skip(str(error))
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()
