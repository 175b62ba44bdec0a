"""What triggers an image: a clock, or the pulses of an encoder.

A thread waits for ticks and takes an image for each at once; the inspection takes what waits from a bounded queue. A tick that
finds the queue full is missed: no image is taken, and it is counted. Time between ticks is counted by a clock that nobody sets.
"""

import logging
import os
import random
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cloudedge.documents.detector import Encoder, Pulses
from cloudedge.places import shown_path
from edge.backoff import pause_seconds
from edge.detector.sources import ImageSource, Shot
from edge.detector.sources.base import Exhausted, Pixels

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.02
"""Between two looks at a file that pulses are added to, which nothing tells of."""

_HEED_SECONDS = 0.2
"""Between two looks whether it is over."""


@dataclass(frozen=True)
class Tick:
    """A tick, and the image that was taken for it.

    Attributes:
        number: Counted from 1 since the detector began.
        shot: The image.
        taken_at: The wall clock then, UTC.
        due: `time.monotonic` then.
    """

    number: int
    shot: Shot
    taken_at: datetime
    due: float


class Ticks:
    """Ticks as they come, with their images.

    Attributes:
        missed: Ticks that found the queue full.
        idle: Ticks for which the source had nothing that was not inspected yet.
        trouble: Why no ticks come; empty: nothing is known to be wrong.
    """

    def __init__(self, encoder: Encoder, source: ImageSource, most: int, base: Path) -> None:
        """Prepare; `start` begins.

        Args:
            encoder: What triggers.
            source: Where images come from.
            most: Ticks that may wait.
            base: Folder that relative paths are below.
        """
        self.missed = 0
        self.idle = 0
        self.trouble = ""
        self._encoder = encoder
        self._source = source
        self._most = most
        self._base = base
        self._waiting: deque[Tick] = deque()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._ended = False
        self._number = 0
        self._thread = threading.Thread(target=self._run, name="ticks", daemon=True)

    def start(self) -> None:
        """Begin to heed the encoder."""
        self._thread.start()

    def close(self) -> None:
        """End; what waits can still be taken."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def waiting(self) -> int:
        """Ticks that wait to be inspected."""
        return len(self._waiting)

    def next(self) -> Tick | None:
        """The next tick, waited for; none: there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            return self._waiting.popleft() if self._waiting else None

    def _run(self) -> None:
        try:
            beats = self._pulses(self._encoder) if isinstance(self._encoder, Pulses) else self._beats(self._encoder.per_second)
            for _ in beats:
                self._tick()
        except Exhausted:
            _log.info("the source has given its last image")
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _tick(self) -> None:
        self._number += 1
        if len(self._waiting) >= self._most:
            self.missed += 1
            return
        due = time.monotonic()
        try:
            shot = self._source.take()
        except Exhausted:
            raise
        except Exception as error:  # A part has passed all the same, and is answered by an error.
            _log.exception("the source failed")
            shot = Shot(partial(_fail, error))
        if shot is None:
            self.idle += 1
            return
        with self._changed:
            self._waiting.append(Tick(self._number, shot, datetime.now(UTC), due))
            self._changed.notify_all()

    def _beats(self, per_second: float) -> Iterator[None]:
        """Beats of a clock; those of a time in which this machine slept are left out, as nothing passed the camera then."""
        interval = 1 / per_second
        due = time.monotonic()
        while not self._closing.wait(max(0.0, due - time.monotonic())):
            yield None
            due += interval

    def _pulses(self, encoder: Pulses) -> Iterator[None]:
        path = self._base / encoder.path
        pulses = failures = 0
        at_end = True  # What stood in a file before has been, and is no part of what passes now.
        while not self._closing.is_set():
            try:
                for new in self._lines(path, at_end=at_end):
                    failures = 0
                    self.trouble = ""
                    for _ in range(new):
                        pulses += 1
                        if pulses % encoder.every == 0:
                            yield None
                if self._closing.is_set():
                    return
                why = "it has ended"
            except OSError as error:
                why = error.strerror or str(error)
            at_end = False
            self.trouble = (
                f"No pulses come from the encoder {shown_path(path)}: {why}. Check it and its cable; it is tried again."
            )
            _log.warning("%s", self.trouble)
            self._closing.wait(pause_seconds(failures, random.random()))
            failures += 1

    def _lines(self, path: Path, *, at_end: bool) -> Iterator[int]:
        """Numbers of lines, as they come. A last one without its end is none yet."""
        is_pipe = stat.S_ISFIFO(path.stat().st_mode)
        is_file = path.is_file()
        # A pipe that is open for writing, too, does not end when whoever writes into it begins anew.
        descriptor = os.open(path, (os.O_RDWR if is_pipe else os.O_RDONLY) | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            if is_file and at_end:
                os.lseek(descriptor, 0, os.SEEK_END)
            self.trouble = ""
            yield 0
            while not self._closing.is_set():
                if not is_file and not select.select([descriptor], [], [], _HEED_SECONDS)[0]:
                    continue
                content = b""
                with suppress(BlockingIOError):
                    content = os.read(descriptor, 65_536)
                    if not content and not is_file:
                        return
                if content:
                    yield content.count(b"\n")
                elif is_file:
                    if _is_another(descriptor, path):
                        return
                    self._closing.wait(_LOOK_SECONDS)
        finally:
            os.close(descriptor)


def _fail(error: Exception) -> Pixels:
    raise error


def _is_another(descriptor: int, path: Path) -> bool:
    """Whether a file was replaced or emptied since it was opened."""
    opened = os.fstat(descriptor)
    if os.lseek(descriptor, 0, os.SEEK_CUR) > opened.st_size:
        return True
    found = path.stat()
    return (found.st_dev, found.st_ino) != (opened.st_dev, opened.st_ino)
