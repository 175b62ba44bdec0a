"""A task's pipeline in kfp's local engine: a process with a log, which ends with whoever started it."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from cloudedge.documents import Task
from cloudedge.errors import Cancelled, CloudedgeError, WorkFailed
from cloudedge.files import atomic_write, disk_errors
from cloudedge.interpreter import python
from components.shared.records import RunState
from components.shared.run import Run
from pipelines.processes import end, start

MOST_ROUNDS_IN_PROCESSES = 10
"""Up to this many rounds a pipeline on this machine has a task for each step; beyond, one for all rounds, which costs less."""

LOG = "pipeline.log"


def shape_of(task: Task, compact: bool | None) -> str:
    """How the pipeline of a task is shaped: 'flat' or 'compact'.

    Args:
        task: What is asked for.
        compact: Whether all rounds are one task; none: beyond ten rounds.
    """
    flat = not compact if compact is not None else task.collaboration.rounds <= MOST_ROUNDS_IN_PROCESSES
    return "flat" if flat else "compact"


@contextmanager
def pipeline_at_work(
    task: Task, cloud_data: str, test_data: str, shape: str, logs: Path, root: Path, environment: Mapping[str, str]
) -> "Iterator[subprocess.Popen[bytes]]":
    """The pipeline for as long as the context lasts.

    Args:
        task: What is asked for.
        cloud_data: Where the cloud's samples are, as a step reads it.
        test_data: Where samples are that nobody trains on, or an empty text.
        shape: 'flat' or 'compact'.
        logs: Folder for what the steps say.
        root: Folder for what kfp writes, emptied before and afterwards.
        environment: What the steps find their surroundings by, beside this process's own.

    Raises:
        StoreFailed: the disk does not do its work.
    """
    task_file = logs / "task.json"
    atomic_write(task_file, task.to_json())
    command = python("pipelines.local", task_file, os.getpid(), cloud_data, test_data, root, shape)
    with _passing(root) as temporary:
        process = start(command, logs / LOG, {**environment, "TMPDIR": str(temporary)})
        try:
            yield process
        finally:
            end([process])


def reason(run: Run, log: Path, began: datetime, code: int) -> CloudedgeError:
    """Why a pipeline that began then did not succeed: a step says it in the store, where it could.

    Args:
        run: The pipeline's run.
        log: What the steps said.
        began: When the pipeline began.
        code: Exit code of its process; negative: the signal that killed it.
    """
    state: RunState | None = run.state()
    if state and state.state == "cancelled":
        return cancelled(run, state)
    if state and state.state in ("failed", "stopped") and state.at >= began:
        error = WorkFailed(state.message)
        error.exit_code = state.exit_code or WorkFailed.exit_code
        return error
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    return WorkFailed(f"The pipeline {how} and no step could say why; see {log}. The same command goes on where the run was.")


def cancelled(run: Run, state: RunState) -> Cancelled:
    """That somebody cancelled a run."""
    return Cancelled(f"Run {run.id} was cancelled: {state.message} Start it again under another id.")


@contextmanager
def _passing(root: Path) -> Iterator[Path]:
    """A folder for what kfp writes and never removes: copies of what the store has, and a temporary folder for each task."""
    shutil.rmtree(root, ignore_errors=True)  # Of a run that was killed.
    temporary = root / "tmp"
    with disk_errors(temporary):
        temporary.mkdir(parents=True)
    try:
        yield temporary
    finally:
        shutil.rmtree(root, ignore_errors=True)
