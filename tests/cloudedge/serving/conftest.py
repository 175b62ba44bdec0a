"""A server of each protocol for each test that asks one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloudedge.serving.served import Served


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    served.close()
