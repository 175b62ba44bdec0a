"""Threads that stand back behind the inspection, on the one processor that they may all have."""

import contextlib
import os
import threading

_BEGAN = os.getpriority(os.PRIO_PROCESS, 0)
"""Of the process, as it was started."""

_BEHIND, _MOST = 10, 19


def stand_back() -> None:
    """Have the calling thread, and those that it starts from now on, get what the others of this process leave."""
    with contextlib.suppress(OSError):  # On Linux each thread has a priority of its own.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(_MOST, _BEGAN + _BEHIND))
