"""Keeps a process small: what Python and the C library hold for later goes back to the system."""

import ctypes
import gc

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE_BYTES = 64 * 1024


def share_one_arena() -> None:
    """Let all threads allocate from one pool, as they hardly compete; to be called before the first thread starts."""
    if hasattr(_library, "mallopt"):
        _library.mallopt(_M_ARENA_MAX, 1)


def return_large_pieces() -> None:
    """Give back pieces of 64 KiB or more as soon as they are free, and not keep them for the next one.

    Otherwise what is large grows with what is freed, up to 32 MiB, and a model's weights stay among what is kept.
    """
    if hasattr(_library, "mallopt"):
        _library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def settle() -> None:
    """Leave what is there now out of every later search for garbage; for a process that may not pause, once it is set up.

    Such a search keeps all threads waiting: 25 ms and more where some libraries are loaded.
    """
    gc.collect()
    gc.freeze()


def release() -> None:
    """Give back what is not used now. All threads wait for it."""
    gc.collect()
    if hasattr(_library, "malloc_trim"):  # Only glibc's pools need to be told.
        _library.malloc_trim(0)


_library = ctypes.CDLL(None)
