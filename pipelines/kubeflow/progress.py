"""A run on Kubeflow in words, once or while it goes on."""

import contextlib
import time
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from cloud.pages.words import duration
from cloud.patience import Patience
from cloud.runs.closing import are_closed
from cloud.runs.run import Run
from cloud.runs.state import error_of
from cloud.runs.step_records import RunState
from cloudedge.errors import Cancelled, CloudedgeError, StoreFailed, WorkFailed
from pipelines.display.live import RunDisplay
from pipelines.kubeflow.answers import UNKNOWN, KubeflowRun, KubeflowTask
from pipelines.kubeflow.client import Kubeflow

_WORDS = {
    "": "not begun",
    UNKNOWN: "submitted",
    "PENDING": "waiting",
    "RUNNING": "running",
    "SUCCEEDED": "done",
    "SKIPPED": "skipped",
    "FAILED": "failed",
    "CANCELING": "being ended",
    "CANCELED": "ended",
    "PAUSED": "paused",
}
"""Kubeflow's states, for people."""

_LOOK_SECONDS = 2.0
_PATIENCE_SECONDS = 60.0


def in_words(state: str) -> str:
    """A state of Kubeflow's for people, one of a later Kubeflow among them."""
    return _WORDS.get(state, state.lower().replace("_", " "))


def follow(kubeflow: Kubeflow, run: KubeflowRun, ours: Run | None, console: Console) -> KubeflowRun:
    """Show what a run does until it is over.

    Args:
        kubeflow: Where it runs.
        run: As it stands.
        ours: The run in our store, of which the events and the edges are shown too; none: it is not known here.
        console: Where to draw.

    Raises:
        StoreFailed: Kubeflow does not answer any more.
    """
    told: dict[str, str] = {}
    last = False
    with RunDisplay(console, lambda: at_work(run)) as display:
        while True:
            for task in run.tasks:
                if task.state and told.get(task.key) != task.state:
                    told[task.key] = task.state
                    console.print(Text(f"{task.name}: {in_words(task.state)}{_after(task)}"))
            if ours is not None:
                display(ours)
            if run.over and (last or (run.tasks and all(task.ended for task in run.tasks))):
                return run
            # Kubeflow says that a run is over before it says so of its tasks.
            last = run.over
            time.sleep(_LOOK_SECONDS)
            with contextlib.suppress(*((CloudedgeError,) if last else ())):
                run = refreshed(kubeflow, run)


def failure(run: KubeflowRun, ours: Run | None) -> CloudedgeError | None:
    """Why a run that is over did not succeed, as far as our steps or Kubeflow can tell.

    Args:
        run: The run on Kubeflow.
        ours: The run in our store, if it is known here.
    """
    if not run.over or run.state in ("SUCCEEDED", "SKIPPED"):
        return None
    state = ours.state() if ours else None
    if state and state.state == "cancelled":
        return error_of(run.task_id, state)
    if state and (run.began is None or state.at < run.began):
        state = None  # What an earlier try left.
    if state and state.state == "failed":
        return error_of(run.task_id, state)
    if run.terminated:
        return Cancelled(f"The run was terminated in Kubeflow. {_edges_after(run, ours, state)}")
    if state and state.state == "stopped":
        return WorkFailed(f"{state.message} {_edges_after(run, ours, state)}")
    failed = [task for task in run.tasks if task.state == "FAILED"]
    at = f" at {', '.join(task.name for task in failed)}" if failed else ""
    messages = [message.strip() for message in (*(task.message for task in failed), run.message) if message.strip()]
    said = " ".join(_sentence(message) for message in messages)
    why = f": {said} More is in" if said else ", and no step could say why:"
    return WorkFailed(f"Kubeflow failed the run{at}{why} cloudedge logs {run.id}")


def _edges_after(run: KubeflowRun, ours: Run | None, stopped: RunState | None) -> str:
    """What edges do of a run that was ended before its end, as its operation log has it."""
    if ours and stopped and stopped.state == "stopped" and are_closed(ours, stopped.at):
        return "Its edges have no order of it any more. Submitted again, it goes on where it was."
    return (
        f"Edges that have an order of it stop when the reaper finds it, within minutes; at once after "
        f"'cloudedge tasks cancel {run.task_id}', but then it cannot go on."
    )


def described(run: KubeflowRun, error: CloudedgeError | None) -> dict[str, Any]:
    """A run, for programs."""
    return {
        "id": run.task_id,
        "kubeflow_id": run.id,
        "name": run.name,
        "state": run.state,
        "message": str(error) if error else "",
        "began": run.began,
        "ended": run.ended,
        "url": run.url,
        "tasks": [
            {
                "name": task.name,
                "state": task.state,
                "message": task.message,
                "began": task.began,
                "ended": task.ended,
                "seconds": _seconds(task),
            }
            for task in run.tasks
        ],
    }


def rows(run: KubeflowRun) -> list[tuple[str, ...]]:
    """A run's tasks as a table, titles first."""
    return [
        ("task", "state", "took"),
        *((task.name, in_words(task.state), duration(seconds) if (seconds := _seconds(task)) else "") for task in run.tasks),
    ]


def _seconds(task: KubeflowTask) -> float | None:
    if task.began is None:
        return None
    return ((task.ended or datetime.now(UTC)) - task.began).total_seconds()


def _sentence(message: str) -> str:
    return message if message[-1:] in ".!?" else f"{message}."


def _after(task: KubeflowTask) -> str:
    return f" after {duration(_seconds(task) or 0)}" if task.ended else ""


def at_work(run: KubeflowRun) -> str:
    """What Kubeflow does for a run just now, in a line."""
    working = [task for task in run.tasks if task.state in ("PENDING", "RUNNING")]
    return ", ".join(f"{task.name}: {in_words(task.state)}" for task in working) or in_words(run.state)


def refreshed(kubeflow: Kubeflow, run: KubeflowRun) -> KubeflowRun:
    """A run as it stands now, asked for with some patience.

    Raises:
        StoreFailed: Kubeflow does not answer for a minute.
    """
    patience = Patience(_PATIENCE_SECONDS)
    while True:
        try:
            return kubeflow.refreshed(run)
        except StoreFailed as error:
            patience.wait(error)
