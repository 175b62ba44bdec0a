"""A server of each protocol for each test that asks one, and the Python that has KServe's client."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.serving_peers import kserve_python as made_kserve_python
from tests.cloudedge.serving.served import Served


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    served.close()


@pytest.fixture(scope="session")
def kserve_python() -> Path:
    """It wants other versions of libraries than we have, so it has an environment of its own."""
    return made_kserve_python()
