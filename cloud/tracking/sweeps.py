"""A sweep in MLflow: one run, with those that were tried below it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from cloud.tracking.client import failure
from cloud.tracking.faults import EMPTY
from cloud.tracking.mlflow_records import NOTE_TAG, Registered

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

CHAMPION = "champion"
SWEEP_TAG = "cloudedge.sweep"
PARENT_TAG = "mlflow.parentRunId"
_MOST_OF_A_NOTE = 8000


Status = Literal["RUNNING", "FINISHED", "KILLED"]


@dataclass(frozen=True)
class SweepRecord:
    """What MLflow shows of a sweep.

    Attributes:
        id: Its id, and its name.
        note: What is tried, Markdown.
        best: How good its best combination is; None: nothing was measured.
        champion: The version that the best run was registered as; None: it was not.
        status: How it stands, as MLflow has it.
    """

    id: str
    note: str
    best: float | None
    champion: Registered | None
    status: Status


def show_sweep(client: "MlflowClient", sweep: SweepRecord, runs: Collection[str], parent: str = "") -> str:
    """Show runs below one for their sweep, which is made if it is not there. To be used within `mlflow_errors`.

    Args:
        client: Connection.
        sweep: What there is to say.
        runs: MLflow's ids of the runs that are to be below it and are not yet; at least one, if nothing was shown before.
        parent: MLflow's id of the sweep; empty: it is looked for.

    Returns:
        MLflow's id of the sweep.

    Raises:
        MlflowFailed: what answers is no MLflow.
    """
    from mlflow.entities import Metric, RunTag

    shown = _active(client, parent) if parent else None
    if shown is None:
        shown = _found_or_made(client, sweep, client.get_run(next(iter(runs))).info.experiment_id)
    shown_id: str = shown.info.run_id
    for run in runs:
        client.set_tag(run, PARENT_TAG, shown_id)
    now = int(datetime.now(UTC).timestamp() * 1000)
    metrics = [] if sweep.best is None else [Metric("best", sweep.best, now, 0)]
    client.log_batch(shown_id, metrics, tags=[RunTag(NOTE_TAG, sweep.note[:_MOST_OF_A_NOTE])], synchronous=True)
    if sweep.champion is not None:
        client.set_registered_model_alias(sweep.champion.registered_model, CHAMPION, str(sweep.champion.version))
    if sweep.status != "RUNNING":
        client.set_terminated(shown_id, sweep.status, now)
    elif shown.info.status != "RUNNING":
        client.update_run(shown_id, "RUNNING")
    return shown_id


def _active(client: "MlflowClient", run_id: str) -> "Run | None":
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run if run.info.lifecycle_stage == "active" else None


def _found_or_made(client: "MlflowClient", sweep: SweepRecord, experiment: str) -> "Run":
    for same in client.search_runs([experiment], f"tags.`{SWEEP_TAG}` = '{sweep.id}'", max_results=1):
        return same
    made = client.create_run(experiment, tags={SWEEP_TAG: sweep.id}, run_name=sweep.id)
    if not made.info.run_id:
        raise failure(client.tracking_uri, EMPTY)
    return made
