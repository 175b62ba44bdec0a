"""Which clock counts what, on both shores.

- Time that somebody is given is counted awake: an order's time limit, a round's deadline and grace, the wait for further
  samples, patience and back-off. While a machine sleeps nothing can go on, so it is nobody's time. `time.monotonic` counts so:
  nobody can set it, and it stands still in suspend. Across a reboot it begins anew, see `edge.clock`.
- What ends elsewhere ends whoever sleeps: a presigned URL. `passed` counts that.
- A point in time, for people and in documents, is UTC by the wall clock. Where one decides, as for a run's signs of life,
  it is the clock of the store, which stamped both ends.
"""

import sys
import time


def passed() -> float:
    """Seconds since some moment, suspend included; nobody can set this clock where there is one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.time()
