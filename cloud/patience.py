"""Asking a server again that does not answer for a while."""

import logging
import random
import time

from cloudedge.errors import CloudedgeError, StoreFailed

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0


class Away(StoreFailed):
    """A server did not answer for as long as there was patience: whatever else it is asked now would take as long."""


class Patience:
    """How long one question is asked again; the pauses grow, and no two askers keep step."""

    def __init__(self, seconds: float) -> None:
        """Begin to count."""
        self._end = time.monotonic() + seconds
        self._pause = _FIRST_PAUSE_SECONDS
        self._said = ""

    def wait(self, failure: CloudedgeError) -> None:
        """Pause before the next try.

        Raises:
            Away: this failure, as there is no patience left; one of a kind of its own stays so.
        """
        if time.monotonic() + self._pause > self._end:
            raise Away(str(failure)) if type(failure) is StoreFailed else failure
        # Who waits is told once why, and not at each try; nor of what the next try mends at once, as a connection that a server
        # has closed amid being used again.
        if self._pause > _FIRST_PAUSE_SECONDS and str(failure) != self._said:
            self._said = str(failure)
            _log.warning("%s It is asked again.", failure)
        time.sleep(self._pause * random.uniform(0.5, 1))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
