"""Collaborative training's part in the steps that several systems use."""

from cloud.orders.steps import StepOrders
from cloud.reports.report import Report
from cloud.runs.run import Run
from cloud.step import Step
from cloudedge.documents import TrainingTask
from cloudedge.errors import InvalidInput, NotFound
from components.collaborative_training.page.findings import gather
from components.collaborative_training.page.sections import report_of
from components.collaborative_training.rounds import orders_of
from components.systems import SystemSteps


class TrainingSteps(SystemSteps[TrainingTask]):
    """Rounds, and what collaboration bought."""

    document = TrainingTask

    def orders(self, work: Step, task: TrainingTask, step: str) -> StepOrders | None:
        """See `SystemSteps.orders`; a step is a round, and its name the round's number."""
        if not step.isdigit():
            raise InvalidInput(f"{step!r} is no round's number: give 1, 2, ...")
        return orders_of(work, task, int(step))

    def require_done(self, run: Run) -> None:
        """See `SystemSteps.require_done`: it was evaluated."""
        if run.evaluation() is None:
            raise NotFound(f"Run {run.id} was not evaluated yet: run that step first.")

    def report(self, run: Run) -> Report:
        """See `SystemSteps.report`."""
        return report_of(gather(run))


STEPS = TrainingSteps()
