"""Learning: a meta model is trained on the searches that happened, and leads if it foretells those that it never saw."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cloud.pages.words import count
from cloud.searches import meta_models
from cloud.step import Step, step
from cloud.tracking import MetricPoint, TrackingRecord
from cloudedge.documents.tasks.automl_meta import AutomlMetaTask
from cloudedge.errors import InvalidInput, NotFound
from components.automl_meta.learn.searches import Searches, is_held_out, read
from components.automl_meta.records import Judged, LearningRecord, TrainedMetaModel, learning_of

if TYPE_CHECKING:
    from cloudedge.automl.meta.model import MetaModel
    from cloudedge.automl.meta.training import Examples

_LEAST_HELD_OUT = 5
"""Searches that a meta model is judged by, at least."""

_MOST_NAMED = 20
"""Entries of the trace that are named."""

THREADS = 1
"""The same searches give the same bytes on one thread."""


def learn(run_id: str) -> LearningRecord:
    """Train a meta model, if enough searches were added since the last one was trained.

    Args:
        run_id: Run.

    Raises:
        InvalidInput: one is due, and there are too few searches to learn from.
    """
    with step(run_id, "learn") as work:
        record = learning_of(work.run)
        if record is None:
            record = _learned(work, work.run.task_for(AutomlMetaTask))
            work.run.put(work.run.key("learning.json"), record)
            work.log("learned", passed=record.passed, searches=record.searches, added=record.added, verdict=record.verdict)
        if record.trained:
            meta_models.settle(work.store, record.trained.stored)
        work.say(record.verdict)
        _track(work, record)
        return record


def _learned(work: Step, task: AutomlMetaTask) -> LearningRecord:
    found = read(work.store)
    for number, (key, fault) in enumerate(found.passed_over.items()):
        if number == _MOST_NAMED:
            work.say(f"And {len(found.passed_over) - _MOST_NAMED} more entries of the trace are passed over.")
            break
        work.say(f"{key} is passed over: {fault}.")
    last = [record.searches for record in (meta_models.newest(work.store), meta_models.newest_refused(work.store)) if record]
    record = LearningRecord(
        every_rows=task.every_rows,
        added=max(0, len(found.rows) - max(last, default=0)),
        devices=found.by_device(),
        passed_over=len(found.passed_over),
    )
    if record.added < task.every_rows:
        return record
    return record.model_copy(update={"trained": _trained(work, task, found)})


def _trained(work: Step, task: AutomlMetaTask, found: Searches) -> TrainedMetaModel:
    from cloudedge.automl.meta.model import HEADS
    from cloudedge.automl.meta.shipping import TABLES, drawn, in_words, read_table
    from cloudedge.automl.meta.training import examples, train
    from cloudedge.training import use_threads

    use_threads(THREADS)
    work.say(f"{len(found.rows)} searches happened; {task.simulated_searches} are simulated.")
    tables = {name: read_table(name) for name in TABLES}
    held_out = examples(row for row in found.rows if is_held_out(row))
    happened = examples((row for row in found.rows if not is_held_out(row)), task.row_weight)
    simulated = examples(drawn(tables, task.simulated_searches, task.seed))
    devices = count(len({row.device for row in found.rows}), "device")
    words = [
        f"{len(happened.seen)} searches on {devices}, each of which counts as {task.row_weight}",
        *([in_words(tables, len(simulated.seen))] if len(simulated.seen) else []),
    ]

    def say(text: str) -> None:
        work.say(text)
        work.stop_if_cancelled()

    # A device may have any name, that of the simulated ones, too: what is simulated is what was simulated here.
    learned = happened._replace(simulated=0).and_also(simulated)
    model = train(learned, ", and ".join(words), seed=task.seed, say=say)
    compared_with, former = _in_use(work)
    judged = in_use = None
    if len(held_out.seen) >= _LEAST_HELD_OUT:
        judged, in_use = _judged(model, held_out), _judged(former, held_out)
    folder = work.scratch() / "meta-model"
    model.save(folder)
    stored = meta_models.put(
        work.store,
        folder,
        run=work.run.id,
        searches=len(found.rows),
        passed=judged is None or in_use is None or judged.surprise <= in_use.surprise,
    )
    return TrainedMetaModel(
        stored=stored,
        layers=model.card.layers,
        width=model.card.width,
        features=tuple(feature.name for feature in model.card.features),
        choices=tuple(f"{name}={choice}" for name, choices in HEADS.items() for choice in choices),
        rows=len(happened.seen),
        simulated_rows=len(simulated.seen),
        agreement=model.card.agreement,
        held_out=len(held_out.seen),
        judged=judged,
        in_use=in_use,
        compared_with=compared_with,
    )


def _in_use(work: Step) -> "tuple[str, MetaModel]":
    """The meta model that leads now, with the run that trained it; one that cannot be used here leads nothing."""
    from cloudedge.automl.meta.model import MetaModel

    newest = meta_models.newest(work.store)
    if newest:
        folder = work.scratch() / "meta-model-in-use"
        try:
            meta_models.bring(work.store, newest, folder)
            return newest.run, MetaModel.load(folder)
        except (InvalidInput, NotFound) as error:
            work.say(
                f"The newest meta model, of run {newest.run}, cannot be used, so the shipped one is compared with: {error}"
            )
    return "", MetaModel.load()


def _judged(model: "MetaModel", held_out: "Examples") -> Judged:
    from cloudedge.automl.meta.training import agreement, surprise

    return Judged(surprise=surprise(model, held_out), agreement=agreement(model, held_out))


def _track(work: Step, record: LearningRecord) -> None:
    at = work.written_at(work.run.key("learning.json"))
    model = record.trained

    def values() -> Iterator[tuple[str, float]]:
        yield "searches", record.searches
        yield "searches_added", record.added
        if model:
            yield from ((f"agreement/{name}", value) for name, value in model.agreement.items())
            yield "held_out_searches", model.held_out
            for name, judged in (("new", model.judged), ("in_use", model.in_use)):
                if judged:
                    yield f"held_out_nll/{name}", judged.surprise
                    yield from ((f"held_out_agreement/{name}/{head}", value) for head, value in judged.agreement.items())

    points = tuple(MetricPoint(key=key, value=value, step=0, at=at) for key, value in values())
    tags = {"cloudedge.gate": "passed" if record.passed else "refused" if model else "nothing due"}
    if model:
        tags["cloudedge.sha256"] = model.stored.weights.sha256
    files = {"meta.json": model.stored.card.key} if model else None
    work.track("learn", TrackingRecord(at=at, metrics=points, tags=tags), files=files)
