"""What a training for a production line measured, as DataFrames."""

from typing import TYPE_CHECKING

from cloud.orders.points import points_of_step
from cloud.runs.run import Run
from cloudedge.errors import NotFound
from components.inspection_training.records import TRAIN, GateRecord, gate_of
from pipelines.frames import Frames, by_epoch

if TYPE_CHECKING:
    import pandas


class InspectionFrames(Frames):
    """Those of training for production lines."""

    def accuracy(self, run: Run) -> "pandas.DataFrame":
        """See `Frames.accuracy`: by label of the test set, `all` first; the one model is the final one."""
        import pandas

        record = _judged(run)
        rows = {"all": record.accuracy, **record.recall}
        return pandas.DataFrame({"fused": rows}, dtype=float).rename_axis("environment")

    def epochs(self, run: Run) -> "pandas.DataFrame":
        """See `Frames.epochs`: batch by batch, at the line; there is one round."""
        return by_epoch(points_of_step(run, TRAIN))

    def confusion(self, run: Run) -> "pandas.DataFrame":
        """See `Frames.confusion`: by the label of the test set, and whether the model accepts the part or rejects it."""
        import pandas

        record = _judged(run)
        labels = sorted(record.images)
        counts = [
            [sum(one.label == label and one.rejected is rejected for one in record.judged) for rejected in (False, True)]
            for label in labels
        ]
        frame = pandas.DataFrame(counts, index=labels, columns=["accepted", "rejected"])
        return frame.rename_axis(index="true", columns="predicted")


def _judged(run: Run) -> GateRecord:
    record = gate_of(run)
    if record is None or record.auroc is None:
        raise NotFound(f"The run {run.id!r} was not judged on a test set: give it one, and it is.")
    return record
