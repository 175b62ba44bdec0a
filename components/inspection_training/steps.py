"""The part of training for production lines in the steps that several systems use."""

import shutil
import tempfile
from pathlib import Path

from cloud.orders.dispatch import Participants
from cloud.orders.figures import Figures
from cloud.orders.issue import Assignment, StoredFile
from cloud.orders.steps import StepOrders
from cloud.orders.watch import Watched
from cloud.pages.words import figure, share
from cloud.reports.report import Report
from cloud.runs.run import Run
from cloud.step import Step
from cloud.stores.recorded import recorded
from cloud.tracking import Ancestor, Registration
from cloud.tracking.sweeps import CHAMPION
from cloudedge.documents.deployable import MAX_DEPLOYABLE_BYTES, MAX_DEPLOYABLE_MANIFEST_BYTES
from cloudedge.documents.kinds.inspect_train import InspectTrain
from cloudedge.documents.tasks.inspection_training import InspectionTrainingTask
from cloudedge.errors import InvalidInput, InvalidModel, NotFound
from cloudedge.files import disk_errors
from cloudedge.names import sha256_of
from cloudedge.places import files_below
from components.inspection_training.gate.step import delivered_model
from components.inspection_training.page.sections import description, report_of
from components.inspection_training.records import MODEL, TRAIN, GateRecord, Weights, gate_of
from components.systems import Offered, Refused, SystemSteps


class InspectionTrainingSteps(SystemSteps[InspectionTrainingTask]):
    """One step, in which the line's edge server trains."""

    def orders(self, work: Step, task: InspectionTrainingTask, step: str) -> StepOrders | None:
        """See `SystemSteps.orders`."""
        if step != TRAIN:
            raise InvalidInput(f"There is no step {step!r}: give {TRAIN!r}.")
        assignment = Assignment(
            step,
            InspectTrain(name=task.registered_model, training=task.training, seed=task.seed),
            {"backbone": _weights(work, task)},
            {"model": MAX_DEPLOYABLE_BYTES, "deployable": MAX_DEPLOYABLE_MANIFEST_BYTES},
            task.deadline_seconds,
        )
        return StepOrders(assignment, Participants((task.line,), quorum=1), keep=Figures(work, step).keep)

    def figures(self, watched: Watched) -> dict[str, str]:
        """See `SystemSteps.figures`."""
        report = watched.report
        if report is None:
            return {}
        values = report.points[-1].values if report.points else {}
        return {
            "Progress": report.progress[-1].words() if report.progress else "",
            "Accuracy": share(values.get("accuracy")),
            "Loss": figure(values["loss"]) if "loss" in values else "",
        }

    def registration(self, work: Step) -> Registration | Refused:
        """See `SystemSteps.registration`."""
        task, record = work.run.task_for(InspectionTrainingTask), _gate(work.run)
        if not record.passed:
            return Refused(record.sha256, record.verdict)
        delivery, deployable, trained = delivered_model(work.run)
        tags = {"cloudedge.brand": deployable.brand, "cloudedge.threshold": f"{trained.threshold:.6g}"}
        if record.auroc is not None:
            tags["cloudedge.test_auroc"] = f"{record.auroc:.4f}"
        line = Ancestor(
            role="edge",
            edge=delivery.edge,
            round=0,
            sha256=record.sha256,
            samples=deployable.lineage.samples,
            data_fingerprint=trained.data_fingerprint,
        )
        base = deployable.lineage.base_sha256
        weights = (Ancestor(role="base", round=0, sha256=base),) if base else ()
        return Registration(
            model_key=work.run.output_key(delivery, MODEL),
            sha256=record.sha256,
            registered_model=task.registered_model,
            aliases=(CHAMPION,),
            tags=tags,
            description=description(work.run.id, task, record, trained),
            ancestors=(*weights, line),
            classes=deployable.classes,
            deployable=deployable,
        )

    def offer(self, run: Run, folder: Path, sha256: str = "") -> Offered:
        """See `SystemSteps.offer`; there is one model."""
        del sha256
        record = _gate(run)
        delivery, deployable, _ = delivered_model(run)
        path = folder / "model.onnx"
        with recorded(run.store, run.output_key(delivery, MODEL), record.sha256) as file, disk_errors(path):
            shutil.copyfile(file, path)
        return Offered(deployable, path, record.passed, record.verdict)

    def require_done(self, run: Run) -> None:
        """See `SystemSteps.require_done`."""
        _gate(run)

    def report(self, run: Run) -> Report:
        """See `SystemSteps.report`."""
        return report_of(run)


def _gate(run: Run) -> GateRecord:
    record = gate_of(run)
    if record is None:
        raise NotFound(f"Run {run.id} was not judged yet: run that step first.")
    return record


def _weights(work: Step, task: InspectionTrainingTask) -> StoredFile:
    """The weights that training begins with, in the store; those that are the same are there once, whatever runs use them."""
    known = work.run.find(Weights, work.run.key("weights.json"))
    if known is None:
        with tempfile.TemporaryDirectory(dir=work.scratch()) as folder:
            path = _weights_file(work, task, Path(folder))
            known = Weights(sha256=sha256_of(path), size=path.stat().st_size)
            if work.store.stat(known.key) is None:
                work.store.put_file(known.key, path)
        work.run.put(work.run.key("weights.json"), known)
    return StoredFile(known.key, known.sha256, known.size)


def _weights_file(work: Step, task: InspectionTrainingTask, folder: Path) -> Path:
    from cloudedge.inspection.backbone import check_backbone, default_backbone

    if not task.weights:
        return default_backbone(folder)
    place = work.samples_at(task.weights)
    files = (
        [place] if place.is_file() else [found.path for found in files_below(place, lambda name: name.endswith(".safetensors"))]
    )
    if len(files) != 1:
        raise InvalidModel(
            f"{task.weights} has {len(files)} safetensors files: name one that has the backbone's weights alone."
        )
    check_backbone(files[0])
    return files[0]


STEPS = InspectionTrainingSteps()
