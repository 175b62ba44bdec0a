"""A search for a model on one edge, which takes seconds on a machine that has nothing else to do."""

from typing import Any

from cloud.runs.run import Run
from cloudedge.documents.automl import SearchRecord
from cloudedge.documents.kinds.search import Searched
from cloudedge.documents.tasks.edge_automl import Allowed, CandidateTraining, EdgeAutomlTask
from components.edge_automl.records import SEARCH, search_of
from tests.digits import DATA

EPOCHS = 6


def search(task_id: str, edge: str, **changes: Any) -> EdgeAutomlTask:
    """A search on the digits of an edge."""
    asked: dict[str, Any] = {
        "edges": (edge,),
        "data": DATA,
        "allowed": Allowed(latency_ms=20),
        "trials": 2,
        "training": CandidateTraining(epochs=EPOCHS, batch_size=8),
        "calibration_seconds": 15,
    }
    return EdgeAutomlTask(name="Digits", id=task_id, **{**asked, **changes})


def found(run: Run) -> tuple[Searched, SearchRecord]:
    """What the only device of a search says of it, and all that it did."""
    waited = run.waited(SEARCH)
    assert waited is not None
    (delivery,) = waited.delivered
    result = run.manifest(delivery).result
    assert isinstance(result, Searched)
    return result, search_of(run, delivery)
