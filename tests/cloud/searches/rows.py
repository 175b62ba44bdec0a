"""Searches that look as if they had happened."""

from collections.abc import Iterable, Sequence

from cloud.searches import trace
from cloudedge.automl.meta.shipping import read_table
from cloudedge.automl.meta.simulating import simulated
from cloudedge.documents import order_id
from cloudedge.documents.automl import Candidate, TraceRow
from cloudedge.store import Store

SMALLEST = Candidate(layers=1, filters=4, kernel=1)
"""A network that is seldom the best one."""


def happened(
    count: int, *, seed: int = 7, device: str = "hall-1", run: str = "search", best: Candidate | None = None
) -> Sequence[TraceRow]:
    """Searches of a run's attempts on a device, one after the other.

    Args:
        count: How many.
        seed: They follow from it.
        device: Its name.
        run: The run's id.
        best: The network that each of them found; none: what such a search finds.
    """
    found = {"accuracy": 0.9, "epochs": 3} | ({"candidate": best} if best else {})
    return [
        row.model_copy(
            update={
                "id": order_id(run, "search", device, number),
                "device": device,
                "by": "meta",
                "trials": tuple(trial.model_copy(update=found) for trial in row.trials),
            }
        )
        for number, row in enumerate(simulated(read_table("dials"), count, seed), 1)
    ]


def keep(store: Store, rows: Iterable[TraceRow]) -> None:
    """Keep searches, as a run does that waits for them."""
    for row in rows:
        trace.keep(store, row)


def kept(store: Store) -> list[TraceRow]:
    """The searches that are kept and can be read, by their ids."""
    return [row for _, row in trace.entries(store) if row]
