"""Tells MLflow of a sweep while it goes on."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cloud.tracking import mlflow_run_of, registered_of
from cloudedge.documents import canonical_json
from cloudedge.errors import CloudedgeError
from cloudedge.store import Store
from pipelines.experiments.book import Book
from pipelines.experiments.sweep import Entry, best_of
from pipelines.experiments.task import Task
from pipelines.experiments.trials import in_words

if TYPE_CHECKING:
    from cloud.tracking.sweeps import SweepRecord


class SweepInMlflow:
    """Shows a sweep's runs below one in MLflow, as they end.

    What MLflow does not take is told at the end, and holds up nothing.
    """

    def __init__(self, uri: str, store: Store, book: Book, task: Task, over: Mapping[str, Any]) -> None:
        """Nothing is opened before a run has ended.

        Args:
            uri: MLflow's address; empty: there is none, or nobody knows it here.
            store: Where the runs are.
            book: The sweep's.
            task: What all runs have in common.
            over: What is tried, as JSON has it.
        """
        self._uri, self._store, self._book, self._task, self._over = uri, store, book, task, over
        self._fault: CloudedgeError | None = None

    def look(self, entries: Sequence[Entry]) -> None:
        """Tell of the runs that have ended since."""
        if self._fault is None and self._untold(entries):
            self._tell(entries, over=False)

    def finish(self, entries: Sequence[Entry]) -> None:
        """Tell the rest, and that nothing more comes."""
        if self._untold(entries) or not self._book.over:
            self._tell(entries, over=True)
        if self._fault is not None:
            print(f"The sweep is not shown in MLflow as one: {self._fault}", file=sys.stderr)

    def _untold(self, entries: Sequence[Entry]) -> dict[str, str]:
        """MLflow's ids of runs that have ended and that it does not show below the sweep yet, by the runs' own."""
        ids = [entry.trial.task.id for entry in entries if entry.state == "done"] if self._uri else []
        known = {run_id: mlflow_run_of(self._store, run_id) for run_id in ids if run_id not in self._book.told}
        return {run_id: told for run_id, told in known.items() if told}

    def _tell(self, entries: Sequence[Entry], *, over: bool) -> None:
        from cloud.tracking.client import connect, mlflow_errors
        from cloud.tracking.sweeps import show_sweep

        fresh = self._untold(entries)
        if not fresh and not self._book.parent:
            return
        self._fault = None
        try:
            with mlflow_errors(self._uri, "does not show the sweep"):
                parent = show_sweep(connect(self._uri), self._record(entries, over=over), fresh.values(), self._book.parent)
            self._book.tell(parent, {**self._book.told, **fresh}, over=over)
        except CloudedgeError as error:
            self._fault = error

    def _record(self, entries: Sequence[Entry], *, over: bool) -> "SweepRecord":
        from cloud.tracking.sweeps import SweepRecord

        best, value = best_of(entries)
        return SweepRecord(
            id=self._book.id,
            note=f"A sweep of {self._task.name} over {in_words(self._over)}.",
            params={name: canonical_json(each).decode() for name, each in self._over.items()},
            best=value,
            champion=registered_of(self._store, best.trial.task.id) if best is not None and over else None,
            over=over,
        )
