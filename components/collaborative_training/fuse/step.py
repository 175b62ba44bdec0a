"""Fusing a round: every delivered model is checked, the sound ones are fused, and what became of each is written down."""

import tempfile
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from cloud import datasets
from cloud.advice import DIVERGES_AGAIN
from cloud.fusion.files import Contribution, FusionOutcome, fuse_files
from cloud.orders.issue import most_model_bytes
from cloud.runs.run import Run
from cloud.runs.step_records import Delivery, PretrainingRecord
from cloud.settings import Settings
from cloud.step import Step, step
from cloud.stores.recorded import recorded
from cloud.tracking import MetricPoint, TrackingRecord
from cloudedge.documents import ContributionRecord, FusionRecord, LeftOut, Manifest, Scores, Trained, TrainingTask
from cloudedge.documents.manifest import OutputFile
from cloudedge.errors import CloudedgeError, InvalidInput, InvalidModel, NotFound, QuorumMissed, SpoiledModel
from cloudedge.weights import TensorInfo, check, layout
from components.collaborative_training.rounds import finished_before

if TYPE_CHECKING:
    from cloudedge.data import Samples


_MOST_MODEL_BYTES = 16 * 1024 * 1024
_MOST_SAMPLES_BYTES = 4 * 1024 * 1024
_MOST_SAMPLES_FILES = 500
"""A larger model, or more of the cloud's samples, would take seconds to bring here and to measure, which no round is to wait
for."""

_MOST = 1e18
"""Largest number that a model from an edge may hold: its square is one that every rule can compute with. Beyond it are only
models that diverged, or were made to spoil the others."""

_Base = FusionRecord | PretrainingRecord | None
"""The record of the model that an edge trained on."""


def fuse_round(run_id: str, round_number: int, cloud_data: str = "") -> FusionRecord | None:
    """Fuse what a round delivered.

    Args:
        run_id: Run.
        round_number: Round, counted from 1.
        cloud_data: Folder of the cloud's samples, or store:NAME; the rule greedy measures candidates on their held-out part.

    Returns:
        The round's record, or None if the round was not needed.

    Raises:
        QuorumMissed: fewer sound models than the quorum.
    """
    with step(run_id, f"fuse-{round_number}") as work:
        task = work.run.task_for(TrainingTask)
        if finished_before(work, task, round_number):
            work.say(f"Round {round_number} is not needed.")
            return None
        record = work.run.fusion(round_number)
        if record is None:
            record = _fuse(work, task, round_number, cloud_data)
            work.log(
                "fused",
                round=round_number,
                sha256=record.sha256,
                edges=[c.edge for c in record.contributions],
                base_accuracy=record.base_accuracy,
            )
        _track(work, record)
        return record


def accuracy_on_cloud(record: FusionRecord, cloud_data: str) -> float | None:
    """A fused model's accuracy on the cloud's held-out samples, as pretraining measured its own; None if it would take long.

    Args:
        record: The round's record.
        cloud_data: Folder of the cloud's samples, or store:NAME.
    """
    settings = Settings()
    store = settings.open_store()
    run = Run(store, record.run)
    try:
        pretrained = run.pretraining()
        held_out = pretrained.history[-1].scores.samples if pretrained else 0
        if not held_out or record.size > _MOST_MODEL_BYTES:
            return None
        files, size = datasets.extent(store, cloud_data)
        if files > _MOST_SAMPLES_FILES or size > _MOST_SAMPLES_BYTES:
            return None
        score = _scorer(run.task_for(TrainingTask), lambda: datasets.local_folder(store, cloud_data, settings.scratch / run.id))
        with recorded(store, run.fused_key(record.round), record.sha256) as path:
            return score(path)
    except CloudedgeError:  # The round is fused all the same.
        return None


