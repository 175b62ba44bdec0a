"""What makes a metric point the same one again.

MLflow ignores a point whose key, step, value and time it has already. A step that is repeated after a crash measures the same
at another time: such a point is left out here.
"""

import math
import sys
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cloud.tracking.mlflow_records import MetricPoint

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

Point = tuple[str, int, float | None]
"""Key, step and value (None: not a number)."""


class History:
    """The points that MLflow has of one run.

    MLflow is asked only for keys that come again at a step which is not after all those that it had.

    Attributes:
        deleted: Somebody threw the run away in MLflow; it is told nothing more.
    """

    def __init__(self, client: "MlflowClient", run: "Run") -> None:
        """Know a run, as it was found or just made.

        Args:
            client: Connection.
            run: The run.
        """
        self._client = client
        self._run_id = run.info.run_id
        self.deleted = run.info.lifecycle_stage != "active"
        self._last_steps: dict[str, int] = {metric.key: metric.step for metric in run.data.to_proto().metrics}
        self._asked: set[str] = set()
        self._points: defaultdict[str, set[Point]] = defaultdict(set)

    def unsent(self, metrics: Iterable[MetricPoint]) -> list[MetricPoint]:
        """Those that MLflow does not have, each once."""
        fresh: dict[Point, MetricPoint] = {}
        for metric in metrics:
            if metric.step <= self._last_steps.get(metric.key, -1) and metric.key not in self._asked:
                self._asked.add(metric.key)
                self._points[metric.key] |= {
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
