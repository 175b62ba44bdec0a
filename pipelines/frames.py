"""What a run measured, as DataFrames."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cloud.runs.run import Run
from cloudedge.documents import Point
from cloudedge.errors import NotFound

if TYPE_CHECKING:
    import pandas

ON_EDGES = "edges' held-out samples"
"""The row of the accuracy at the edges, among the environments of the test data."""


class Frames:
    """The DataFrames of a system's runs; a system has those that are about what it does.

    Each may raise `NotFound`: the run has none of this kind, or not yet.
    """

    def accuracy(self, run: Run) -> "pandas.DataFrame":
        """By environment, the most telling first, and model, the final one as `fused`: see `pipelines.Run.accuracy`."""
        raise _none_of(run, "accuracy")

    def rounds(self, run: Run) -> "pandas.DataFrame":
        """By round: see `pipelines.Run.rounds`."""
        raise _none_of(run, "rounds")

    def edges(self, run: Run) -> "pandas.DataFrame":
        """By edge and round: see `pipelines.Run.edges`."""
        raise _none_of(run, "figures by edge")

    def epochs(self, run: Run) -> "pandas.DataFrame":
        """By edge, round and epoch: see `pipelines.Run.epochs`."""
        raise _none_of(run, "epochs")

    def trials(self, run: Run) -> "pandas.DataFrame":
        """By device and trial of a search: see `pipelines.Run.trials`."""
        raise _none_of(run, "trials")

    def confusion(self, run: Run) -> "pandas.DataFrame":
        """By true and predicted class: see `pipelines.Run.confusion`."""
        raise _none_of(run, "confusion matrix")


def by_epoch(points: Mapping[str, Sequence[Point]]) -> "pandas.DataFrame":
    """Points of the one round that a run has, by edge: see `Frames.epochs`."""
    import pandas

    rows = [
        {"edge": edge, "round": 1, "epoch": point.sequence, **point.values, "seconds": point.seconds}
        for edge, of_edge in points.items()
        for point in of_edge
    ]
    index = ["edge", "round", "epoch"]
    return pandas.DataFrame(rows, columns=None if rows else index).set_index(index)


def _none_of(run: Run, what: str) -> NotFound:
    return NotFound(f"The run {run.id!r} has no {what}: {run.task().kind} measures none.")
