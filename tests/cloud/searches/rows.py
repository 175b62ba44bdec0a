"""Searches that look as if they had happened."""

from collections.abc import Sequence

from cloudedge.automl.meta.shipping import read_table
from cloudedge.automl.meta.simulating import simulated
from cloudedge.documents import order_id
from cloudedge.documents.automl import TraceRow


def happened(count: int, *, seed: int = 7, device: str = "hall-1", run: str = "search") -> Sequence[TraceRow]:
    """Searches of a run's attempts on a device, one after the other."""
    return [
        row.model_copy(
            update={
                "id": order_id(run, "search", device, number),
                "device": device,
                "by": "meta",
                "trials": tuple(trial.model_copy(update={"accuracy": 0.9, "epochs": 3}) for trial in row.trials),
            }
        )
        for number, row in enumerate(simulated(read_table("dials"), count, seed), 1)
    ]
