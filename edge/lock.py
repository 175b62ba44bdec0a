"""One runner for each state directory."""

import fcntl
from pathlib import Path
from typing import BinaryIO

from cloudedge.errors import Conflict, StoreFailed


def locked(path: Path) -> BinaryIO:
    """Hold a lock for as long as the file returned is open; the kernel frees it however the process ends.

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
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise Conflict(f"Another runner works in {path.parent}. End it first, or choose another --state.") from None
    return file


def is_locked(path: Path) -> bool:
    """Whether someone holds the lock now."""
    if not path.exists():
        return False
    try:
        locked(path).close()
    except Conflict:
        return True
    return False
