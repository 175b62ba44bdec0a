"""What a command says, to whatever it is said: a terminal of any encoding, a pipe, a full disk, or nobody.

Results go to standard output, and that they did not get there is an error. Messages go to standard error, and that nobody takes
them is none.
"""

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from cloudedge.errors import EXIT_INTERRUPTED, EXIT_UNREAD, CloudedgeError, InvalidInput, StoreFailed
from cloudedge.files import disk_errors
from cloudedge.places import shown_path

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_PLAIN = dict(zip("▁▂▃▄▅▆▇█░→…", ("_", ".", "-", ":", "=", "+", "*", "#", ".", "->", "..."), strict=True))
"""What stands for a character that an output's encoding does not have; others are told by their numbers."""


@contextmanager
def a_command() -> Iterator[None]:
    """Have what is done be a command: its output is its own, and every error that is known is one message and an exit code.

    Raises:
        SystemExit: with the documented code, after an error.
    """
    try:
        with own_output():
            yield
    except CloudedgeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        # A path that somebody gave may be too long, or lead where this user may not even look.
        if error.filename is None:
            raise
        print(
            f"Cannot use {shown_path(os.fsdecode(error.filename))}: {error.strerror}. Correct the path, or its rights.",
            file=sys.stderr,
        )
        sys.exit(InvalidInput.exit_code)
    except KeyboardInterrupt:  # Before a command could say so itself.
        sys.exit(EXIT_INTERRUPTED)


@contextmanager
def own_output() -> Iterator[None]:
    """Have all output of this process go the ways above, to the last character.

    Raises:
        StoreFailed: standard output did not take everything.
        SystemExit: whoever read it has ended, as `head` does when it has enough.
    """
    codecs.register_error("cloudedge", _plainly)
    for descriptor in range(3):
        _occupy(descriptor)
    sys.stdout = _by_way_of(_Results, 1, sys.stdout)
    sys.stderr = _by_way_of(_Messages, 2, sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()


class _Results(io.FileIO):
    """Standard output, which says once that something was lost."""

    _lost = False

    def write(self, content: "ReadableBuffer", /) -> int:
        if self._lost:
            return memoryview(content).nbytes
        try:
            with disk_errors("standard output"):
                return super().write(content)
        except StoreFailed as error:
            self._lost = True
            if isinstance(error.__cause__, BrokenPipeError):
                raise SystemExit(EXIT_UNREAD) from None
            raise


class _Messages(io.FileIO):
    """Standard error."""

    def write(self, content: "ReadableBuffer", /) -> int:
        with contextlib.suppress(OSError):
            return super().write(content)
        return memoryview(content).nbytes


def _by_way_of(kind: type[io.FileIO], descriptor: int, former: TextIO | None) -> TextIO:
    if former is not None and not isinstance(former, io.TextIOWrapper):  # Somebody has put their own into its place.
        return former
    return io.TextIOWrapper(
        io.BufferedWriter(kind(descriptor, "wb", closefd=False)),
        encoding=former.encoding if former else "utf-8",
        errors="cloudedge",
        line_buffering=kind is _Messages or os.isatty(descriptor),
        write_through=former is not None and former.write_through,
    )


def _occupy(descriptor: int) -> None:
    """Have a closed descriptor stand for nothing: the next file that is opened would get it, and what is said with it."""
    try:
        os.fstat(descriptor)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        os.set_inheritable(os.open(os.devnull, os.O_WRONLY if descriptor == 2 else os.O_RDONLY), True)


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter) or ascii(letter)[1:-1] for letter in text), error.end
