"""Tells MLflow of a sweep while it goes on."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cloud.tracking import mlflow_run_of, registered_of
from cloudedge.errors import CloudedgeError
from cloudedge.store import Store
from pipelines.experiments.book import Book
from pipelines.experiments.sweep import Entry, best_of
from pipelines.experiments.task import Task
from pipelines.experiments.trials import Values, in_words

if TYPE_CHECKING:
    from cloud.tracking.sweeps import Status, SweepRecord


class SweepInMlflow:
    """Shows a sweep's runs below one in MLflow, as they end.

    What MLflow does not take is told at the end, and holds up nothing.
    """

    def __init__(self, uri: str, store: Store, book: Book, task: Task, over: Values) -> None:
        """Nothing is opened before a run has ended.

        Args:
            uri: MLflow's address; empty: there is none, or nobody knows it here.
            store: Where the runs are.
            book: The sweep's.
            task: What all runs have in common.
            over: What is tried.
        """
        self._uri, self._store, self._book, self._task, self._over = uri, store, book, task, over
        self._fault: CloudedgeError | None = None

    def look(self, entries: Sequence[Entry]) -> None:
        """Tell of the runs that have ended since."""
        if self._fault is None and self._untold(entry for entry in entries if entry.is_over):
            self._tell(entries, "RUNNING")

    def finish(self, entries: Sequence[Entry], *, stopped: bool = False) -> None:
        """Tell the rest, and that nothing more comes.

        Args:
            entries: How all trials stand.
            stopped: Whether something ended the sweep before its end.
        """
        if self._untold(entries) or not self._book.over:
            self._tell(entries, "KILLED" if stopped else "FINISHED")
        if self._fault is not None:
            print(f"The sweep is not shown in MLflow as one: {self._fault}", file=sys.stderr)

    def _untold(self, entries: Iterable[Entry]) -> dict[str, str]:
        """MLflow's ids of runs that it does not show below the sweep yet, by the runs' own."""
        ids = [entry.trial.task.id for entry in entries if entry.state != "waiting"] if self._uri else []
        known = {run_id: mlflow_run_of(self._store, run_id) for run_id in ids}
        return {run_id: told for run_id, told in known.items() if told and told != self._book.told.get(run_id)}

    def _tell(self, entries: Sequence[Entry], status: "Status") -> None:
        from cloud.tracking.client import connect, mlflow_errors
        from cloud.tracking.sweeps import show_sweep

        fresh = self._untold(entries if status != "RUNNING" else [entry for entry in entries if entry.is_over])
        if not fresh and not self._book.parent:
            return
        self._fault = None
        try:
            with mlflow_errors(self._uri, "does not show the sweep"):
                parent = show_sweep(connect(self._uri), self._record(entries, status), fresh.values(), self._book.parent)
            self._book.tell(parent, {**self._book.told, **fresh}, over=status == "FINISHED")
        except CloudedgeError as error:
            self._fault = error

    def _record(self, entries: Sequence[Entry], status: "Status") -> "SweepRecord":
        from cloud.tracking.sweeps import SweepRecord

        best, value = best_of(entries)
        champion = registered_of(self._store, best.trial.task.id) if best is not None and status == "FINISHED" else None
        note = f"A sweep of {self._task.name} over {in_words(self._over)}."
        return SweepRecord(self._book.id, note, value, champion, status)
