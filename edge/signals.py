"""Threads that wait for something to change."""

import threading
from collections.abc import Callable


class Signal:
    """Something changed: for as many threads as want to know."""

    def __init__(self) -> None:
        """Begin with nothing changed."""
        self._condition = threading.Condition()
        self.count = 0

    def give(self) -> None:
        """Tell all who wait."""
        with self._condition:
            self.count += 1
            self._condition.notify_all()

    def wait(self, seen: int, seconds: float, otherwise: Callable[[], bool] = bool) -> int:
        """Wait until it was given since, or something else is so, or the time is over.

        Args:
            seen: Its count when the caller last looked.
            seconds: How long to wait.
            otherwise: What else ends the wait; looked at whenever it is given.

        Returns:
            Its count now.
        """
        with self._condition:
            self._condition.wait_for(lambda: self.count != seen or otherwise(), seconds)
            return self.count
