"""What a run measured, as DataFrames."""

from typing import TYPE_CHECKING

from cloud.runs.run import Run
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

    def confusion(self, run: Run) -> "pandas.DataFrame":
        """By true and predicted class: see `pipelines.Run.confusion`."""
        raise _none_of(run, "confusion matrix")


def _none_of(run: Run, what: str) -> NotFound:
    return NotFound(f"The run {run.id!r} has no {what}: {run.task().kind} measures none.")
