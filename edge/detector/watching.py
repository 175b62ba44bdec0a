"""Whether a newly deployed model stays within its bounds, and how long a line waited for its swap. Nothing here does I/O.

A model is out of its bounds as soon as it rejected, or failed on, too large a share of the images so far, counted as if there
had been `least_images` already: what the next ones bring can change nothing then. So a model that may fail on nothing is gone
after its first failure, and one that may reject half of the parts is not judged by its first reject.
"""

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import NamedTuple

from cloudedge.documents.inspection import Bounds

GAP_SECONDS = 1.0
"""On both sides of a swap, in which pauses are laid to it."""


@dataclass(frozen=True)
class Tally:
    """What a model did since it was swapped in.

    Attributes:
        images: Images judged by it, or failed on.
        rejects: Parts rejected.
        errors: Images on which it failed.
    """

    images: int = 0
    rejects: int = 0
    errors: int = 0

    def plus(self, *, reject: bool, error: bool) -> "Tally":
        """With one image more."""
        return replace(self, images=self.images + 1, rejects=self.rejects + reject, errors=self.errors + error)

    @property
    def reject_rate(self) -> float:
        """Share of the images that it rejected; 0 of none."""
        return self.rejects / self.images if self.images else 0.0

    @property
    def error_rate(self) -> float:
        """Share of the images that it failed on; 0 of none."""
        return self.errors / self.images if self.images else 0.0


def out_of_bounds(tally: Tally, bounds: Bounds) -> str:
    """Why a model is out of its bounds; empty: it is within."""
    images = max(tally.images, bounds.least_images)
    if tally.errors > bounds.error_rate * images:
        return f"It failed on {tally.errors} of {tally.images} images; {_allowed(bounds.error_rate, tally, images)}."
    if tally.rejects > bounds.reject_rate * images:
        return f"It rejected {tally.rejects} of {tally.images} parts; {_allowed(bounds.reject_rate, tally, images)}."
    return ""


def _allowed(rate: float, tally: Tally, images: int) -> str:
    share = f"at most a share of {rate:g} was allowed"
    return share if tally.images >= images else f"{share}, which is {math.floor(rate * images)} of the first {images}"


class Pause(NamedTuple):
    """A time without an answer although a tick was waiting.

    Attributes:
        ended: When the answer came, by `time.monotonic`.
        seconds: Since its tick, or since the answer before where that came later.
    """

    ended: float
    seconds: float


class Pauses:
    """The pauses of the last images."""

    def __init__(self, most: int = 4096) -> None:
        """Keep so many."""
        self._pauses: deque[Pause] = deque(maxlen=most)
        self._answered = 0.0

    def answered(self, due: float, now: float) -> None:
        """Take note of an answer.

        Args:
            due: When its tick came.
            now: When it was given.
        """
        self._pauses.append(Pause(now, now - max(due, self._answered)))
        self._answered = now

    def longest_about(self, swapped: float) -> float:
        """The longest pause about a swap, in seconds; 0: there was no image."""
        near = [pause.seconds for pause in self._pauses.copy() if abs(pause.ended - swapped) <= GAP_SECONDS + pause.seconds]
        return max(near, default=0.0)