def _fuse(work: Step, task: TrainingTask, number: int, cloud_data: str) -> FusionRecord:
    waited = work.run.waited(str(number))
    if waited is None:
        raise NotFound(f"Round {number} of {work.run.id} was not waited for yet: run that step first.")
    begun_with = work.run.model_after(number - 1)
    if begun_with is None:
        raise NotFound(f"Round {number} of {work.run.id} has no base model: run the steps before it first.")
    asked = task.collaboration
    with ExitStack() as stack:
        base = stack.enter_context(recorded(work.store, work.run.fused_key(number - 1), begun_with.sha256))
        expected = layout(base)
        sound: list[Contribution] = []
        used: list[Delivery] = []
        results: list[Trained] = []
        left_out = list(waited.missing)
        refused: list[Delivery] = []
        spoiled: set[str] = set()
        bases = {step: work.run.model_after(int(step) - 1) for step in {delivery.step for delivery in waited.delivered}}
        for delivery in waited.delivered:
            try:
                contribution, trained = _checked(work, task, stack, delivery, bases[delivery.step], expected)
            except (InvalidInput, NotFound) as error:
                left_out.append(LeftOut(edge=delivery.edge, reason=str(error)))
                refused.append(delivery)
                if isinstance(error, SpoiledModel):
                    spoiled.add(delivery.edge)
                work.say(f"{delivery.edge} is left out: {error}")
                work.log("left-out", round=number, edge=delivery.edge, reason=str(error))
                continue
            sound.append(contribution)
            used.append(delivery)
            results.append(trained)
        needed = max(asked.quorum or len(sound) + len(left_out), 1)
        if len(sound) < needed:
            for delivery in refused:
                work.run.take_back(delivery)
            # The round is open again: when the run goes on, those edges are asked anew.
            work.store.delete(work.run.round_key(number, "wait.json"))
            raise QuorumMissed(_shortage(number, needed, len(sound), left_out, spoiled))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=work.scratch())))
        output, next_state = folder / "fused.safetensors", folder / "optimizer.safetensors"
        state = _optimizer_state(work, stack, number - 1)
        score = _scorer(task, lambda: work.samples_at(cloud_data)) if cloud_data else None
        outcome = fuse_files(base, sound, asked.fusion, output, score=score, state=state, next_state=next_state)
        if next_state.exists():
            work.store.put_file(work.run.round_key(number, "optimizer.safetensors"), next_state)
        work.store.put_file(work.run.fused_key(number), output)
    record = _record(work, task, number, begun_with.sha256, outcome, sound, used, results, left_out)
    _log_files_passed_over(work, record)
    _log_unmeasured(work, record)
    work.run.put(work.run.round_key(number, "fusion.json"), record)
    for one in outcome.notes:
        work.say(f"Round {number}: {one}")
    work.say(f"Round {number}: {len(sound)} models fused by the rule {asked.fusion.rule}, {len(left_out)} left out.")
    return record


def _checked(
    work: Step, task: TrainingTask, stack: ExitStack, delivery: Delivery, base: _Base, expected: dict[str, TensorInfo]
) -> tuple[Contribution, Trained]:
    """What an edge delivered, as fusion takes it, and what training came to.

    Raises:
        InvalidInput: it is not to be believed.
        NotFound: it is not there.
    """
    file, trained, scores = _claims(work.run.manifest(delivery), task)
    if base is None or trained.base_sha256 != base.sha256:
        raise InvalidModel(f"its model was trained from another base than that of round {delivery.step}")
    key, most = work.run.output_key(delivery, "model"), most_model_bytes(base.size)
    entry = work.store.stat(key)
    if entry is not None and entry.size > most:
        raise InvalidModel(f"its model has {entry.size} bytes, more than the {most} that it may have, and was not read")
    path = stack.enter_context(work.store.local(key))
    check(path, expected, sha256=file.sha256, size=file.size, most=_MOST)
    contribution = Contribution(
        edge=delivery.edge,
        path=path,
        samples=trained.samples,
        accuracy=scores.measured,
        round=int(delivery.step),
        sha256=file.sha256,
    )
    return contribution, trained


def _claims(manifest: Manifest, task: TrainingTask) -> tuple[OutputFile, Trained, Scores]:
    """The model that a manifest is about, what training came to, and the model's scores.

    Raises:
        InvalidModel: it is about none, or contradicts itself or the task.
    """
    trained, file = manifest.result, manifest.outputs.get("model")
    if not isinstance(trained, Trained) or file is None:
        raise InvalidModel("its manifest names no model")
    if trained.samples == 0:
        raise InvalidModel("it trained on no sample")
    strangers = sorted(trained.label_histogram.keys() - set(task.data.classes))
    if strangers:
        raise InvalidModel(f"its manifest counts samples of {strangers[0]!r}, which is no class of the task")
    counted = sum(trained.label_histogram.values())
    if trained.samples != counted:
        raise InvalidModel(f"its manifest claims {trained.samples} samples, but counts {counted} by class")
    scores = trained.scores.get("model")
    if scores is None:
        raise InvalidModel("its manifest has no scores of the trained model")
    return file, trained, scores


def _log_files_passed_over(work: Step, record: FusionRecord) -> None:
    """Say it of each edge when it is another number than in the round before."""
    former = work.run.fusion(record.round - 1) if record.round > 1 else None
    said = {c.edge: c.files_passed_over for c in former.contributions} if former else {}
    for c in record.contributions:
        if c.files_passed_over and said.get(c.edge) != c.files_passed_over:
            work.log("files-passed-over", round=record.round, edge=c.edge, files=c.files_passed_over)


