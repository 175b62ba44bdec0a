"""A run as a data scientist looks at it, wherever it runs."""

import time
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cloud.faults import Faults
from cloud.inboxes import Inboxes
from cloud.runs.events import events
from cloud.runs.lifecycle import cancel
from cloud.runs.run import Run as StoredRun
from cloud.runs.run import run_ids
from cloud.runs.state import error_of
from cloud.runs.step_records import PretrainingRecord
from cloud.tracking import mlflow_run_of
from cloudedge.documents import FusionRecord, TrainingTask
from cloudedge.errors import CloudedgeError, NotFound
from cloudedge.files import atomic_write
from cloudedge.store import Store
from pipelines.display.summary import summary
from pipelines.experiments.task import Task
from pipelines.frames import Frames
from pipelines.systems import system_of

if TYPE_CHECKING:
    import pandas
    from mlflow.entities import Run as MlflowRun
    from torch import nn

    from pipelines.experiments.data import Table

_LOOK_SECONDS = 0.5
_MOST_BYTES = 64 * 1024 * 1024


class Place(Protocol):
    """Where runs are: a laptop's home, or a cluster."""

    @property
    def inboxes(self) -> Inboxes:
        """The inboxes of its edges."""

    @property
    def tracking_uri(self) -> str:
        """MLflow's address; empty: it is not known."""


