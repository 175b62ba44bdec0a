"""A cluster to try things on, and a laptop's run to compare with."""

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.object_store import MinioServer
from tests.cluster.site import Site
from tests.e2e.conftest import flat, samples

__all__ = ["flat", "samples"]


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane, minio: MinioServer, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The manifests, applied, and a bucket of a module's own."""
    return Site(tmp_path_factory.mktemp("site"), control_plane, minio)
