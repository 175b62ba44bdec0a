"""What makes a metric point the same one again.

MLflow ignores a point whose key, step, value and time it has already. A step that is repeated after a crash measures the same
at another time: such a point is left out here.
"""

import math
import sys
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from components.shared.tracking.records import MetricPoint

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

Point = tuple[str, int, float | None]
"""Key, step and value (None: not a number)."""


class History:
    """The points that MLflow has of one run.

    MLflow is asked only about runs that this process did not make, and only for keys that come again.

    Attributes:
        deleted: Somebody threw the run away in MLflow; it is told nothing more.
    """

    def __init__(self, client: "MlflowClient", run_id: str, *, new: bool) -> None:
        """Look the run up.

        Args:
            client: Connection.
            run_id: MLflow's id of the run.
            new: The run was made just now and has no points.
        """
        self._client = client
        self._run_id = run_id
        self.deleted = False
        self._recorded: frozenset[str] = frozenset()
        if not new:
            run = client.get_run(run_id)
            self._recorded = frozenset(run.data.metrics)
            self.deleted = run.info.lifecycle_stage != "active"
        self._points: defaultdict[str, set[Point]] = defaultdict(set)

    def unsent(self, metrics: Iterable[MetricPoint]) -> list[MetricPoint]:
        """Those that MLflow does not have, each once."""
        fresh: dict[Point, MetricPoint] = {}
        for metric in metrics:
            if metric.key in self._recorded and metric.key not in self._points:
                self._points[metric.key] = {
                    _point_of(known) for known in self._client.get_metric_history(self._run_id, metric.key)
                }
            point = _point(metric.key, metric.step, metric.value)
            if point not in self._points[metric.key]:
                fresh.setdefault(point, metric)
        return list(fresh.values())

    def sent(self, metrics: Iterable[MetricPoint]) -> None:
        """Remember that MLflow has these."""
        for metric in metrics:
            self._points[metric.key].add(_point(metric.key, metric.step, metric.value))


def _point(key: str, step: int, value: float) -> Point:
    if math.isnan(value):
        return key, step, None
    # MLflow stores infinities as the largest numbers.
    return key, step, max(-sys.float_info.max, min(sys.float_info.max, value))


def _point_of(metric: "Metric") -> Point:
    return _point(metric.key, metric.step, metric.value)
