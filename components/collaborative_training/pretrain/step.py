"""Pretraining: the run is created, and its first model is trained on the cloud's own samples."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cloud.begin import begin
from cloud.fusion.rule import Averaging, find_rule
from cloud.runs.run import Run
from cloud.runs.step_records import PretrainingRecord
from cloud.settings import Settings
from cloud.step import Step, step
from cloud.tracking import Dataset, TrackingRecord
from cloud.tracking.figures import metric_points
from cloudedge.documents import EpochRecord, TrainingTask
from cloudedge.documents.report import points_of
from cloudedge.errors import InvalidSamples
from cloudedge.names import sha256_of


def pretrain(task: TrainingTask, cloud_data: str, kubeflow_run: str = "") -> PretrainingRecord:
    """Create the run of a task, or go on with it, and train the pretrained model.

    Args:
        task: What is asked for; its id is the run's.
        cloud_data: Folder or file of the cloud's samples, or store:NAME.
        kubeflow_run: Kubeflow's id of its run of this pipeline, by which it is found from here; elsewhere anything else.

    Returns:
        How the model came about; the model itself is in the store.

    Raises:
        Conflict: the id belongs to a run of another task, which stays as it is.
        InvalidInput: there is no such architecture or fusion rule, or it has other parameters.
        InvalidSamples: the cloud's samples do not fit the task's data format, or there are none to train on.
    """
    # Before the step begins, whose failure would be written into the other task's run.
    Run(Settings().open_store(), task.id).require_free_for(task)
    with step(task.id, "pretrain", begins=True) as work:
        begin(work, task, kubeflow_run)
        record = work.run.pretraining()
        if record is None:
            if task.collaborate:
                # A wrong rule is to be known now, not after the first round.
                find_rule(task.collaboration.fusion.rule, task.collaboration.fusion.parameters, task.collaboration.edges)
            record = _train(work, task, work.samples_at(cloud_data))
            work.log("pretrained", sha256=record.sha256, seconds=record.seconds, accuracy=record.accuracy)
        _track_end(work, record)
        return record


def _train(work: Step, task: TrainingTask, cloud_data: Path) -> PretrainingRecord:
    from cloudedge.data import histogram, load_samples, split
    from cloudedge.models import build
    from cloudedge.training import train, use_threads
    from cloudedge.weights import save

    use_threads(task.pretraining.threads)
    training, held_out = split(load_samples(cloud_data, task.data), task.data.held_out)
    if len(training) == 0:
        raise InvalidSamples(f"{cloud_data} has no sample to train on: put some there, or lower data.held_out.")
    if len(held_out) == 0 and _is_to_measure(task):
        raise InvalidSamples(
            f"{cloud_data} has too few samples of each class for one to be held out, and the rule "
            f"{task.collaboration.fusion.rule!r} measures on those. Put more there, raise data.held_out, or use another rule."
        )
    measured = f"measured on {len(held_out)} others" if len(held_out) else "and none is held out to measure on"
    work.say(f"Pretraining on {len(training)} samples, {measured}.")
    started, told = time.monotonic(), 0.0
    epochs: list[EpochRecord] = []

    def on_epoch(record: EpochRecord) -> None:
        nonlocal told
        epochs.append(record)
        now = time.monotonic()
        if now - told >= 1:
            told = now
            work.say(_line(record, task))
            _track(work, epochs)
            work.stop_if_cancelled()

    checkpoint = work.scratch() / "pretraining.safetensors"
    model = build(task.model, task.data, task.seed)
    outcome = train(model, training, held_out, task.pretraining, task.seed, checkpoint=checkpoint, on_epoch=on_epoch)
    work.say(_line(outcome.history[-1], task))
    output = work.scratch() / "pretrained.safetensors"
    save(outcome.state, output)
    record = PretrainingRecord(
        sha256=sha256_of(output),
        size=output.stat().st_size,
        samples=len(training),
        data_fingerprint=training.fingerprint(),
        label_histogram=histogram(training.labels, task.data),
        history=outcome.history,
        target_met=outcome.target_met,
        seconds=time.monotonic() - started,
    )
    work.store.put_file(work.run.pretrained_key, output)
    work.run.put(work.run.key("pretrained", "record.json"), record)
    checkpoint.unlink(missing_ok=True)
    output.unlink()
    return record


def _is_to_measure(task: TrainingTask) -> bool:
    """Whether fusion measures models on the cloud's held-out samples."""
    if not task.collaborate:
        return False
    rule, _ = find_rule(task.collaboration.fusion.rule, task.collaboration.fusion.parameters)
    return isinstance(rule, Averaging) and rule.measures


def _line(record: EpochRecord, task: TrainingTask) -> str:
    scores = record.scores
    if scores.samples:
        said = f"accuracy {scores.accuracy:.3f}, recall {scores.recall:.3f}, loss {scores.loss:.3f}"
    else:
        said = "none of the samples is held out" + (
            "" if record.train_loss is None else f", training loss {record.train_loss:.3f}"
        )
    return f"Epoch {record.epoch} of {task.pretraining.epochs}: {said}"


def _track(work: Step, history: Sequence[EpochRecord], dataset: Dataset | None = None, **more: Any) -> None:
    at = work.written_at(work.run.key("task.json"))
    points = metric_points(points_of(history), at)
    child = TrackingRecord(child="pretraining", at=at, metrics=points, dataset=dataset, **more)
    work.track("pretrain", TrackingRecord(at=at, dataset=dataset), child)


def _track_end(work: Step, record: PretrainingRecord) -> None:
    fingerprint = record.data_fingerprint
    dataset = Dataset(name="cloud", fingerprint=fingerprint, samples=record.samples) if fingerprint else None
    tags = {"cloudedge.sha256": record.sha256, "cloudedge.target_met": str(record.target_met)}
    _track(work, record.history, dataset, tags=tags, status="finished")
