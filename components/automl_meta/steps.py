"""The part of training a meta model in the steps that several systems use."""

from cloud.orders.steps import StepOrders
from cloud.reports.report import Report
from cloud.runs.run import Run
from cloud.step import Step
from cloud.tracking import Registration
from cloud.tracking.sweeps import CHAMPION
from cloudedge.documents.tasks.automl_meta import AutomlMetaTask
from cloudedge.errors import InvalidInput, NotFound
from components.automl_meta.page import description, report_of
from components.automl_meta.records import LearningRecord, TrainedMetaModel, learning_of
from components.systems import Refused, SystemSteps


class AutomlMetaSteps(SystemSteps[AutomlMetaTask]):
    """No step that asks edges: what they did is in the trace."""

    def orders(self, work: Step, task: AutomlMetaTask, step: str) -> StepOrders | None:
        """See `SystemSteps.orders`."""
        raise InvalidInput(f"There is no step {step!r}: {task.kind} asks nothing of edges.")

    def registration(self, work: Step) -> Registration | Refused:
        """See `SystemSteps.registration`."""
        record, task = _learned(work.run), work.run.task_for(AutomlMetaTask)
        model = record.trained
        if model is None or not record.passed:
            return Refused(model.stored.weights.sha256 if model else "", record.verdict)
        return Registration(
            model_key=model.stored.weights.key,
            sha256=model.stored.weights.sha256,
            registered_model=task.model_name,
            aliases=(CHAMPION,),
            tags=_tags(model),
            description=description(work.run.id, task, record, model),
            input_shape=(len(model.features),),
            classes=model.choices,
        )

    def require_done(self, run: Run) -> None:
        """See `SystemSteps.require_done`."""
        _learned(run)

    def report(self, run: Run) -> Report:
        """See `SystemSteps.report`."""
        return report_of(run)


def _tags(model: TrainedMetaModel) -> dict[str, str]:
    tags = {
        "cloudedge.searches": str(model.rows),
        "cloudedge.simulated_searches": str(model.simulated_rows),
        "cloudedge.held_out_searches": str(model.held_out),
        **{f"cloudedge.agreement.{name}": f"{value:.4f}" for name, value in model.agreement.items()},
    }
    if model.judged and model.in_use:
        tags["cloudedge.held_out_nll"] = f"{model.judged.surprise:.4f}"
        tags["cloudedge.held_out_nll_in_use"] = f"{model.in_use.surprise:.4f}"
        tags["cloudedge.compared_with"] = model.compared_with or "shipped"
    return tags


def _learned(run: Run) -> LearningRecord:
    record = learning_of(run)
    if record is None:
        raise NotFound(f"Run {run.id} has not looked at the searches yet: run that step first.")
    return record


STEPS = AutomlMetaSteps()
