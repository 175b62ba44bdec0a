"""A run in figures, for `--json` and for `cloudedge tasks`."""

from datetime import UTC, datetime
from typing import Any

from cloud.runs.events import events
from cloud.runs.run import Run
from cloud.tracking import registered_of, trouble_of
from cloudedge.errors import CloudedgeError
from pipelines.systems import system_of

UNREADABLE = "unreadable"
"""What stands for a run's state where the run cannot be read."""


def overview(run: Run) -> dict[str, Any]:
    """One line's worth of a run.

    Raises:
        NotFound: there is no such run.
    """
    task = run.task()
    state = run.state()
    return {
        "id": run.id,
        "kind": task.kind,
        "name": task.name,
        "state": state.state if state else "created",
        "message": state.message if state else "",
        "since": f"{state.at:%Y-%m-%d %H:%M:%S}" if state else None,
        "seen": _seen(run) if state and state.state == "running" else None,
        **system_of(task).overview(run, task),
    }


def unreadable(run_id: str, error: CloudedgeError) -> dict[str, Any]:
    """The line of a run that cannot be read."""
    known = {"id": run_id, "kind": None, "name": None, "state": UNREADABLE, "message": str(error), "rounds": None}
    return {**known, "since": None, "seen": None, "pretrained": None, "fused": None}


def _seen(run: Run) -> str | None:
    alive = run.store.stat(run.key("alive"))
    return f"{datetime.fromtimestamp(alive.modified, UTC):%Y-%m-%d %H:%M:%S}" if alive else None


def summary(run: Run) -> dict[str, Any]:
    """What came of a run: of every one what took how long and what MLflow has, then what its system says."""
    registered, trouble = registered_of(run.store, run.id), trouble_of(run.store, run.id)
    return {
        **system_of(run.task()).summary(run),
        "seconds": seconds(run),
        "registered": {"model": registered.registered_model, "version": registered.version} if registered else None,
        "mlflow": trouble.message if trouble else "",
    }


def seconds(run: Run) -> dict[str, float]:
    """Duration of each finished step by its name, from the operation log; of a repeated step, the last."""
    return {
        str(event.details["step"]): float(event.details["seconds"])
        for _, event in events(run.store, run.id)
        if event.action == "step-done"
    }
