"""Waiting for something to become true, instead of sleeping and hoping."""

import time
from collections.abc import Callable

_LEAST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.01, 2.0
_PAUSE = 9.0
"""Between two looks, in units of what a look takes: whoever asks a server over and over slows down what is waited for."""

PATIENCE = 120.0
"""Seconds after which something that nobody times is given up: many times what it takes on a machine that is all but idle."""


def until(condition: Callable[[], object], timeout: float = PATIENCE, what: str = "the condition") -> None:
    """Return soon after the condition holds.

    Raises:
        AssertionError: it did not hold within `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while True:
        began = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        assert now < end, f"{what} did not come true within {timeout} s"
        time.sleep(min(max(_LEAST_PAUSE_SECONDS, _PAUSE * (now - began)), _LONGEST_PAUSE_SECONDS))


def until_either(condition: Callable[[], object], other: Callable[[], object], timeout: float, what: str) -> bool:
    """Return soon after one of two conditions holds: whether it is the first, which need not hold for long.

    Raises:
        AssertionError: neither held within `timeout` seconds.
    """
    held = False

    def either() -> object:
        nonlocal held
        held = bool(condition())
        return held or other()

    until(either, timeout, what)
    return held or bool(condition())  # It may have come about just before the other did.
