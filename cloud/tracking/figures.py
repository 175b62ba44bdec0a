"""Epochs as MLflow's metric points."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from cloud.tracking import MetricPoint
from cloudedge.documents import EpochRecord


def epoch_points(
    history: Sequence[EpochRecord],
    begin: datetime,
    *,
    first: int = 0,
    before: int = 0,
    most: int | None = None,
) -> tuple[MetricPoint, ...]:
    """The points of the epochs from index `first` on.

    Their times follow from `begin` and the epochs' durations alone, so that an epoch told twice is one point to MLflow.

    Args:
        history: All epochs so far, epoch 0 first.
        begin: When epoch 0 began.
        first: Index of the first epoch that is wanted.
        before: Epochs of earlier rounds, which the steps go on from.
        most: Epochs that there can be; whoever counts more stays at this step.
    """
    points: list[MetricPoint] = []
    at = begin
    for index, record in enumerate(history):
        at += timedelta(seconds=record.seconds)
        if index < first:
            continue
        scores = record.scores
        values = {"accuracy": scores.accuracy, "recall": scores.recall, "loss": scores.loss} if scores.samples else {}
        if record.train_loss is not None:
            values["train_loss"] = record.train_loss
        step = before + (record.epoch if most is None else min(record.epoch, most))
        points += [MetricPoint(key=key, value=value, step=step, at=at) for key, value in values.items()]
    return tuple(points)
