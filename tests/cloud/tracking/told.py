"""What MLflow was told, in plain values."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cloud.tracking import MetricPoint, TrackingRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

WARNINGS_OF_MLFLOW = ("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning",)
"""What MLflow's own code is warned of, by the libraries that it uses."""

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def point(key: str, value: float, step: int, seconds: float = 0) -> MetricPoint:
    return MetricPoint(key=key, value=value, step=step, at=after(seconds))


def edge_record(edge: str, *points: MetricPoint, seconds: float = 0, **more: object) -> TrackingRecord:
    return TrackingRecord.model_validate(
        {"child": f"edge/{edge}", "edge": edge, "at": after(seconds), "metrics": points, **more}
    )


def runs_in(client: "MlflowClient", experiment: str) -> "dict[str, Run]":
    """Every run of an experiment by its name; two of one name are an error."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return {}
    runs = client.search_runs([found.experiment_id], max_results=1000)
    named = {run.info.run_name: run for run in runs}
    assert len(named) == len(runs)
    return named


def runs_of(client: "MlflowClient", experiment: str) -> "dict[str, Run]":
    """The runs of an experiment, and their child runs, which have one of their own."""
    return runs_in(client, experiment) | runs_in(client, f"{experiment}-epochs")


def history(client: "MlflowClient", run: "Run", key: str) -> list[tuple[int, float]]:
    return sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, key))
