"""How a run begins, in the first step of its pipeline, whatever system it is of."""

import re
from datetime import UTC, datetime

from cloud.runs.lifecycle import create
from cloud.runs.run import Run
from cloud.runs.state import set_state
from cloud.runs.step_records import KUBEFLOW_ID, KubeflowRecord, RunState
from cloud.step import Step
from cloud.tracking import NOTE_TAG, TrackingRecord, flat_params, is_owed
from cloudedge import __version__
from cloudedge.documents import Task
from cloudedge.errors import Conflict


def require_own_run(run: Run, task: Task, kubeflow_run_id: str) -> None:
    """Make sure that there is something to do under the task's id: a clone of a run repeats it with all other parameters.

    Raises:
        Conflict: the id belongs to a run of another task, or to one that is finished, of which MLflow has all.
    """
    way_out = f"leave task_id empty, and it is a run of its own, {kubeflow_run_id}"
    try:
        run.require_free_for(task)
    except Conflict as error:
        raise Conflict(f"{error} Or {way_out}.") from None
    state = run.state()
    if state and state.state == "finished" and not is_owed(run.store, run.id):
        raise Conflict(
            f"Run {task.id} of this very task is finished since {state.at:%Y-%m-%d %H:%M:%S} UTC. To run it again, {way_out}."
        )


def begin(work: Step, task: Task, kubeflow_run: str = "") -> None:
    """Create the run, or go on with it, and have MLflow told what is asked for.

    Args:
        work: The run's first step.
        task: What is asked for.
        kubeflow_run: Kubeflow's id of its run of this pipeline, by which it is found from here; elsewhere anything else.

    Raises:
        Conflict: the id belongs to a run of another task.
    """
    create(work.run, task, work.settings.actor)
    set_state(work.run, RunState(state="running", at=datetime.now(UTC)))
    if re.fullmatch(KUBEFLOW_ID, kubeflow_run):
        work.run.put(work.run.key("kubeflow.json"), KubeflowRecord(run=kubeflow_run))
    created = work.written_at(work.run.key("task.json"))
    tags = {
        "cloudedge.run": task.id,
        "cloudedge.store": work.settings.store,
        "cloudedge.version": __version__,
        NOTE_TAG: f"**{task.name}.** Run in progress.",
    }
    # Without what differs between any two runs and is said elsewhere: MLflow shows what two runs differ in.
    settings = task.model_dump(mode="json", exclude={"schema_version", "kind", "id", "name"})
    work.track("create", TrackingRecord(at=created, params=flat_params(settings), tags=tags, status="running"))
    work.relay()  # What is wrong with MLflow is to be known now, not after hours of work.
