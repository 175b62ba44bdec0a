"""The gate: the very file that will be deployed judges the cloud's test set, and its figures decide."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cloud.runs.run import Run
from cloud.runs.step_records import Delivery
from cloud.step import Step, step
from cloud.tracking import MetricPoint, TrackingRecord
from cloudedge.documents import parse
from cloudedge.documents.deployable import MAX_DEPLOYABLE_BYTES, MAX_DEPLOYABLE_MANIFEST_BYTES, Deployable
from cloudedge.documents.kinds.inspect_train import InspectTrained
from cloudedge.documents.tasks.inspection_training import GateBounds, InspectionTrainingTask
from cloudedge.errors import InvalidModel, NotFound
from cloudedge.files import atomic_write
from components.inspection_training.gate.images import LabelledImage, labelled_images
from components.inspection_training.gate.scoring import Figures, score
from components.inspection_training.records import DEPLOYABLE, MODEL, TRAIN, GateRecord, gate_of, picture_key

_SAY_EVERY = 50
"""Images."""


def judge_run(run_id: str, test_data: str) -> GateRecord:
    """Judge the model that a run's line has trained.

    Args:
        run_id: Run.
        test_data: The test set, a path or store:NAME; empty: none, and the gate refuses.

    Raises:
        NotFound: the line has not delivered.
        InvalidModel: what it delivered cannot be deployed.
        InvalidSamples: the test set cannot be used.
    """
    with step(run_id, "gate") as work:
        record = gate_of(work.run)
        if record is None:
            record = _judged(work, work.run.task_for(InspectionTrainingTask), test_data)
            work.run.put(work.run.key("gate.json"), record)
            figures = {"auroc": record.auroc, "pixel_auroc": record.pixel_auroc, "accuracy": record.accuracy}
            work.log("judged", sha256=record.sha256, passed=record.passed, faults=list(record.faults), **figures)
        work.say(record.verdict)
        _track(work, record)
        return record


def delivered_model(run: Run) -> tuple[Delivery, Deployable, InspectTrained]:
    """What a run's line has delivered: the file is the delivery's output `model`.

    Raises:
        NotFound: it has delivered nothing.
        InvalidModel: what it says of its model is not about the file that it delivered.
    """
    waited = run.waited(TRAIN)
    if waited is None or not waited.delivered:
        raise NotFound(f"The line of run {run.id} has not delivered a model yet: run the steps before.")
    delivery = waited.delivered[0]
    manifest = run.manifest(delivery)
    content = run.output(delivery, DEPLOYABLE, MAX_DEPLOYABLE_MANIFEST_BYTES, manifest)
    deployable = parse(Deployable, content, f"The manifest of {delivery.edge}'s model", MAX_DEPLOYABLE_MANIFEST_BYTES)
    file = manifest.outputs.get(MODEL)
    if file is None or (file.sha256, file.size) != (deployable.sha256, deployable.size):
        raise InvalidModel(f"{delivery.edge} describes another model than it delivered: run the same task under another id.")
    if not isinstance(manifest.result, InspectTrained):
        raise InvalidModel(f"{delivery.edge} delivered a result of another kind: {manifest.result.kind}.")
    return delivery, deployable, manifest.result


def _judged(work: Step, task: InspectionTrainingTask, test_data: str) -> GateRecord:
    delivery, deployable, _ = delivered_model(work.run)
    path = work.scratch() / "model.onnx"
    atomic_write(path, work.run.output(delivery, MODEL, MAX_DEPLOYABLE_BYTES))
    known: dict[str, Any] = {"sha256": deployable.sha256, "deployable": deployable}
    if not test_data:
        fault = "there is no test set: put one into DATA/test, or give it as test_data (cloudedge data put NAME FOLDER)"
        return GateRecord(passed=False, faults=(fault,), **known)
    images = labelled_images(work.samples_at(test_data), task.training.brand)
    figures = _scored(work, path, deployable, images)
    for number, content in enumerate(figures.pictures.values()):
        work.store.put(picture_key(work.run, number), content)
    faults = _faults(task.gate, figures)
    labels = [image.label for image in images]
    return GateRecord(
        passed=not faults,
        faults=tuple(faults),
        images={label: labels.count(label) for label in sorted(set(labels))},
        auroc=figures.auroc,
        pixel_auroc=figures.pixel_auroc,
        accuracy=figures.accuracy,
        recall=figures.recall,
        named=figures.named,
        judged=figures.judged,
        pictures=tuple(figures.pictures),
        seconds_per_image=figures.seconds_per_image,
        **known,
    )


def _scored(work: Step, path: Path, deployable: Deployable, images: Sequence[LabelledImage]) -> Figures:
    from cloudedge.deployable.checking import check
    from cloudedge.deployable.session import Session

    check(path, deployable)

    def say(done: int) -> None:
        if done % _SAY_EVERY == 0 or done == len(images):
            work.say(f"{done} of {len(images)} images of the test set are judged.")

    return score(Session(path, deployable), images, say)


def _faults(bounds: GateBounds, figures: Figures) -> list[str]:
    """What the figures lack; what could not be measured is no fault."""
    measured = [
        ("AUROC", figures.auroc, bounds.auroc),
        ("pixel AUROC", figures.pixel_auroc, bounds.pixel_auroc),
        ("accuracy", figures.accuracy, bounds.accuracy),
        *((f"recall of {label}", value, bounds.recall) for label, value in figures.recall.items()),
    ]
    return [f"{name} is {value:.3f}, below {least:g}" for name, value, least in measured if value is not None and value < least]


def _track(work: Step, record: GateRecord) -> None:
    at = work.written_at(work.run.key("gate.json"))

    def points() -> Iterator[MetricPoint]:
        figures = {"test_auroc": record.auroc, "test_pixel_auroc": record.pixel_auroc, "test_accuracy": record.accuracy}
        recalls = {f"test_recall/{label}": value for label, value in record.recall.items()}
        for name, value in (figures | recalls).items():
            if value is not None:
                yield MetricPoint(key=name, value=value, step=0, at=at)

    tags = {"cloudedge.sha256": record.sha256, "cloudedge.gate": "passed" if record.passed else "refused"}
    work.track("gate", TrackingRecord(at=at, metrics=tuple(points()), tags=tags))
