"""What the steps that several systems use ask a system for."""

from abc import ABC, abstractmethod
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Generic, NamedTuple

from cloud.orders.steps import StepOrders
from cloud.orders.watch import Watched
from cloud.pages.words import figure
from cloud.reports.plain import plain_report
from cloud.reports.report import Report
from cloud.runs.run import Run
from cloud.step import Step
from cloud.tracking import Registration
from cloudedge.documents import Task
from cloudedge.documents.deployable import Deployable
from cloudedge.documents.task import TaskT
from cloudedge.documents.tasks import SYSTEMS, part_of
from cloudedge.errors import NotFound

_MOST_VALUES = 3
"""Of a point that a table shows."""


class Refused(NamedTuple):
    """A model that its run's gate does not let be registered."""

    sha256: str
    reason: str


class Offered(NamedTuple):
    """A run's model, as it may be deployed, with what the run's gate said of it."""

    deployable: Deployable
    file: Path
    passed: bool
    verdict: str


class SystemSteps(ABC, Generic[TaskT]):
    """A system's part in them; each has one as `STEPS` in its module `steps`."""

    @abstractmethod
    def orders(self, work: Step, task: TaskT, step: str) -> StepOrders | None:
        """What a step asks of the edges; None if the run does not need it.

        Args:
            work: The step at work.
            task: The run's task.
            step: Name of the step that issues orders, as the pipeline has it.

        Raises:
            InvalidInput: there is no such step.
        """

    def figures(self, watched: Watched) -> dict[str, str]:
        """What is known of an edge's order, by title, as tables show it beside its state."""
        report = watched.report
        if report is None:
            return {}
        values = report.points[-1].values if report.points else {}
        told = {name: figure(value) for name, value in islice(values.items(), _MOST_VALUES)}
        return {"Progress": report.progress[0].words() if report.progress else "", **told}

    def registration(self, work: Step) -> Registration | Refused:
        """What of a run is registered, or why nothing is.

        Raises:
            NotFound: the run has no model, or none that was judged.
        """
        raise NotFound(f"The run {work.run.id!r} has no model: {work.run.task().kind} makes none to be registered.")

    def offer(self, run: Run, folder: Path, sha256: str = "") -> Offered:
        """A run's model, as it is deployed.

        Args:
            run: The run.
            folder: Where its ONNX file may be put.
            sha256: Digest of the file that was registered, of a run that has several models; empty: the best one.

        Raises:
            NotFound: the run has no model, or none that was judged.
            InvalidModel: its model was altered, or cannot be one ONNX file.
        """
        del folder, sha256
        raise NotFound(f"The run {run.id!r} has no model to be deployed: {run.task().kind} makes none.")

    def require_done(self, run: Run) -> None:  # Of most systems the last step is the last of a chain.
        """Make sure that a run may end.

        Raises:
            NotFound: a step before has not done its work.
        """

    def report(self, run: Run) -> Report:
        """What a person reads of a run, as far as it has come."""
        return plain_report(run)


def steps_of(task: Task) -> SystemSteps[Task]:
    """The part of the system that a task is for.

    Raises:
        InvalidInput: a user's package that is this system cannot be loaded.
    """
    found: SystemSteps[Task]
    if task.kind in SYSTEMS:
        found = import_module(f"components.{SYSTEMS[task.kind]}.steps").STEPS
    else:
        found = part_of(task.kind, "steps", "STEPS", SystemSteps)
    return found
