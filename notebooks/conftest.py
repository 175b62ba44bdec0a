"""Notebooks as tests: a whole one takes longer than most tests."""

import pytest

_SECONDS = 1800


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each notebook its time."""
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker(pytest.mark.timeout(_SECONDS))
