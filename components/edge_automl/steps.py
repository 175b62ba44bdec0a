"""The part of AutoML at the edge in the steps that several systems use."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from cloud.orders.dispatch import Participants
from cloud.orders.figures import Figures
from cloud.orders.issue import Assignment, StoredFile
from cloud.orders.steps import StepOrders
from cloud.orders.watch import Watched
from cloud.pages.words import share
from cloud.reports.report import Report
from cloud.runs.run import Run
from cloud.searches import meta_models, trace
from cloud.searches.meta_models import MetaModelRecord
from cloud.step import Step
from cloud.stores.recorded import recorded
from cloud.tracking import Registration
from cloudedge.automl.layers import layers_of
from cloudedge.automl.screen import REFERENCE, milliseconds
from cloudedge.automl.space import spec
from cloudedge.documents.automl import MAX_SEARCH_BYTES
from cloudedge.documents.deployable import MAX_DEPLOYABLE_BYTES, MAX_DEPLOYABLE_MANIFEST_BYTES
from cloudedge.documents.kinds.search import Search, Searched
from cloudedge.documents.tasks.edge_automl import EdgeAutomlTask
from cloudedge.errors import InvalidInput, NotFound
from cloudedge.files import disk_errors
from components.edge_automl.page.findings import gather
from components.edge_automl.page.sections import report_of
from components.edge_automl.rank.step import model_of
from components.edge_automl.records import MODEL, SEARCH, meta_model_key, ranking_of, search_of, used_meta_model
from components.edge_automl.registration import registration_of
from components.systems import Offered, Refused, SystemSteps


class EdgeAutomlSteps(SystemSteps[EdgeAutomlTask]):
    """One step, in which each device searches by itself."""

    def orders(self, work: Step, task: EdgeAutomlTask, step: str) -> StepOrders | None:
        """See `SystemSteps.orders`."""
        if step != SEARCH:
            raise InvalidInput(f"There is no step {step!r}: give {SEARCH!r}.")
        layers_of(spec(REFERENCE), task.data)  # Before a device finds out that the samples are no images.
        meta = _meta_model(work, task)
        assignment = Assignment(
            step,
            Search(
                name=task.registered_model,
                data=task.data,
                limits=task.allowed.limits,
                trials=task.trials,
                training=task.training,
                backlog_share=task.backlog_share,
                threads=task.inference_threads,
                calibration_seconds=task.calibration_seconds,
                seed=task.seed,
            ),
            {
                "meta": StoredFile(meta.weights.key, meta.weights.sha256, meta.weights.size),
                "card": StoredFile(meta.card.key, meta.card.sha256, meta.card.size),
            },
            {"search": MAX_SEARCH_BYTES, "model": MAX_DEPLOYABLE_BYTES, "deployable": MAX_DEPLOYABLE_MANIFEST_BYTES},
            task.deadline_seconds,
        )
        figures = Figures(work, step)

        def keep(changed: Sequence[Watched]) -> None:
            figures.keep(changed)
            _keep_searches(work, changed)

        # A device that searches keeps nobody else from it: all have their time, however many have delivered.
        return StepOrders(
            assignment,
            Participants(task.edges, quorum=task.quorum),
            grace_seconds=task.deadline_seconds,
            keep=keep,
        )

    def figures(self, watched: Watched) -> dict[str, str]:
        """See `SystemSteps.figures`."""
        result = watched.manifest.result if watched.manifest else None
        if isinstance(result, Searched):
            latency = milliseconds(result.costs.latency_bound_ms) if result.costs else ""
            return {"Progress": f"{result.trained} trained", "Accuracy": share(result.accuracy), "Latency": latency}
        report = watched.report
        if report is None:
            return {}
        best = report.gauges.get("best")
        return {
            "Progress": report.progress[0].words() if report.progress else "",
            "Accuracy": share(best) if best else "",
            "Latency": "",
        }

    def registration(self, work: Step) -> Registration | Refused:
        """See `SystemSteps.registration`."""
        ranking = ranking_of(work.run)
        if ranking is None:
            raise NotFound(f"Run {work.run.id} was not ranked yet: run that step first.")
        if not ranking.best:
            return Refused("", "No device has found a model within its limits; the report says what is in the way.")
        task, best = work.run.task_for(EdgeAutomlTask), ranking.devices[ranking.best].result
        if (best.accuracy or 0.0) <= task.least:
            return Refused(best.sha256, too_inaccurate(task, best.accuracy or 0.0))
        return registration_of(work.run, ranking, ranking.best, gather(work.run))

    def offer(self, run: Run, folder: Path, sha256: str = "") -> Offered:
        """See `SystemSteps.offer`."""
        delivery, device = model_of(run, sha256)
        if device.deployable is None:  # `model_of` gives none without.
            raise NotFound(f"The device {delivery.edge} of run {run.id} has no model.")
        path = folder / "model.onnx"
        with recorded(run.store, run.output_key(delivery, MODEL), device.result.sha256) as file, disk_errors(path):
            shutil.copyfile(file, path)
        task, accuracy = run.task_for(EdgeAutomlTask), device.result.accuracy or 0.0
        if accuracy <= task.least:
            return Offered(device.deployable, path, passed=False, verdict=too_inaccurate(task, accuracy))
        verdict = f"Within its limits on {delivery.edge}, as measured there: {device.result.words}"
        return Offered(device.deployable, path, passed=True, verdict=verdict)

    def require_done(self, run: Run) -> None:
        """See `SystemSteps.require_done`."""
        if ranking_of(run) is None:
            raise NotFound(f"Run {run.id} was not ranked yet: run that step first.")

    def report(self, run: Run) -> Report:
        """See `SystemSteps.report`."""
        return report_of(run)


def too_inaccurate(task: EdgeAutomlTask, accuracy: float) -> str:
    """Why a model within its limits is not registered all the same."""
    why = "no more often than chance" if accuracy <= 1 / len(task.data.classes) else f"below {task.least_accuracy:.1%}"
    return f"The model is right in {accuracy:.1%} of the held-out samples, {why}. Train longer, or on more samples."


def _keep_searches(work: Step, changed: Sequence[Watched]) -> None:
    """Keep the searches that are over for the next meta model, as they come: whatever becomes of the run, they happened."""
    for watched in changed:
        if watched.delivered:
            try:
                row = search_of(work.run, watched.order).row
            except (InvalidInput, NotFound):  # Whoever ranks it says so.
                continue
            if row:
                trace.keep(work.store, row)


def _meta_model(work: Step, task: EdgeAutomlTask) -> MetaModelRecord:
    """The meta model that leads the run's searches: settled before the first order is issued, and the same from then on."""
    # Of a run that asked nobody yet the task may have been mended since, and name another one.
    known = used_meta_model(work.run) if work.run.dispatched(SEARCH) else None
    if known is None:
        if task.meta_model == "shipped":
            known = meta_models.shipped(work.store)
        elif task.meta_model:
            known = meta_models.of_run(work.store, task.meta_model)
        else:
            known = meta_models.newest(work.store) or meta_models.shipped(work.store)
        work.run.put(meta_model_key(work.run), known)
    return known


STEPS = EdgeAutomlSteps()
