"""Asking a server again that does not answer for a while."""

import logging
import random
import time

from cloudedge.errors import CloudedgeError

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0


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
            CloudedgeError: this failure, as there is no patience left.
        """
        if time.monotonic() + self._pause > self._end:
            raise failure
        if str(failure) != self._said:  # Who waits is told once why, and not at each try.
            self._said = str(failure)
            _log.warning("%s It is asked again.", failure)
        time.sleep(self._pause * random.uniform(0.5, 1))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
