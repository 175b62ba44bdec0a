"""How many requests are answered at once, how many wait, and how long: what comes beyond that is told so at once."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from cloudedge.errors import CloudedgeError

AT_ONCE = 1
"""Requests that models compute for at a time; each takes a processor, and the line's own parts are judged beside them."""

MOST_WAITING = 7
"""Further requests that are taken in: all together take no more memory than a detector can spare."""

MOST_SECONDS = 30.0
"""From the first byte of a request to its answer."""

Result = TypeVar("Result")


class Busy(CloudedgeError):
    """More is asked at once than can wait."""


class Late(CloudedgeError):
    """The answer was not there by the time it was wanted."""


def late(seconds: float) -> Late:
    """What to say of a request that took too long."""
    return Late(f"There is no answer after {seconds:.3g} s. Ask less at once, or give it more time.")


class Turns:
    """Threads that answer, and places for those who wait."""

    def __init__(self, at_once: int = AT_ONCE, waiting: int = MOST_WAITING) -> None:
        """Begin with all places free.

        Args:
            at_once: Requests that are worked for at a time.
            waiting: Further ones that may wait.
        """
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="infer")
        self.places = at_once + waiting
        self._free = threading.Semaphore(self.places)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place.

        Raises:
            Busy: there is none.
        """
        if not self._free.acquire(blocking=False):
            raise Busy(f"{self.places} requests are worked for or wait already. Ask again in a moment.")
        try:
            yield
        finally:
            self._free.release()

    def do(self, work: Callable[[], Result]) -> Future[Result]:
        """Have work done by one of the threads; a place must be held."""
        return self._threads.submit(work)

    def close(self) -> None:
        """End the threads after what they are at."""
        self._threads.shutdown(cancel_futures=True)
