"""Keeps a process small: what Python and the C library hold for later goes back to the system."""

import ctypes
import gc

_M_ARENA_MAX = -8


def share_one_arena() -> None:
    """Let all threads allocate from one pool, as they hardly compete; to be called before the first thread starts."""
    if hasattr(_library, "mallopt"):
        _library.mallopt(_M_ARENA_MAX, 1)


def release() -> None:
    """Give back what is not used now."""
    gc.collect()
    trim()


def trim() -> None:
    """Give back what the C library holds, and leave Python's garbage: looking for that keeps all threads waiting."""
    if hasattr(_library, "malloc_trim"):  # Only glibc's pools need to be told.
        _library.malloc_trim(0)


_library = ctypes.CDLL(None)
