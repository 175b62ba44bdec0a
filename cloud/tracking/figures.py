"""Points of work as MLflow's metric points."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from cloud.tracking import MetricPoint
from cloudedge.documents import Point


def metric_points(
    points: Iterable[Point], begin: datetime, step: Callable[[Point], int] = lambda point: point.sequence
) -> tuple[MetricPoint, ...]:
    """The values of points, one metric point each.

    Their times follow from `begin` and the points alone, so that a point told twice is one to MLflow.

    Args:
        points: The points.
        begin: When the work began.
        step: MLflow's step of a point; by default its sequence.
    """
    return tuple(
        MetricPoint(key=key, value=value, step=step(point), at=begin + timedelta(seconds=point.seconds))
        for point in points
        for key, value in point.values.items()
    )
