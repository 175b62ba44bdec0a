"""The points of a step's orders on their way to MLflow: a child run for each edge, through all steps.

Reports tell of a window of points, may come late, twice or never, and a wait may begin anew. So a point is known by its order
and its sequence, its time follows from the order's and its own seconds, and those that are missing once the result is there are
read from the history beside it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from cloud.orders.watch import Watched
from cloud.runs.step_records import IssuedOrder
from cloud.step import Step
from cloud.tracking import Dataset, MetricPoint, TrackingRecord
from cloud.tracking.figures import metric_points
from cloudedge.documents import History, Manifest, Point, parse
from cloudedge.documents.report import MAX_HISTORY_BYTES, MOST_POINTS_KEPT
from cloudedge.errors import InvalidInput, NotFound

_MOST_POINTS = 40_000
"""Metric points of one object: at most 60 MB, of which a reader takes 64 MiB."""


@dataclass(frozen=True)
class Ending:
    """What MLflow is told of a result beside its points."""

    metrics: tuple[MetricPoint, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    dataset: Dataset | None = None


StepOf = Callable[[IssuedOrder, Point], int]
"""Gives MLflow's step of a point."""

EndingOf = Callable[[Watched, datetime], Ending | None]
"""Gives what MLflow is told of a result that came at a time; none: it is no result of the kind that was asked for."""


class Figures:
    """Keeps each point once, however often it is told."""

    def __init__(
        self,
        work: Step,
        step: str,
        step_of: StepOf = lambda order, point: point.sequence,
        ending_of: EndingOf = lambda watched, at: Ending(),
    ) -> None:
        """Keep the points of a step's orders.

        Args:
            work: The step that waits.
            step: Name of the step that issued them.
            step_of: By default the point's sequence.
            ending_of: By default nothing but that the work is finished.
        """
        self._work = work
        self._step_of, self._ending_of = step_of, ending_of
        self._prefix = f"wait-{int(step):06d}-" if step.isdigit() else f"wait-{step}-"
        self._objects: int | None = None
        self._known: dict[str, set[int]] = {}
        self._last: dict[str, float] = {}
        self._read: set[str] = set()
        self._complete: set[str] = set()

    def keep(self, changed: Iterable[Watched]) -> None:
        """Keep what is new in these edges' reports and results, in as few objects as a reader takes."""
        records = (record for watched in changed if (record := self._record(watched)))
        for some in _in_parts(records):
            if self._objects is None:
                # A wait that begins anew may know less than the one before it had kept: nothing of that is replaced.
                self._objects = self._work.tracked(self._prefix)
            self._work.track(f"{self._prefix}{self._objects:06d}", *some)
            self._objects += 1

    def _record(self, watched: Watched) -> TrackingRecord | None:
        order, first = watched.order, not self._known.get(watched.order.id)
        points = self._fresh(watched)
        if not points and watched.pending:
            return None
        at = order.issued_at + timedelta(seconds=self._last.get(order.id, 0.0))
        ending = self._ending_of(watched, at) if watched.manifest else None
        status: Literal["finished", "failed", "running"] | None
        status = "finished" if ending else "failed" if watched.failed else "running" if first else None
        return TrackingRecord(
            child=f"edge/{order.edge}",
            edge=order.edge,
            at=at,
            metrics=(
                *metric_points(points, order.issued_at, lambda point: self._step_of(order, point)),
                *(ending.metrics if ending else ()),
            ),
            tags=dict(ending.tags) if ending else {},
            dataset=ending.dataset if ending else None,
            status=status,
        )

    def _fresh(self, watched: Watched) -> list[Point]:
        """The points that were not known of an order, by sequence."""
        manifest, report, order_id = watched.manifest, watched.report, watched.order.id
        if order_id in self._complete:
            return []
        known = self._known.setdefault(order_id, set())
        fresh: dict[int, Point] = {}

        def take(points: Iterable[Point]) -> None:
            for point in points:
                if len(known) + len(fresh) >= MOST_POINTS_KEPT:
                    return  # An edge may tell of others without end.
                if point.sequence not in known:
                    fresh.setdefault(point.sequence, point)

        if report:
            take(report.points)
        if manifest:
            take(manifest.history)
            if len(known) + len(fresh) < manifest.points and order_id not in self._read:
                self._read.add(order_id)
                take(self._history(watched.order, manifest))
        if fresh:
            known.update(fresh)
            last = max(point.seconds for point in fresh.values())
            self._last[order_id] = max(self._last.get(order_id, 0.0), last)
        if manifest and len(known) >= manifest.points:
            self._complete.add(order_id)
            del self._known[order_id]
        return [fresh[sequence] for sequence in sorted(fresh)]

    def _history(self, order: IssuedOrder, manifest: Manifest) -> tuple[Point, ...]:
        """The points in the file beside a result; none if it is not sound, and the result counts all the same."""
        if "history" not in manifest.outputs:
            return ()
        key = self._work.run.output_key(order, "history")
        try:
            content = self._work.run.output(order, "history", MAX_HISTORY_BYTES, manifest)
            history = parse(History, content, key, MAX_HISTORY_BYTES)
            if history.order != order.id:
                raise InvalidInput(f"{key} is about {history.order}, not {order.id}")
        except (InvalidInput, NotFound) as error:
            self._work.say(f"{order.edge}: its history is passed over: {error}")
            return ()
        return history.points


def _in_parts(records: Iterable[TrackingRecord]) -> Iterator[list[TrackingRecord]]:
    part: list[TrackingRecord] = []
    points = 0
    for record in records:
        for piece in _pieces(record):
            if part and points + len(piece.metrics) > _MOST_POINTS:
                yield part
                part, points = [], 0
            part.append(piece)
            points += len(piece.metrics)
    if part:
        yield part


def _pieces(record: TrackingRecord) -> Iterator[TrackingRecord]:
    """A record whose points are too many for one object in several, of which the last says what else there is to say."""
    whole = record.metrics
    last = max(len(whole) - 1, 0) // _MOST_POINTS * _MOST_POINTS
    for first in range(0, last, _MOST_POINTS):
        yield TrackingRecord(child=record.child, edge=record.edge, at=record.at, metrics=whole[first : first + _MOST_POINTS])
    yield record.model_copy(update={"metrics": whole[last:]}) if last else record
