"""Collaborative training's part in the steps that several systems use."""

from pathlib import Path

from cloud.orders.steps import StepOrders
from cloud.orders.watch import Watched
from cloud.pages.words import share
from cloud.reports.report import Report
from cloud.runs.run import Run
from cloud.step import Step
from cloud.tracking import Registration
from cloudedge.documents import TrainingTask
from cloudedge.errors import InvalidInput, NotFound
from components.collaborative_training.page.findings import gather
from components.collaborative_training.page.sections import report_of
from components.collaborative_training.registration import offered_by, registration_of
from components.collaborative_training.rounds import orders_of
from components.systems import Offered, Refused, SystemSteps

_UNMEASURED = "not measured"


class TrainingSteps(SystemSteps[TrainingTask]):
    """Rounds, and what collaboration bought."""

    def orders(self, work: Step, task: TrainingTask, step: str) -> StepOrders | None:
        """See `SystemSteps.orders`; a step is a round, and its name the round's number."""
        if not step.isdigit():
            raise InvalidInput(f"{step!r} is no round's number: give 1, 2, ...")
        return orders_of(work, task, int(step))

    def figures(self, watched: Watched) -> dict[str, str]:
        """See `SystemSteps.figures`; the accuracy is that of the model as it was received, and of the one that is trained."""
        trained, report = watched.trained, watched.report
        if trained:
            samples, epochs = trained.samples, trained.epochs
            measured = {name: scores.measured for name, scores in trained.scores.items()}
            before, after = (measured.get("base"), measured.get("model"))
        elif report and report.points:
            samples, epochs = report.samples, report.points[-1].sequence
            before, after = report.points[0].accuracy, report.points[-1].accuracy
        else:
            return {}
        return {
            "Samples": f"{samples:,}" if samples else "",
            "Epochs": str(epochs),
            "Accuracy before": share(before) or _UNMEASURED,
            "Accuracy after": share(after) or _UNMEASURED,
        }

    def registration(self, work: Step) -> Registration | Refused:
        """See `SystemSteps.registration`."""
        return registration_of(work)

    def offer(self, run: Run, folder: Path, sha256: str = "") -> Offered:
        """See `SystemSteps.offer`; there is one model."""
        del sha256
        return offered_by(run, folder)

    def require_done(self, run: Run) -> None:
        """See `SystemSteps.require_done`: it was evaluated."""
        if run.evaluation() is None:
            raise NotFound(f"Run {run.id} was not evaluated yet: run that step first.")

    def report(self, run: Run) -> Report:
        """See `SystemSteps.report`."""
        return report_of(gather(run))


STEPS = TrainingSteps()
