"""Time that work was given since a moment, whatever people and time servers do to the clock.

Within one boot time awake counts, as `cloudedge.clocks` has it. Across a reboot only the wall clock is left, so that the time
without power counts as well; a wall clock that went backwards counts as no time passed.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Moment:
    """A point in time on this machine.

    Attributes:
        boot: Id of the boot that it was taken in.
        up: Seconds awake since that boot.
        wall: Seconds since 1970 by the wall clock.
    """

    boot: str
    up: float
    wall: float

    def seconds_until(self, later: "Moment") -> float:
        """Seconds from this moment to a later one; never negative."""
        return max(0.0, later.up - self.up if later.boot == self.boot else later.wall - self.wall)

    def later(self, seconds: float) -> "Moment":
        """This moment and so many seconds, of the same boot."""
        return Moment(self.boot, self.up + seconds, self.wall + seconds)

    def iso(self) -> str:
        """By the wall clock, for people."""
        return datetime.fromtimestamp(self.wall, UTC).isoformat(timespec="seconds")


def now() -> Moment:
    """This moment."""
    return Moment(_boot(), time.monotonic(), time.time())


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
