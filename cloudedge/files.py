"""Files that are there whole or not at all."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cloudedge.errors import Conflict, NotFound, StoreFailed

TEMPORARY = ".part-"
"""Prefix of files that are being written. A crash may leave one behind; nothing reads it."""


def atomic_write(path: Path, content: bytes, *, once: bool = False) -> None:
    """Write a file that no reader ever sees half, and that survives a power cut once this returns.

    Args:
        path: Where to; folders are made.
        content: The whole content.
        once: Refuse to replace a file that is there.

    Raises:
        Conflict: `once`, and there is one already.
        StoreFailed: the disk is full, read-only or broken; nothing was changed.
    """
    atomic_place(path, lambda file: file.write(content), once=once)


def atomic_copy(source: Path, path: Path, *, once: bool = False) -> None:
    """Copy a file as `atomic_write` writes one.

    Raises:
        NotFound: there is no file to copy.
        Conflict: `once`, and there is one already.
        StoreFailed: the disk is full, read-only or broken; nothing was changed.
    """
    try:
        original = source.open("rb")
    except FileNotFoundError:
        raise NotFound(f"There is no file {source} to copy.") from None
    except OSError as error:
        raise StoreFailed(f"Cannot read {source}: {error.strerror}. Check the disk and start again.") from error
    with original:
        atomic_place(path, lambda file: shutil.copyfileobj(original, file, 1024 * 1024), once=once)


@contextmanager
def disk_errors(path: Path | str) -> Iterator[None]:
    """Turn what the operating system says of a disk into one message with a way out.

    Raises:
        StoreFailed: instead of the OSError.
    """
    try:
        yield
    except OSError as error:
        remedy = {
            errno.ENOSPC: "The disk is full: free some space and start again; nothing is lost.",
            errno.EDQUOT: "The disk quota is used up: free some space and start again; nothing is lost.",
            errno.EFBIG: "Files may not grow this large here (ulimit -f): raise the limit and start again; nothing is lost.",
            errno.EACCES: "Give this user the right to write there, or choose another folder.",
            errno.EBADF: "It is closed: have it lead somewhere, if only to /dev/null.",
            errno.EISDIR: "A folder stands there: name a file.",
            errno.EPIPE: "Whoever was reading it has ended.",
            errno.EBUSY: "Something else stands there: name a file.",
            errno.EEXIST: "A file stands where a folder is needed: choose another place.",
            errno.ENOTDIR: "A file stands where a folder is needed: choose another place.",
            errno.EROFS: "The file system is read-only: choose another folder.",
        }.get(error.errno or 0, "Check the disk and start again.")
        raise StoreFailed(f"Cannot write {path}: {error.strerror or error}. {remedy}") from error


def atomic_place(path: Path, write: Callable[[BinaryIO], object], *, once: bool = False) -> None:
    """Let a function write a file as `atomic_write` writes one.

    Args:
        path: Where to; folders are made. A device or a pipe is written into, and never replaced.
        write: Writes the whole content into the file that it is given.
        once: Refuse to replace a file that is there.

    Raises:
        Conflict: `once`, and there is one already.
        StoreFailed: the disk is full, read-only or broken; nothing was changed.
    """
    with disk_errors(path):
        if is_outlet(path) and not once:
            with path.open("ab") as file:  # To what else is said there, it is added.
                write(file)
            return
        _make_folder(path.parent)
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                write(file)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            if once:
                try:
                    os.link(name, path)
                except FileExistsError:
                    raise Conflict(f"{path} exists already and can be written only once.") from None
            else:
                Path(name).replace(path)
            sync_folder(path.parent)
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()


def is_outlet(path: Path) -> bool:
    """Whether a path leads out of the file system: a device, a pipe, or as /dev/stdout to whatever this process has open."""
    if path.is_symlink():  # /dev/stdout is a link, be it to a terminal, a pipe or a regular file.
        folder = path.parent.resolve()
        return folder == Path("/dev") or folder.is_relative_to("/proc")
    return path.exists() and not path.is_file() and not path.is_dir()


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Let what was made, renamed or removed in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
