"""How far a search is, as its runner hears it."""

import time

from cloudedge.documents import EpochRecord, Point, Stream
from cloudedge.documents.automl import TraceRow
from cloudedge.documents.kinds.search import Search
from cloudedge.training import Progress
from edge.messages import Message, Say

_PROGRESS_SECONDS = 0.5


class Teller:
    """Tells how far the search is: a point for each epoch, through all candidates, once its checkpoint is written.

    Attributes:
        epoch: Epochs of the candidate at work that are over.
    """

    def __init__(self, say: Say, asked: Search) -> None:
        self._say, self._asked = say, asked
        self._trial, self._first, self._seconds, self._best = 0, 0, 0.0, 0.0
        self.epoch = 0
        self._points: list[Point] = []
        self._due = 0.0

    def begin(self, row: TraceRow) -> None:
        """Go on with another candidate, behind those in the row."""
        self._count(row)
        self._say(Message(progress=self._streams(), gauges={"best": self._best}))

    def end(self, row: TraceRow) -> None:
        """Tell of all candidates that are in the row, and that none follows."""
        self._count(row)
        self._say(Message(progress=self._streams()[:1], gauges={"best": self._best}))

    def _count(self, row: TraceRow) -> None:
        done = [trial for trial in row.trials if trial.accuracy is not None]
        self._trial, self._first = len(done), sum(trial.epochs + 1 for trial in done)
        self._seconds = sum(trial.seconds for trial in done)
        self._best = 0.0 if row.best is None else row.trials[row.best].accuracy or 0.0
        self.epoch, self._points = 0, []

    def on_epoch(self, record: EpochRecord) -> None:
        """Remember an epoch; its checkpoint is written next."""
        self.epoch = record.epoch
        self._seconds += record.seconds
        values = {"trial": float(self._trial + 1), "accuracy": record.scores.accuracy, "loss": record.scores.loss}
        point = Point(sequence=self._first + record.epoch, seconds=self._seconds, values=values | {"best": self._best})
        self._points.append(point)

    def on_batch(self, progress: Progress) -> None:
        """Tell of the epoch before, and of batches not more often than anyone looks."""
        self.flush()
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _PROGRESS_SECONDS
            batches = Stream(name="batches", done=progress.batch, total=progress.batches, unit="batches")
            self._say(Message(progress=(*self._streams(), batches), gauges={"best": self._best}))

    def flush(self) -> None:
        """Tell of the epochs that were remembered."""
        if self._points:
            self._say(Message(progress=self._streams(), gauges={"best": self._best}, points=tuple(self._points)))
            self._points = []

    def _streams(self) -> tuple[Stream, ...]:
        return (
            Stream(name="trials", done=self._trial, total=self._asked.trials, unit="trials"),
            Stream(name="epochs", done=self.epoch, total=self._asked.training.epochs, unit="epochs"),
        )
