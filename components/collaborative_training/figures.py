"""The edges' training on its way to MLflow: a child run for each edge, through all rounds."""

from datetime import datetime

from cloud.orders.figures import Ending, Figures
from cloud.orders.watch import Watched
from cloud.runs.step_records import IssuedOrder
from cloud.step import Step
from cloud.tracking import Dataset, MetricPoint
from cloudedge.documents import Point, Trained
from cloudedge.documents.tasks.collaborative_training import Collaboration


def training_figures(work: Step, asked: Collaboration, round_number: int) -> Figures:
    """Carries the epochs of one round.

    A step in MLflow is an epoch, counted through all rounds, each of which begins with the model as it was received. A round
    has as many steps as it may have epochs, so that all edges begin it at the same one.
    """
    epochs = asked.training.epochs * (1 + asked.recollection.most)

    def step_of(order: IssuedOrder, point: Point) -> int:
        return (int(order.step) - 1) * (epochs + 1) + min(point.sequence, epochs)

    return Figures(work, str(round_number), step_of, lambda watched, at: _ending(asked, watched, at))


def _ending(asked: Collaboration, watched: Watched, at: datetime) -> Ending | None:
    """What became of an edge's order, with the round as step."""
    trained, order = watched.trained, watched.order
    if watched.manifest is None or trained is None:
        return None
    model = watched.manifest.outputs.get("model")
    fingerprint, samples = trained.data_fingerprint, trained.samples
    return Ending(
        metrics=tuple(
            MetricPoint(key=f"round/{key}", value=value, step=int(order.step), at=at)
            for key, value in _values_of_the_round(asked, trained).items()
        ),
        tags={"cloudedge.sha256": model.sha256 if model else "", "cloudedge.base_sha256": trained.base_sha256},
        dataset=Dataset(name=order.edge, fingerprint=fingerprint, samples=samples) if fingerprint else None,
    )


def _values_of_the_round(asked: Collaboration, trained: Trained) -> dict[str, float]:
    measured = {"base": "received_accuracy", "model": "trained_accuracy"}
    values: dict[str, float] = {
        key: trained.scores[name].accuracy
        for name, key in measured.items()
        if name in trained.scores and trained.scores[name].samples
    }
    values["samples"] = trained.samples
    if asked.training.target_accuracy:
        values["target_met"] = float(trained.target_met)
    if asked.recollection.most:
        values["recollections"] = trained.recollections
    return values
