"""What the steps that several systems use ask a system for."""

from abc import ABC, abstractmethod
from importlib import import_module
from itertools import islice
from typing import Generic

from cloud.orders.steps import StepOrders
from cloud.orders.watch import Watched
from cloud.pages.words import figure
from cloud.reports.plain import plain_report
from cloud.reports.report import Report
from cloud.runs.run import Run
from cloud.step import Step
from cloudedge.documents import Task
from cloudedge.documents.task import TaskT
from cloudedge.documents.tasks import SYSTEMS, part_of

_MOST_VALUES = 3
"""Of a point that a table shows."""


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
