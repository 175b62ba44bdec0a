"""One process for each state directory: a runner, a detector."""

import fcntl
import time
from pathlib import Path
from typing import BinaryIO

from cloudedge.errors import Conflict, StoreFailed

_PATIENCE_SECONDS = 1.0
"""Longer than anyone takes to look whether the lock is held, for which it must be taken for a moment."""


def locked(path: Path, who: str = "runner") -> BinaryIO:
    """Hold a lock for as long as the file returned is open; the kernel frees it however the process ends.

    Args:
        path: File that is locked; folders are made.
        who: What kind of process holds it, for the message.

    Raises:
        Conflict: someone else holds it.
        StoreFailed: the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise StoreFailed(
            f"Cannot write {path}: {error.strerror}. Give this user the right to, or choose another --state."
        ) from None
    end = time.monotonic() + _PATIENCE_SECONDS
    while not _try(file):
        if time.monotonic() >= end:
            file.close()
            raise Conflict(f"Another {who} works in {path.parent}. End it first, or choose another --state.")
        time.sleep(0.05)
    return file


def is_locked(path: Path) -> bool:
    """Whether someone holds the lock now."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        return not _try(file)


def _try(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