def _log_unmeasured(work: Step, record: FusionRecord) -> None:
    """Say of which edges' models nobody knows how good they are, when they are others than in the round before."""
    former = work.run.fusion(record.round - 1) if record.round > 1 else None
    said, now = ([c.edge for c in each.contributions if c.accuracy is None] if each else [] for each in (former, record))
    if now and now != said:
        work.log("unmeasured", round=record.round, edges=now, of=len(record.contributions))


def _shortage(number: int, needed: int, sound: int, left_out: list[LeftOut], spoiled: Collection[str]) -> str:
    lines = [f"Round {number} has {sound} sound models of the {needed} it needs:"]
    lines += [f"  - {one.edge}: {one.reason}" for one in left_out]
    if len(spoiled) < len(left_out):
        lines.append(
            "Mend what is wrong there and run the same task again, which asks them anew; "
            "or allow a smaller quorum in a new task."
        )
    if spoiled:
        lines.append(DIVERGES_AGAIN)
    return "\n".join(lines)


def _optimizer_state(work: Step, stack: ExitStack, number: int) -> Path | None:
    key = work.run.round_key(number, "optimizer.safetensors")
    return stack.enter_context(work.store.local(key)) if work.store.stat(key) else None


def _scorer(task: TrainingTask, cloud_data: Callable[[], Path]) -> Callable[[Path], float]:
    """Measures a model on the cloud's held-out samples. Most fusions need none of it, so PyTorch is loaded when it is asked."""
    held_out: list[Samples] = []

    def score(path: Path) -> float:
        from cloudedge.data import load_samples, split
        from cloudedge.models import build
        from cloudedge.training import evaluate
        from cloudedge.weights import load

        if not held_out:
            held_out.append(split(load_samples(cloud_data(), task.data), task.data.held_out)[1])
        model = build(task.model, task.data, task.seed)
        model.load_state_dict(load(path))
        return evaluate(model, held_out[0]).accuracy

    return score


def _record(
    work: Step,
    task: TrainingTask,
    number: int,
    base_sha256: str,
    outcome: FusionOutcome,
    sound: list[Contribution],
    deliveries: list[Delivery],
    results: list[Trained],
    left_out: list[LeftOut],
) -> FusionRecord:
    return FusionRecord(
        run=work.run.id,
        round=number,
        rule=task.collaboration.fusion.rule,
        parameters=task.collaboration.fusion.parameters,
        base_sha256=base_sha256,
        base_weight=outcome.base_weight,
        base_accuracy=_base_accuracy(results),
        contributions=tuple(
            ContributionRecord(
                edge=c.edge,
                round=c.round,
                attempt=delivery.attempt,
                sha256=c.sha256,
                samples=c.samples,
                accuracy=c.accuracy,
                weight=weight,
                files_passed_over=trained.files_passed_over,
            )
            for c, delivery, trained, weight in zip(sound, deliveries, results, outcome.weights, strict=True)
        ),
        left_out=tuple(left_out),
        sha256=outcome.sha256,
        size=outcome.size,
        seconds=outcome.seconds,
        bytes_read=outcome.bytes_read,
        notes=outcome.notes,
    )


def _base_accuracy(results: list[Trained]) -> float | None:
    measured = [trained.scores["base"] for trained in results if "base" in trained.scores]
    total = sum(scores.samples for scores in measured)
    return sum(scores.accuracy * scores.samples for scores in measured) / total if total else None


def _track(work: Step, record: FusionRecord) -> None:
    # The time of the record itself, so that a repeated step gives MLflow the same points.
    at = work.written_at(work.run.round_key(record.round, "fusion.json"))
    points: list[MetricPoint] = []
    if record.base_accuracy is not None:
        # First, as MLflow draws a run's first metric when two runs are compared.
        points.append(MetricPoint(key="accuracy_on_edges", value=record.base_accuracy, step=record.round - 1, at=at))
    values = {"contributions": float(len(record.contributions)), "left_out": float(len(record.left_out))}
    measured = [c.accuracy for c in record.contributions if c.accuracy is not None]
    if measured:
        values = {"accuracy_of_edge_models": sum(measured) / len(measured)} | values
    points += [MetricPoint(key=key, value=value, step=record.round, at=at) for key, value in values.items()]
    work.track(f"fuse-{record.round:06d}", TrackingRecord(at=at, metrics=tuple(points)))
