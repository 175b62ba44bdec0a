"""Processes that must not outlive another one."""

import os
import select
import signal
import threading
import time
from collections.abc import Callable

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment in which the numeric libraries start no thread as they are loaded: for fork servers, as none survives a fork."""

_LOOK_SECONDS = 0.2


class Companion:
    """A thread beside the main one, whose end is waited for however often that is interrupted.

    In Python 3.11 a `Thread.join` that a signal's exception interrupted takes the thread for ended from then on.
    """

    def __init__(self, work: Callable[[], object], name: str) -> None:
        """Begin the work."""
        self._work = work
        self._over = threading.Event()
        threading.Thread(target=self._do, name=name, daemon=True).start()

    def wait(self) -> None:
        """Wait for the end of the work."""
        self._over.wait()

    @property
    def over(self) -> bool:
        """Whether the work has ended."""
        return self._over.is_set()

    def _do(self) -> None:
        try:
            self._work()
        finally:
            self._over.set()


def end_with(process: int) -> None:
    """End this process as soon as another one is gone, whatever it is doing.

    What is being written then is written whole or not at all (`cloudedge.files`).

    Args:
        process: Id of the other process.
    """

    def watch() -> None:
        _wait_for_end(process)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, name="end-with", daemon=True).start()


def _wait_for_end(process: int) -> None:
    try:
        # Linux tells at once, and also of a process that ended but that nobody has waited for yet.
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # Another system, or one that forbids it.
        while _exists(process):
            time.sleep(_LOOK_SECONDS)
    else:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll()


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # It is another user's.
        return True
    return True
