"""The edges' figures on their way to MLflow: a child run for each edge and round, a metric for each epoch."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Literal

from components.shared.figures import epoch_points
from components.shared.step import Step
from components.shared.tracking import Dataset, TrackingRecord
from components.wait.watch import Watched


class EdgeFigures:
    """Keeps each epoch once, however often it is reported."""

    def __init__(self, work: Step, round_number: int) -> None:
        """Keep figures of one round."""
        self._work = work
        self._round = round_number
        self._kept: dict[str, int] = {}
        self._objects = 0

    def keep(self, changed: Iterable[Watched]) -> None:
        """Keep what is new in these edges' reports and manifests, in one object."""
        records = [record for watched in changed if (record := self._record(watched))]
        if records:
            self._work.track(f"wait-{self._round:06d}-{self._objects:06d}", *records)
            self._objects += 1

    def _record(self, watched: Watched) -> TrackingRecord | None:
        order = watched.order
        source = watched.manifest or watched.report
        history = source.history if source else ()
        fresh = history[self._kept.get(order.id, 0) :]
        self._kept[order.id] = max(len(history), self._kept.get(order.id, 0))
        if not fresh and watched.pending:
            return None
        points = epoch_points(history, order.issued_at, first=len(history) - len(fresh))
        params: dict[str, str] = {}
        dataset: Dataset | None = None
        status: Literal["finished", "failed"] | None = None
        if watched.manifest:
            status = "finished"
            params = {
                "samples": str(watched.manifest.samples),
                "base_sha256": watched.manifest.base_sha256 or "",
                "sha256": watched.manifest.model_sha256 or "",
                "data_fingerprint": watched.manifest.data_fingerprint,
                "target_met": str(watched.manifest.target_met),
                "recollections": str(watched.manifest.recollections),
            }
            fingerprint, samples = watched.manifest.data_fingerprint, watched.manifest.samples
            dataset = Dataset(name=order.edge, fingerprint=fingerprint, samples=samples) if fingerprint else None
        elif watched.failed:
            status = "failed"
        return TrackingRecord(
            child=f"round-{order.round:03d}/{order.edge}",
            round=order.round,
            edge=order.edge,
            at=order.issued_at + timedelta(seconds=sum(record.seconds for record in history)),
            metrics=points,
            params=params,
            dataset=dataset,
            status=status,
        )
