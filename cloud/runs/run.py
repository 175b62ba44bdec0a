"""A run's objects in the store: their keys, and the documents behind them.

    runs/<run>/
        task.json                                     what was asked for
        state.json                                    running, finished, failed or stopped, and why
        cancelled.json                                written once; from then on the run is cancelled, whatever else is written
        kubeflow.json                                 Kubeflow's run that last began to work on it
        alive                                         touched while a step works, and says when it is done; for the reaper
        pretrained/{model.safetensors,record.json}    the pretrained model                        (folder Q1)
        rounds/<k>/dispatch.json                      who takes part in round k, six digits long, and with which order
        rounds/<k>/orders/<edge>.json
        rounds/<k>/reports/<edge>-<attempt>.json
        rounds/<k>/results/<edge>-<attempt>/{model.safetensors,history.json,manifest.json}  what edges made  (folder Q4)
        rounds/<k>/wait.json                          who delivered, who did not
        rounds/<k>/{fused.safetensors,fusion.json,optimizer.safetensors}
        steps/evaluate/                               the same of the step in which the edges measure
        evaluation.json  report.html
        events/<time>-<n>.json                        the operation log
        tracking/                                     what MLflow is told

    reaper/under-way/<run>                            written when a step of a run begins, removed once the run is over
    reaper/deleted/<run>.json                         who deleted a run and when; until its id is used again

The folders Q2 (received models) and Q3 (trained models) are at the edge, below its state folder.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Protocol, TypeVar

from cloud.keys import run_key
from cloud.runs.step_records import (
    Deletion,
    DispatchRecord,
    Evaluation,
    KubeflowRecord,
    PretrainingRecord,
    RunState,
    WaitRecord,
)
from cloudedge.documents import FusionRecord, Manifest, Order, Task, canonical_json, order_id, parse, read_task
from cloudedge.documents.base import Part
from cloudedge.documents.manifest import MAX_MANIFEST_BYTES
from cloudedge.documents.task import TaskT
from cloudedge.errors import Conflict, InvalidDocument, InvalidInput, NotFound
from cloudedge.names import NAME, checked_name
from cloudedge.store import Store

_MOST_BYTES = 64 * 1024 * 1024
_MOST_NAMED = 20
"""So many runs are named to who asks for one that is not there."""

_ENDINGS = {"history": ".json", "model": ".safetensors"}
"""Of the names of files that people open, by the output's name."""

EVALUATE = "evaluate"
"""Name of the step in which the edges measure models."""

PartT = TypeVar("PartT", bound=Part)


class OfAnOrder(Protocol):
    """What tells an order from the others of its run."""

    @property
    def step(self) -> str:
        """Step that it is of."""

    @property
    def edge(self) -> str:
        """Edge that it is for."""

    @property
    def attempt(self) -> int:
        """Attempt of the edge in the step."""


