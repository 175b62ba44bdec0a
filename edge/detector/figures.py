"""What a detector counts of its own work."""

import time
from collections import deque

_LAST_SECONDS = 5.0
_LAST_IMAGES = 1000
_MOST_A_SECOND = 2000


class Figures:
    """Counts since the start, and figures of the last images. The inspection counts, others read.

    Attributes:
        images: Images inspected.
        rejects: Parts rejected.
        errors: Images that could not be judged, or not be taken.
        unjudged: Images for which there was no model.
    """

    def __init__(self) -> None:
        self.images = 0
        self.rejects = 0
        self.errors = 0
        self.unjudged = 0
        self._ends: deque[float] = deque(maxlen=int(_LAST_SECONDS * _MOST_A_SECOND))
        self._durations: deque[float] = deque(maxlen=_LAST_IMAGES)

    def count(self, seconds: float, *, reject: bool = False, error: bool = False, unjudged: bool = False) -> None:
        """Count an image.

        Args:
            seconds: From its tick until its judgement was on its way.
            reject: Whether it was rejected.
            error: Whether it could not be judged.
            unjudged: Whether there was no model for it.
        """
        self.images += 1
        self.rejects += reject
        self.errors += error
        self.unjudged += unjudged
        self._ends.append(time.monotonic())
        self._durations.append(seconds)

    @property
    def per_second(self) -> float:
        """Images a second, of the last seconds."""
        now = time.monotonic()
        return sum(now - end <= _LAST_SECONDS for end in self._ends.copy()) / _LAST_SECONDS

    def milliseconds(self, share: float) -> float:
        """That share of the last images took at most so long; 0 before the first one."""
        durations = sorted(self._durations.copy())
        return 1000 * durations[min(len(durations) - 1, int(share * len(durations)))] if durations else 0.0
