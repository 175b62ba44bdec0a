"""The state of a run, and what its sign of life says."""

from collections.abc import Mapping
from typing import Literal

from cloud.pages.markdown import plain
from cloud.runs.run import Run
from cloud.runs.step_records import RunState
from cloud.tracking import NOTE_TAG, TrackingLog, TrackingRecord, is_owed
from cloudedge.errors import Cancelled, CloudedgeError, WorkFailed

BETWEEN_STEPS = b"between two steps\n"
"""What stands in a run's sign of life once a step is done: nobody works until the next one is begun, which a cluster may take
long to do."""

OVER = b"over\n"
"""What stands there once a step has failed, and has closed the run's orders: nobody works unless it is repeated."""

_STATUS: Mapping[str, Literal["failed", "killed"]] = {"failed": "failed", "stopped": "killed", "cancelled": "killed"}
"""What MLflow calls the ways in which a run ends early."""


def is_done(run: Run) -> bool:
    """Whether a run is finished, and MLflow has taken all of it, so that its steps have nothing left to do."""
    state = run.state()
    return state is not None and state.state == "finished" and not is_owed(run.store, run.id)


def error_of(run_id: str, state: RunState) -> CloudedgeError:
    """What made a run fail, with the exit code that its step ended with; or that somebody cancelled it."""
    if state.state == "cancelled":
        return Cancelled(f"Run {run_id} was cancelled: {state.message} Start it again under another id.")
    error = WorkFailed(state.message)
    error.exit_code = state.exit_code or WorkFailed.exit_code
    return error


def set_state(run: Run, state: RunState) -> bool:
    """Write a run's state; a cancelled run stays cancelled, and a finished one finished, however often a step is repeated.

    Returns:
        Whether it was written.
    """
    written = put_state(run, state)
    if written:
        track_state(run, state)
    return written


def put_state(run: Run, state: RunState) -> bool:
    """As `set_state`, and MLflow is not told."""
    current = run.state()
    if current and current.state in ("cancelled", "finished"):
        return False
    if state.state == "cancelled":
        return run.cancel(state)
    run.put(run.key("state.json"), state)
    return True


def track_state(run: Run, state: RunState) -> None:
    """Have MLflow told how a run ended early."""
    status = _STATUS.get(state.state)
    if status:
        tags = {NOTE_TAG: f"**Run {state.state}.** {plain(state.message)}"}
        TrackingLog(run.store, run.id).append([TrackingRecord(at=state.at, status=status, tags=tags)], "end")
