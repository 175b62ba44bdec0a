"""The part of deployment on production lines in the steps that several systems use."""

from cloud.orders.dispatch import Participants
from cloud.orders.figures import Figures
from cloud.orders.issue import Assignment, StoredFile
from cloud.orders.steps import StepOrders
from cloud.orders.watch import Watched
from cloud.reports.report import Report
from cloud.runs.run import Run
from cloud.step import Step
from cloudedge.documents.kinds.deploy import Deploy, Deployed
from cloudedge.documents.tasks.inspection_deployment import InspectionDeploymentTask
from cloudedge.errors import InvalidInput, NotFound
from components.inspection_deployment.page import report_of
from components.inspection_deployment.records import DEPLOY, manifest_key, model_key, release_of
from components.systems import SystemSteps


class InspectionDeploymentSteps(SystemSteps[InspectionDeploymentTask]):
    """One step, in which the line's edge server hands the model to its detectors."""

    def orders(self, work: Step, task: InspectionDeploymentTask, step: str) -> StepOrders | None:
        """See `SystemSteps.orders`."""
        if step != DEPLOY:
            raise InvalidInput(f"There is no step {step!r}: give {DEPLOY!r}.")
        release = release_of(work.run)
        if release is None:
            raise NotFound(f"Run {work.run.id} has not settled what it deploys: run that step first.")
        deployable = release.deployable
        assignment = Assignment(
            step,
            Deploy(brand=task.brand, detectors=task.detectors, rollout=task.rollout, bounds=task.bounds),
            {
                "model": StoredFile(model_key(work.run), deployable.sha256, deployable.size),
                "deployable": StoredFile(manifest_key(work.run), release.manifest_sha256, release.manifest_size),
            },
            {},
            task.deadline_seconds,
        )
        return StepOrders(assignment, Participants((task.line,), quorum=1), keep=Figures(work, step).keep)

    def figures(self, watched: Watched) -> dict[str, str]:
        """See `SystemSteps.figures`: the two streams, and at how many detectors the model serves."""
        result = watched.manifest.result if watched.manifest else None
        if isinstance(result, Deployed):
            return {"Serving": f"{result.serving} of {len(result.detectors)} detectors"}
        streams = watched.report.progress if watched.report else ()
        return {stream.name.capitalize(): stream.words() for stream in streams}

    def require_done(self, run: Run) -> None:
        """See `SystemSteps.require_done`."""
        if run.waited(DEPLOY) is None:
            raise NotFound(f"Run {run.id} has not deployed yet: run the steps before.")

    def report(self, run: Run) -> Report:
        """See `SystemSteps.report`."""
        return report_of(run)


STEPS = InspectionDeploymentSteps()
