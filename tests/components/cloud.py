"""A cloud to run steps in, with a real store and real inboxes; the test plays the edges by writing what edges write."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloud.inboxes import DirectoryInboxes
from cloud.runs.run import Run
from cloudedge import weights
from cloudedge.documents import (
    EpochRecord,
    Evaluated,
    History,
    Manifest,
    Order,
    OutputFile,
    Phase,
    Report,
    Result,
    Scores,
    Stream,
    Train,
    Trained,
    TrainingTask,
    WorkError,
)
from cloudedge.documents.report import points_of
from cloudedge.names import sha256_of
from cloudedge.store import DirectoryStore
from cloudedge.transport import Transport
from components.collaborative_training.fuse.step import fuse_round
from components.collaborative_training.pretrain.step import pretrain
from components.dispatch.step import dispatch_step
from components.wait.step import wait_step


@dataclass
class Cloud:
    """The cloud's folders, and a task."""

    root: Path
    task: TrainingTask
    cloud_data: Path

    @property
    def store(self) -> DirectoryStore:
        return DirectoryStore(self.root / "store")

    @property
    def inboxes(self) -> DirectoryInboxes:
        return DirectoryInboxes(self.root / "inboxes")

    @property
    def run(self) -> Run:
        return Run(self.store, self.task.id)

    def pretrained(self, **collaboration: Any) -> "Cloud":
        """The same cloud after pretraining, with these changes to how the edges take part."""
        asked = self.task.collaboration.model_copy(update=collaboration)
        self.task = TrainingTask.model_validate(self.task.model_copy(update={"collaboration": asked}).model_dump())
        for edge in self.task.collaboration.edges:
            self.inboxes.enroll(edge)
        pretrain(self.task, str(self.cloud_data))
        return self

    def dispatched(self, number: int = 1) -> int:
        return dispatch_step(self.task.id, str(number))

    def waited(self, number: int = 1) -> int:
        return wait_step(self.task.id, str(number))[0]

    def round(self, number: int, edges: Sequence[str]) -> None:
        """A whole round, in which these edges deliver."""
        self.dispatched(number)
        for edge in edges:
            self.deliver(edge, 0.1 * number)
        self.waited(number)
        fuse_round(self.task.id, number)

    def orders(self, edge: str) -> list[Order]:
        """What the edge sees in its inbox."""
        return list(self.inboxes.read(edge).orders)

    def open_orders(self) -> list[str]:
        """Ids of all open orders."""
        return [order.id for edge in self.inboxes.edges() for order in self.orders(edge)]

    def report(
        self,
        edge: str,
        phase: Phase,
        accuracies: Sequence[float] = (),
        error: str = "",
        sequence: int = 1,
        kind: str = "InvalidSamples",
    ) -> None:
        """Let an edge report on its order."""
        (order,) = self.orders(edge)
        assert isinstance(order.work, Train)
        report = Report(
            order=order.id,
            edge=edge,
            sequence=sequence,
            phase=phase,
            progress=(Stream(name="epochs", done=len(accuracies), total=order.work.training.epochs, unit="epochs"),),
            points=points_of(epochs(accuracies)),
            heartbeat_at=datetime.now(UTC),
            error=WorkError(kind=kind, message=error) if error else None,
        )
        self._transport.put(order.report, report.to_json())

    def deliver(
        self,
        edge: str,
        shift: float = 0.1,
        *,
        order: Order | None = None,
        change: Callable[[dict[str, Any]], None] | None = None,
        model: OutputFile | None = None,
        names_a_model: bool = True,
        history: Sequence[EpochRecord] | None = None,
        **said: Any,
    ) -> Path:
        """Let an edge deliver a result.

        Args:
            edge: Edge.
            shift: What its training added to every number of the base.
            order: Its order; the one in its inbox if none.
            change: What to do to the tensors.
            model: What its manifest says of the model's file, if not the truth.
            names_a_model: Whether its manifest says anything of it.
            history: Its epochs; from an accuracy of 0.4 to one of 0.8 if none.
            said: What its manifest says otherwise of the training.

        Returns:
            The model's file in the store.
        """
        order = order or self.orders(edge)[0]
        tensors = {name: tensor + shift for name, tensor in weights.load(self._path(order.inputs["base"].url)).items()}
        if change:
            change(tensors)
        path = self.root / "trained" / f"{order.id}.safetensors"
        path.parent.mkdir(exist_ok=True)
        weights.save(tensors, path)
        self._transport.put(order.outputs["model"], path)
        outputs = {"model": model or file_at(path)} if names_a_model else {}
        done = self._with_history(order, manifest(order, trained(order, **said), outputs), history or epochs([0.4, 0.8]))
        self._transport.put(order.manifest, done.to_json())
        return self._path(order.outputs["model"].url)

    def judge(self, edge: str, pretrained: float, fused: float, samples: int = 20) -> None:
        """Let an edge answer an order to evaluate."""
        (order,) = self.orders(edge)
        assert order.work.kind == "evaluate"
        answer = {"pretrained": scores(pretrained, samples), "fused": scores(fused, samples)}
        self._transport.put(order.manifest, manifest(order, Evaluated(scores=answer)).to_json())

    def _with_history(self, order: Order, done: Manifest, history: Sequence[EpochRecord]) -> Manifest:
        """What a runner makes of a manifest, once it has sent the history."""
        assert order.history is not None
        path = self.root / "trained" / f"{order.id}-history.json"
        path.write_bytes(History(order=order.id, points=points_of(history)).to_json())
        self._transport.put(order.history, path)
        outputs = {**done.outputs, "history": file_at(path)}
        return done.model_copy(update={"outputs": outputs, "points": history[-1].epoch + 1})

    @property
    def _transport(self) -> Transport:
        return Transport([self.store.root])

    def _path(self, url: str) -> Path:
        return Path(url.removeprefix("file://"))


def manifest(order: Order, result: Result, outputs: Mapping[str, OutputFile] | None = None) -> Manifest:
    """A manifest of what came of an order."""
    return Manifest(order=order.id, edge=order.edge, outputs=dict(outputs or {}), result=result, seconds=1.0)


def trained(order: Order, **said: Any) -> Trained:
    """What training came to, as an honest edge says it, but for what is given."""
    fields: dict[str, Any] = {
        "base_sha256": order.inputs["base"].sha256,
        "samples": 12,
        "epochs": 1,
        "scores": {"base": scores(0.4), "model": scores(0.8)},
        **said,
    }
    return Trained.model_validate({"label_histogram": {"0": fields["samples"]}, **fields})


def file_at(path: Path) -> OutputFile:
    """What an honest edge says of a file that it made."""
    return OutputFile(sha256=sha256_of(path), size=path.stat().st_size)


def scores(accuracy: float, samples: int = 10) -> Scores:
    return Scores(samples=samples, loss=1 - accuracy, accuracy=accuracy, recall=accuracy)


def epochs(accuracies: Sequence[float]) -> tuple[EpochRecord, ...]:
    return tuple(
        EpochRecord(epoch=number, train_loss=0.5 if number else None, scores=scores(accuracy), seconds=0.1)
        for number, accuracy in enumerate(accuracies)
    )


def content(store: DirectoryStore, *places: str) -> dict[str, bytes]:
    """All objects below these prefixes, by key."""
    return {entry.key: store.get(entry.key, 1 << 26) for place in places for entry in store.list(place)}
