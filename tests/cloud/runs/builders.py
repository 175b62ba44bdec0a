"""Runs to test with: real stores and inboxes in a folder, and orders as they are dispatched."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloud.inboxes import DirectoryInboxes
from cloud.runs.run import Run
from cloud.runs.step_records import RunState
from cloudedge.documents import (
    DataFormat,
    ModelSpec,
    Order,
    RemoteFile,
    SampleField,
    Train,
    TrainingTask,
    UploadTarget,
    order_id,
)
from cloudedge.store import DirectoryStore

DATA = DataFormat(storage="json-lines", fields=(SampleField(name="x", shape=(4,)),), classes=("low", "high"))
NOW = datetime(2026, 7, 1, tzinfo=UTC)


class Cloud:
    """A store and inboxes."""

    def __init__(self, folder: Path, *edges: str) -> None:
        self.store = DirectoryStore(folder / "store")
        self.inboxes = DirectoryInboxes(folder / "inboxes")
        for edge in edges:
            self.inboxes.enroll(edge)

    def run(self, name: str, state: Any = None) -> Run:
        """A run that was created."""
        run = Run(self.store, name)
        run.create(TrainingTask(name=name, id=name, data=DATA))
        if state:
            run.put(run.key("state.json"), RunState(state=state, at=NOW))
        return run

    def dispatch(self, run: str, *edges: str) -> None:
        """Put an order of a run into inboxes."""
        for edge in edges:
            self.inboxes.update(edge, lambda orders, edge=edge: [*orders, order(run, edge)])  # type: ignore[misc]

    def open_orders(self) -> list[str]:
        """Ids of all open orders."""
        return [order.id for edge in self.inboxes.edges() for order in self.inboxes.read(edge).orders]


def order(run: str, edge: str, number: int = 1, data: DataFormat = DATA, **changes: Any) -> Order:
    """An order to train."""
    target = UploadTarget(url="file:///store/object", max_bytes=1000, once=True)
    values: dict[str, Any] = {
        "id": order_id(run, str(number), edge, 1),
        "run": run,
        "step": str(number),
        "edge": edge,
        "issued_at": NOW,
        "time_limit_seconds": 600,
        "work": Train(model=ModelSpec(), data=data),
        "inputs": {"base": RemoteFile(url="file:///store/base", sha256="0" * 64, size=1)},
        "report": target,
        "outputs": {"model": target},
        "manifest": target,
    }
    return Order(**{**values, **changes})
