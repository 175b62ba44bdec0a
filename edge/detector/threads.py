"""Threads that stand back behind the inspection, on the one processor that they may all have."""

import contextlib
import os
import threading

_NICE = 10


def stand_back() -> None:
    """Have the calling thread, and those that it starts from now on, get what the others leave."""
    with contextlib.suppress(OSError, AttributeError):
        # On Linux each thread has a priority of its own.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
