"""A line for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.line.site import LineSite


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LineSite]:
    """A line whose service runs in this process."""
    site = LineSite(tmp_path)
    site.start()
    yield site
    site.close()
