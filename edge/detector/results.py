"""Where judgements go: a file that a program follows, and a broker that a PLC's program listens to.

Both take a verdict without waiting for anybody. What cannot be written or queued is counted and said, and the inspection goes
on.
"""

import errno
import os
from pathlib import Path
from typing import Protocol

from cloudedge.documents.detector import ResultsFile
from cloudedge.errors import StoreFailed
from cloudedge.files import disk_errors


class Sink(Protocol):
    """Takes verdicts.

    Attributes:
        lost: Verdicts that it could not take.
        trouble: What a person should look after; empty: nothing.
    """

    lost: int
    trouble: str

    def take(self, line: bytes) -> None:
        """Take a verdict, at once.

        Args:
            line: It as JSON, without an end of line.
        """

    def close(self) -> None:
        """Send what still waits, for a moment, and end."""


class FileSink:
    """One JSON object a line. A full file is renamed to end in .1, so that two of its length are the most there is."""

    def __init__(self, settings: ResultsFile, base: Path) -> None:
        """Open the file, to go on behind what is there.

        Args:
            settings: Where it is.
            base: Folder that a relative path is below.

        Raises:
            StoreFailed: it cannot be written.
        """
        self.lost = 0
        self.trouble = ""
        self._size = 0
        self._cut = False
        self._path = base / settings.path
        self._most = settings.most_bytes
        with disk_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._open()

    def take(self, line: bytes) -> None:
        """Write a line."""
        try:
            with disk_errors(self._path):
                is_file, is_gone = self._path.is_file(), not self._path.exists()
                if self._size and self._size + len(line) + 1 > self._most and (is_file or is_gone):
                    if is_file:
                        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
                    former, self._file = self._file, self._open()  # Where none can be opened, the former one goes on.
                    os.close(former)
                # In one piece, so that who follows the file reads whole lines; one that a full disk cut short is ended first.
                content = (b"\n" if self._cut else b"") + line + b"\n"
                written = os.write(self._file, content)
                self._size += written
                self._cut = written < len(content)
                if self._cut:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.trouble = ""
        except StoreFailed as error:
            self.lost += 1
            self.trouble = str(error)

    def close(self) -> None:
        """Close the file; each line is written already."""
        os.close(self._file)

    def _open(self) -> int:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(file).st_size
        self._cut = self._path.is_file() and self._size > 0 and os.pread(file, 1, self._size - 1) != b"\n"
        return file