class Run:
    """One run's objects."""

    def __init__(self, store: Store, run_id: str) -> None:
        """Look at the run with this id, which need not exist yet.

        Raises:
            InvalidInput: the id is none.
        """
        self.store = store
        self.id = checked_name(run_id, "a task")

    def key(self, *parts: object) -> str:
        """Key of an object of this run."""
        return run_key(self.id, *parts)

    def step_key(self, step: str, *parts: object) -> str:
        """Key of an object of a step that issues orders; a round is a step whose name is its number."""
        folder = ("rounds", f"{int(step):06d}") if step.isdigit() else ("steps", step)
        return self.key(*folder, *parts)

    def round_key(self, number: int, *parts: object) -> str:
        """Key of an object of one round."""
        return self.step_key(str(number), *parts)

    @property
    def pretrained_key(self) -> str:
        """Key of the pretrained model."""
        return self.key("pretrained", "model.safetensors")

    def fused_key(self, number: int) -> str:
        """Key of a round's fused model; of round 0 the pretrained one."""
        return self.round_key(number, "fused.safetensors") if number else self.pretrained_key

    def model_after(self, number: int) -> FusionRecord | PretrainingRecord | None:
        """The record of a round's fused model, once there is one; of round 0 the pretrained one's."""
        return self.fusion(number) if number else self.pretraining()

    def task(self) -> Task:
        """The task, whatever system it is for.

        Raises:
            NotFound: there is no such run.
        """
        key = self.key("task.json")
        try:
            return self._readable(lambda: read_task(self.store.get(key, _MOST_BYTES), key, stored=True))
        except NotFound:
            self.require_not_deleted()
            raise NotFound(f"There is no run {self.id!r}; there are: {_some(run_ids(self.store))}.") from None

    def task_for(self, document: type[TaskT]) -> TaskT:
        """The task, which is to be of one kind.

        Raises:
            NotFound: there is no such run.
            InvalidInput: it is of another system.
        """
        task = self.task()
        if not isinstance(task, document):
            raise InvalidInput(f"The run {self.id!r} is one of the system {task.kind}, which has no such step.")
        return task

    def exists(self) -> bool:
        """Whether the run was created."""
        return self.store.stat(self.key("task.json")) is not None

    def require_exists(self) -> None:
        """Make sure that the run was created, whatever stands in its task.

        Raises:
            NotFound: there is no such run.
        """
        if not self.exists():
            self.task()

    def require_free_for(self, task: Task) -> bool:
        """Make sure that the id is nobody's, or this task's, or that of a run which failed before it had a model or an order.

        Returns:
            Whether this task is to be kept: it is not there yet, or replaces one that led nowhere.

        Raises:
            Conflict: the id belongs to a run of another task, or to one that is being deleted.
        """
        deletion = self.deletion()
        if deletion and any(entry.key != self.key("alive") for entry in self.store.list(self.key())):
            raise Conflict(
                f"The run {self.id} was deleted by {deletion.actor}, and not all of it is gone yet: "
                f"'cloudedge tasks delete {self.id}' removes the rest. Then its id is free."
            )
        if not self.exists():
            return True
        if canonical_json(self.task()) == canonical_json(task):
            return False
        state = self.state()
        if state and state.state in ("failed", "stopped") and not self.pretraining() and not self.steps():
            return True
        raise Conflict(
            f"The id {self.id!r} belongs to a run of another task. Give the task another id, or make it equal to "
            f"the run's own task to go on with it (cloudedge tasks show {self.id})."
        )

    def create(self, task: Task) -> bool:
        """Keep the task of a new run, or the mended one of a run that failed before it had a model or an order.

        Returns:
            Whether it was kept; if not, the run has the same one.

        Raises:
            Conflict: the id belongs to a run of another task, or to one that is being deleted.
        """
        if self.deletion():
            self.require_free_for(task)
            self.store.delete(self.deletion_key)
        try:
            self.store.put(self.key("task.json"), task.to_json(), once=True)
        except Conflict:
            if not self.require_free_for(task):
                return False
            # MLflow changes no parameter, so the mended task becomes another run there.
            self.store.delete_below(self.key("tracking"))
            self.store.put(self.key("task.json"), task.to_json())
        return True

    @property
    def deletion_key(self) -> str:
        """Key of the word that the run was deleted; not among the run's own, which all go."""
        return f"reaper/deleted/{self.id}.json"

    def deletion(self) -> Deletion | None:
        """Who deleted the run that had this id, if somebody did and it was not used again."""
        return self.find(Deletion, self.deletion_key)

    def require_not_deleted(self) -> None:
        """Make sure that nobody has deleted the run.

        Raises:
            NotFound: somebody has; it says who and when.
        """
        deletion = self.deletion()
        if deletion:
            when = f"{deletion.at:%Y-%m-%d %H:%M:%S} UTC"
            raise NotFound(f"The run {self.id!r} was deleted on {when} by {deletion.actor}.") from None

    def state(self) -> RunState | None:
        """The run's state; None before its first step."""
        return self.cancelled() or self.find(RunState, self.key("state.json"))

    def cancelled(self) -> RunState | None:
        """Who cancelled the run, if somebody did."""
        return self.find(RunState, self.key("cancelled.json"))

    def cancel(self, state: RunState) -> bool:
        """Give the run its last state, which no step can overwrite.

        Returns:
            Whether it was not cancelled before.
        """
        try:
            self.store.put(self.key("cancelled.json"), state.to_json(), once=True)
        except Conflict:
            return False
        return True

    def kubeflow(self) -> KubeflowRecord | None:
        """Which of Kubeflow's runs last began to work on it, if one did."""
        return self.find(KubeflowRecord, self.key("kubeflow.json"))

    def pretraining(self) -> PretrainingRecord | None:
        """The record of pretraining, once it is done."""
        return self.find(PretrainingRecord, self.key("pretrained", "record.json"))

    def dispatched(self, step: str) -> DispatchRecord | None:
        """Who takes part in a step, once that is settled."""
        return self.find(DispatchRecord, self.step_key(step, "dispatch.json"))

    def waited(self, step: str) -> WaitRecord | None:
        """Who delivered in a step, once that is settled."""
        return self.find(WaitRecord, self.step_key(step, "wait.json"))

    def fusion(self, number: int) -> FusionRecord | None:
        """How a round was fused, once it was."""
        record = self.find(FusionRecord, self.round_key(number, "fusion.json"))
        if record is None or all(c.attempt for c in record.contributions):
            return record
        # Up to version 0.1 only the record of the wait said which attempts they are.
        waited = self.waited(str(number))
        attempts = {delivery.edge: delivery.attempt for delivery in waited.delivered} if waited else {}
        known = tuple(c.model_copy(update={"attempt": c.attempt or attempts.get(c.edge, 1)}) for c in record.contributions)
        return record.model_copy(update={"contributions": known})

    def evaluation(self) -> Evaluation | None:
        """The evaluation, once it is done."""
        return self.find(Evaluation, self.key("evaluation.json"))

    def order(self, step: str, edge: str) -> Order | None:
        """The newest order to an edge in a step."""
        return self.find(Order, self.order_key(step, edge))

    def rounds_fused(self) -> int:
        """Number of the last round that was fused; 0 if none was."""
        # From the end, as all rounds but the last one or two were.
        for number in reversed(self.rounds()):
            if self.store.stat(self.round_key(number, "fusion.json")):
                return number
        return 0

    def rounds(self) -> list[int]:
        """Numbers of the rounds of which there is something, sorted."""
        return sorted(int(name) for name in self.store.folders(self.key("rounds")) if re.fullmatch("[0-9]{6}", name))

    def steps(self) -> list[str]:
        """Names of the steps that have issued orders: rounds by their number, then the others by their names."""
        named = (name for name in self.store.folders(self.key("steps")) if re.fullmatch(NAME, name))
        return [*map(str, self.rounds()), *named]

    def open_step(self) -> str | None:
        """The last of them, if its orders are out and not waited for yet."""
        last = next(reversed(self.steps()), None)
        return last if last and self.dispatched(last) and not self.waited(last) else None

    def order_key(self, step: str, edge: str) -> str:
        """Key of the newest order to an edge in a step."""
        return self.step_key(step, "orders", f"{edge}.json")

    def report_key(self, order: OfAnOrder) -> str:
        """Key of the reports on an order."""
        return self.step_key(order.step, "reports", f"{order.edge}-{order.attempt}.json")

    def output_key(self, order: OfAnOrder, name: str) -> str:
        """Key of a file that an order's work makes."""
        return self.step_key(order.step, "results", f"{order.edge}-{order.attempt}", f"{name}{_ENDINGS.get(name, '')}")

    def manifest_key(self, order: OfAnOrder) -> str:
        """Key of the manifest of an order's result."""
        return self.step_key(order.step, "results", f"{order.edge}-{order.attempt}", "manifest.json")

    def manifest(self, order: OfAnOrder) -> Manifest:
        """What an order's edge says of its result.

        Raises:
            NotFound: there is no result.
            InvalidInput: it is no manifest, or another order's.
        """
        key = self.manifest_key(order)
        manifest = parse(Manifest, self.store.get(key, MAX_MANIFEST_BYTES), key)
        wanted = order_id(self.id, order.step, order.edge, order.attempt)
        if (manifest.order, manifest.edge) != (wanted, order.edge):
            raise InvalidInput(f"{key} is about {manifest.order}, not {wanted}")
        return manifest

    def output(self, order: OfAnOrder, name: str, most_bytes: int, manifest: Manifest | None = None) -> bytes:
        """A file of an order's result, as its manifest has it.

        Args:
            order: The order.
            name: Name of the output.
            most_bytes: Of a larger one nothing is read.
            manifest: The result's, where it is known; else it is read.

        Raises:
            NotFound: there is no such file.
            InvalidInput: it is not the one that the manifest is about, or too large.
        """
        file, key = (manifest or self.manifest(order)).outputs.get(name), self.output_key(order, name)
        if file is None:
            raise NotFound(f"{self.manifest_key(order)} has no output {name!r}.")
        content = self.store.get(key, most_bytes)
        if (len(content), hashlib.sha256(content).hexdigest()) != (file.size, file.sha256):
            raise InvalidInput(f"{key} is not the file that its manifest is about")
        return content

    def take_back(self, order: OfAnOrder) -> None:
        """Let a result that is not sound exist no more, so that its edge gets another order when the run goes on."""
        self.store.delete(self.manifest_key(order))

    def put(self, key: str, document: Part) -> None:
        """Write a document."""
        self.store.put(key, document.model_dump_json(indent=2).encode() + b"\n")

    def find(self, kind: type[PartT], key: str) -> PartT | None:
        """A document of the run, if it is there.

        Raises:
            InvalidDocument: it is there, and cannot be read.
        """
        try:
            return self._read(kind, key)
        except NotFound:
            return None

    def _read(self, kind: type[PartT], key: str) -> PartT:
        return self._readable(lambda: parse(kind, self.store.get(key, _MOST_BYTES), key, _MOST_BYTES, stored=True))

    def _readable(self, read: Callable[[], PartT]) -> PartT:
        try:
            return read()
        except InvalidDocument as error:
            error.args = (f"{error}\nTo be rid of that run: cloudedge tasks delete {self.id}",)
            raise


def step_title(step: str) -> str:
    """What a person calls a step that issues orders."""
    return f"Round {step}" if step.isdigit() else step.capitalize()


def step_detail(step: str) -> dict[str, object]:
    """How the operation log names a step that issues orders."""
    return {"round": int(step)} if step.isdigit() else {"step": step}


def run_ids(store: Store) -> Iterator[str]:
    """Ids of all runs, sorted; each costs a look."""
    return (name for name in run_folders(store) if Run(store, name).exists())


def run_folders(store: Store) -> tuple[str, ...]:
    """Ids of all runs, sorted, and of what is left of runs that were deleted."""
    return tuple(name for name in store.folders("runs") if re.fullmatch(NAME, name))


def _some(names: Iterator[str]) -> str:
    shown = list(islice(names, _MOST_NAMED + 1))
    more = ["and more (cloudedge tasks list)"] if len(shown) > _MOST_NAMED else []
    return ", ".join([*shown[:_MOST_NAMED], *more]) or "none"
