"""The edges' figures on their way to MLflow: a child run for each edge, through all rounds."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Literal

from cloud.orders.watch import Watched
from cloud.step import Step
from cloud.tracking import Dataset, MetricPoint, TrackingRecord
from cloud.tracking.figures import epoch_points
from cloudedge.documents import Trained
from cloudedge.documents.tasks.collaborative_training import Collaboration

_MOST_POINTS = 100_000
"""Of one object, unless a single edge has more to tell: about 15 MB, of which a reader takes 64 MiB. An edge has 40,000 at the
most (see `MOST_EPOCHS`), and a look may find any number of edges."""


class EdgeFigures:
    """Keeps each epoch once, however often it is reported.

    A step in MLflow is an epoch, counted through all rounds, each of which begins with the model as it was received. A round
    has as many steps as it may have epochs, so that all edges begin it at the same one.
    """

    def __init__(self, work: Step, asked: Collaboration, round_number: int) -> None:
        """Keep figures of one round."""
        self._work = work
        self._round = round_number
        self._asked = asked
        self._kept: dict[str, int] = {}
        self._objects = 0

    def keep(self, changed: Iterable[Watched]) -> None:
        """Keep what is new in these edges' reports and manifests, in as few objects as a reader takes."""
        records = (record for watched in changed if (record := self._record(watched)))
        for some in _in_parts(records):
            self._work.track(f"wait-{self._round:06d}-{self._objects:06d}", *some)
            self._objects += 1

    def _record(self, watched: Watched) -> TrackingRecord | None:
        order = watched.order
        trained = watched.trained
        source = trained or watched.report
        history = source.history if source else ()
        fresh = history[self._kept.get(order.id, 0) :]
        status: Literal["running", "finished", "failed"] | None = None if self._kept.get(order.id) else "running"
        self._kept[order.id] = max(len(history), self._kept.get(order.id, 0))
        if not fresh and watched.pending:
            return None
        epochs = self._asked.training.epochs * (1 + self._asked.recollection.most)
        number = int(order.step)
        before = (number - 1) * (epochs + 1)
        points = epoch_points(history, order.issued_at, first=len(history) - len(fresh), before=before, most=epochs)
        at = order.issued_at + timedelta(seconds=sum(record.seconds for record in history))
        tags: dict[str, str] = {}
        dataset: Dataset | None = None
        if watched.manifest and trained:
            status = "finished"
            points += _points_of_the_round(self._asked, trained, number, at)
            model = watched.manifest.outputs.get("model")
            tags = {"cloudedge.sha256": model.sha256 if model else "", "cloudedge.base_sha256": trained.base_sha256}
            fingerprint, samples = trained.data_fingerprint, trained.samples
            dataset = Dataset(name=order.edge, fingerprint=fingerprint, samples=samples) if fingerprint else None
        elif watched.failed:
            status = "failed"
        return TrackingRecord(
            child=f"edge/{order.edge}", edge=order.edge, at=at, metrics=points, tags=tags, dataset=dataset, status=status
        )


def _in_parts(records: Iterable[TrackingRecord]) -> Iterator[list[TrackingRecord]]:
    part: list[TrackingRecord] = []
    points = 0
    for record in records:
        if part and points + len(record.metrics) > _MOST_POINTS:
            yield part
            part, points = [], 0
        part.append(record)
        points += len(record.metrics)
    if part:
        yield part


def _points_of_the_round(asked: Collaboration, trained: Trained, number: int, at: datetime) -> tuple[MetricPoint, ...]:
    """What became of an edge's order, with the round as step."""
    measured = {"base": "received_accuracy", "model": "trained_accuracy"}
    values: dict[str, float] = {
        key: trained.scores[name].accuracy
        for name, key in measured.items()
        if name in trained.scores and trained.scores[name].samples
    }
    values["samples"] = trained.samples
    if asked.training.target_accuracy:
        values["target_met"] = float(trained.target_met)
    if asked.recollection.most:
        values["recollections"] = trained.recollections
    return tuple(MetricPoint(key=f"round/{key}", value=value, step=number, at=at) for key, value in values.items())
