"""From the inspection to the spool: images are packed and written by a thread of its own.

What waits for it is bounded by bytes. Where there is no room, ordinary images are let go, waiting ones before a reject or a
taught one that has just come, and counted.
"""

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cloudedge.documents.line import Record
from cloudedge.errors import StoreFailed
from edge.detector.pictures import heat_map, png
from edge.detector.sources.base import Pixels
from edge.detector.spool import Fresh, Spool
from edge.detector.threads import stand_back

_log = logging.getLogger(__name__)

MOST_WAITING_BYTES = 24 * 1024 * 1024
"""Pixels that wait to be packed."""

_MOST_AT_ONCE = 16
_OLD_SECONDS = 10.0
"""Between two looks for what is too old."""


@dataclass(frozen=True)
class Inspected:
    """An image with all that is known of it.

    Attributes:
        image: It, before it was resized.
        taken_at: When it was taken.
        tick: Number of the tick.
        brand: What ran.
        label: What a person says that it shows; empty: nobody does.
        model: Digest of the model; empty: none.
        score: How far it is from normal.
        threshold: Above it a part is rejected.
        accepted: The judgement.
        defect: Most likely defect.
        ms: Duration of the judgement, in milliseconds.
        map: The score of each place, of a reject.
        failed: Whether it could not be judged although there is a model.
    """

    image: Pixels
    taken_at: datetime
    tick: int
    brand: str
    label: str = ""
    model: str = ""
    score: float | None = None
    threshold: float | None = None
    accepted: bool | None = None
    defect: str = ""
    ms: float = 0.0
    map: NDArray[np.float32] | None = None
    failed: bool = False

    @property
    def remarkable(self) -> bool:
        """Whether it is kept whatever else is."""
        return self.accepted is False or self.failed

    @property
    def ordinary(self) -> bool:
        """Whether it is the first to be let go."""
        return not self.remarkable and not self.label

    @property
    def bytes(self) -> int:
        """What it takes while it waits."""
        return self.image.nbytes + (0 if self.map is None else self.map.nbytes)


class Recorder:
    """Writes images into the spool.

    Attributes:
        let_go: Images for which there was no room, here or on the disk.
        trouble: What a person should look after; empty: nothing.
    """

    def __init__(self, spool: Spool, most_bytes: int = MOST_WAITING_BYTES) -> None:
        """Prepare; `start` begins.

        Args:
            spool: Where to.
            most_bytes: Pixels that may wait.
        """
        self.let_go = 0
        self.trouble = ""
        self._spool = spool
        self._most = most_bytes
        self._waiting: deque[Inspected] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._chosen: list[Inspected] = []
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def labelled(self) -> int:
        """Images with a label that are not in the spool yet."""
        with self._changed:
            return sum(bool(each.label) for each in (*self._waiting, *self._chosen))

    def take(self, inspected: Inspected) -> None:
        """Queue an image, at once; the least of those that wait, or it, is let go if there is no room."""
        with self._changed:
            if not inspected.ordinary:
                self._make_room(inspected.bytes)
            if self._waiting and self._bytes + inspected.bytes > self._most:
                self.let_go += 1
                return
            self._waiting.append(inspected)
            self._bytes += inspected.bytes
            self._changed.notify_all()

    def _make_room(self, wanted: int) -> None:
        while self._bytes + wanted > self._most:
            ordinary = next((each for each in self._waiting if each.ordinary), None)
            if ordinary is None:
                return
            self._waiting.remove(ordinary)
            self._bytes -= ordinary.bytes
            self.let_go += 1

    def _run(self) -> None:
        stand_back()
        looked = -_OLD_SECONDS
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing, _OLD_SECONDS)
                if self._closing and not self._waiting:
                    return
                chosen = [self._waiting.popleft() for _ in range(min(_MOST_AT_ONCE, len(self._waiting)))]
                self._bytes -= sum(each.bytes for each in chosen)
                self._chosen = chosen
            if chosen:
                self._attempt(partial(self._keep, chosen), len(chosen))
                with self._changed:
                    self._chosen = []
            if time.monotonic() - looked >= _OLD_SECONDS:
                looked = time.monotonic()
                self._attempt(self._spool.let_go_of_old, 0)

    def _keep(self, chosen: Sequence[Inspected]) -> None:
        self._spool.add([fresh(each) for each in chosen])

    def _attempt(self, work: Callable[[], object], images: int) -> None:
        try:
            work()
            if images:
                self.trouble = ""
        except StoreFailed as error:
            self.let_go += images
            if not self.trouble:
                _log.warning("images are not kept: %s", error)
            self.trouble = f"Images are not kept: {error}"


def fresh(inspected: Inspected) -> Fresh:
    """An image as the spool keeps it."""
    image = png(inspected.image)
    threshold = inspected.threshold
    has_heat = inspected.accepted is False and inspected.map is not None and threshold is not None
    record = Record(
        id=0,
        taken_at=inspected.taken_at,
        tick=inspected.tick,
        brand=inspected.brand,
        label=inspected.label,
        model=inspected.model,
        score=inspected.score,
        threshold=threshold,
        accepted=inspected.accepted,
        defect=inspected.defect,
        ms=inspected.ms,
        image_sha256=hashlib.sha256(image).hexdigest(),
    )
    heat = heat_map(inspected.map, threshold) if has_heat else b""  # type: ignore[arg-type]
    return Fresh(record, image, heat, inspected.remarkable)
