"""Waiting for something to become true, instead of sleeping and hoping."""

import time
from collections.abc import Callable


def until(condition: Callable[[], object], timeout: float = 30, what: str = "the condition") -> None:
    """Return as soon as the condition holds.

    Raises:
        AssertionError: it did not hold within `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true within {timeout} s"
        time.sleep(0.01)