class Report:
    """A run's report: it shows itself in a notebook's cell, and is a page of HTML without anything outside it."""

    def __init__(self, html: str) -> None:
        """Keep the page."""
        self.html = html

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the page to a file.

        Raises:
            StoreFailed: the disk does not take it.
        """
        atomic_write(Path(path), self.html.encode())
        return Path(path)

    def __repr__(self) -> str:
        return f"Report of {len(self.html):,} characters; save it to a file, or show it in a notebook"

    def _repr_html_(self) -> str:
        from cloud.pages.markup import element

        # A frame of its own: the page's styles are not the notebook's, and no script of it, if there were one, would run.
        return str(element("iframe", srcdoc=self.html, sandbox="", style="width:100%;height:44em;border:0"))


class Run:
    """One run, by its id; what it says is read anew each time.

    Attributes:
        id: Id of the task, and so of the run.
    """

    def __init__(
        self,
        stored: StoredRun,
        place: Place,
        over: Callable[[], bool] | None = None,
        between: Callable[[], str] = lambda: "no edge is at work",
    ) -> None:
        """Look at a run.

        Args:
            stored: Its objects.
            place: Where it is.
            over: Where this process has it run: whether whoever runs it is done. It raises what made the run fail.
            between: Says in a line what goes on while no edge is at work.
        """
        self.id = stored.id
        self._stored = stored
        self._place = place
        self._over = over
        self._between = between

    @property
    def task(self) -> Task:
        """What was asked for."""
        return Task.of(self._stored.task())

    @property
    def state(self) -> str:
        """Where it stands: created, running, finished, stopped, failed or cancelled."""
        state = self._stored.state()
        return state.state if state else "created"

    @property
    def message(self) -> str:
        """Why it failed or was cancelled; empty if neither."""
        state = self._stored.state()
        return state.message if state else ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens.

        Raises:
            CloudedgeError: what made it fail, where it was begun through this object.
        """
        if self._over:
            return self._over()
        state = self._stored.state()
        return state is not None and state.state != "running"

    def wait(self, seconds: float | None = None) -> "Run":
        """Wait until it is over.

        Args:
            seconds: How long at the most; none: without end.

        Returns:
            This run, finished; unfinished where the time was up.

        Raises:
            CloudedgeError: what made it fail, with the exit code that a command would end with.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while not self.is_over:
            if until is not None and time.monotonic() >= until:
                return self
            time.sleep(_LOOK_SECONDS)
        state = self._stored.state()
        if state and state.state != "finished":
            raise error_of(self.id, state)
        return self

    def follow(self) -> "Run":
        """Wait with a live picture of what happens, here in the cell or on the terminal.

        Raises:
            CloudedgeError: what made it fail.
        """
        from pipelines.experiments.cell import live_display

        with live_display(self._between) as display:
            while not self.is_over:
                display(self._stored)
                time.sleep(_LOOK_SECONDS / 2)
            display(self._stored)
        return self.wait()

    def cancel(self) -> None:
        """Cancel it: its step ends at its next look, and its edges stop.

        Raises:
            Conflict: it is finished already.
        """
        import getpass

        faults = Faults()
        cancel(self._stored.store, self._place.inboxes, self.id, getpass.getuser(), faults)
        if error := faults.error():
            raise error

    @property
    def summary(self) -> dict[str, Any]:
        """What came of it: its model, how good it is and where, what took how long, and what MLflow has."""
        return summary(self._stored)

    @property
    def accuracy(self) -> "pandas.DataFrame":
        """Accuracy of the pretrained model, of the best edge alone and of the fused one, by environment.

        The first row is measured at the edges on what they held out, the others on the test data, 'all' being all of it.
        """
        return self._frames.accuracy(self._stored)

    @property
    def rounds(self) -> "pandas.DataFrame":
        """By round, 0 being the pretrained model: its accuracies, models fused and left out, and the model's digest."""
        return self._frames.rounds(self._stored)

    @property
    def edges(self) -> "pandas.DataFrame":
        """By edge and round: samples, epochs, accuracy before and after on what it held out, weight, or why it was left out."""
        return self._frames.edges(self._stored)

    @property
    def epochs(self) -> "pandas.DataFrame":
        """By edge, round and epoch: accuracy, recall, loss and training loss, and seconds of work; pretraining as 'cloud'."""
        return self._frames.epochs(self._stored)

    @property
    def trials(self) -> "pandas.DataFrame":
        """Of a search, by device and trial: the network, its accuracy, predicted and measured costs, and what became of it.

        Raises:
            NotFound: the run searches for nothing.
        """
        return self._frames.trials(self._stored)

    @property
    def confusion(self) -> "pandas.DataFrame":
        """How often the final model took a class for which, on all test data: rows are true classes.

        Raises:
            NotFound: there is no test data, or the run is not evaluated yet.
        """
        return self._frames.confusion(self._stored)

    @property
    def events(self) -> "pandas.DataFrame":
        """The operation log: who did what when."""
        import pandas

        rows = [
            {"at": event.at, "who": event.actor, "what": event.action, **event.details}
            for _, event in events(self._stored.store, self.id)
        ]
        return pandas.DataFrame(rows)

    @property
    def digest(self) -> str:
        """SHA-256 of the final model's file; the same task on the same data has the same.

        Raises:
            NotFound: there is no model yet.
        """
        return self._final().sha256

    @property
    def mlflow(self) -> "MlflowRun | None":
        """Its run in MLflow, if MLflow was told of it.

        Raises:
            MlflowFailed: MLflow is away, or does not show it.
        """
        uri, told = self._place.tracking_uri, mlflow_run_of(self._stored.store, self.id)
        if not uri or not told:
            return None
        from cloud.tracking.client import connect, mlflow_errors

        with mlflow_errors(uri, "does not show the run"):
            return connect(uri).get_run(told)

    @property
    def report(self) -> Report:
        """What a person reads of it, as far as it has come."""
        from components.systems import steps_of

        return Report(steps_of(self._stored.task()).report(self._stored).page())

    def model(self) -> "nn.Module":
        """The final model: a network with its weights, on the CPU, ready to predict.

        Raises:
            NotFound: there is no model yet.
            InvalidModel: it is another than was recorded.
        """
        from cloud.stores.recorded import recorded
        from cloudedge.models import build
        from cloudedge.weights import load

        task, record = self._stored.task_for(TrainingTask), self._final()
        network = build(task.model, task.data, task.seed)
        with recorded(self._stored.store, self._stored.fused_key(self._stored.rounds_fused()), record.sha256) as path:
            network.load_state_dict(load(path))
        network.eval()
        return network

    def predict(self, samples: "Table") -> "pandas.DataFrame":
        """What the final model makes of samples in the task's own format. Classes are named as in the task: as text.

        Args:
            samples: A DataFrame, or a dictionary of arrays, with the task's fields; labels are passed over.

        Returns:
            A row a sample: the class predicted, and each class's probability.

        Raises:
            InvalidSamples: a sample does not fit the format.
        """
        import pandas
        import torch

        from cloudedge.data import to_samples
        from cloudedge.training import logits_of
        from pipelines.experiments.data import to_records

        form = self._stored.task_for(TrainingTask).data
        given = to_samples(to_records(samples, form, "what is to be predicted", labelled=False), form)
        chances = torch.softmax(logits_of(self.model(), given).double(), dim=1).numpy()
        frame = pandas.DataFrame(chances, columns=list(form.classes), index=getattr(samples, "index", None))
        frame.insert(0, "predicted", [form.classes[index] for index in chances.argmax(axis=1)])
        return frame

    @property
    def _frames(self) -> Frames:
        return system_of(self._stored.task()).frames

    def _final(self) -> FusionRecord | PretrainingRecord:
        record = self._stored.model_after(self._stored.rounds_fused())
        if record is None:
            raise NotFound(f"The run {self.id!r} has no model yet: it is {self.state}.")
        return record

    def __repr__(self) -> str:
        return f"Run {self.id!r}: {self.state}{f', {self.message}' if self.message else ''}"

    def _repr_html_(self) -> str:
        try:
            return self.report._repr_html_()
        except CloudedgeError as error:
            from cloud.pages.markup import element

            return str(element("p", f"{self!r} {error}"))


def final_accuracy(run: Run) -> "pandas.Series[float]":
    """The final model's accuracy by environment: the fused one's, where there are no edges the pretrained one's."""
    accuracy = run.accuracy
    return accuracy["fused"].fillna(accuracy["pretrained"])


def stored_runs(store: Store) -> list[StoredRun]:
    """All runs of a place, sorted by their ids."""
    return [StoredRun(store, run_id) for run_id in run_ids(store)]


def stored_run(store: Store, run_id: str) -> StoredRun:
    """A run of a place.

    Raises:
        NotFound: there is no such run; names those that there are.
    """
    stored = StoredRun(store, str(run_id))
    stored.task()
    return stored
