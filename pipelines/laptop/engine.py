"""A task's pipeline in kfp's local engine: a process with a log, which ends with whoever started it."""

import functools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloud.runs import events
from cloud.runs.run import Run
from cloud.runs.step_records import RunState
from cloudedge.documents import Task
from cloudedge.errors import Cancelled, CloudedgeError, WorkFailed
from cloudedge.files import atomic_write, disk_errors
from cloudedge.interpreter import python
from pipelines.display.summary import seconds
from pipelines.laptop.processes import end, start

LOG = "pipeline.log"

SHAPES: Mapping[bool | None, str] = {None: "fitting", True: "compact", False: "flat"}
"""What `pipelines.laptop.local` is told of a pipeline's shape."""

_MOST_DEATHS = 3
"""That often in a row a pipeline may be killed without a step done in between."""

_PAUSE_SECONDS = 2.0
"""Time before a pipeline is started again, after the first death; that of a machine without memory has it back then."""


class Pipeline:
    """A task's pipeline in a process, which is started again where it was when something kills it."""

    def __init__(self, run: Run, command: list[str], log: Path, variables: Mapping[str, str], root: Path) -> None:
        """Start it.

        Args:
            run: The pipeline's run.
            command: The program and its arguments.
            log: File for its output.
            variables: Its environment, beside this process's own.
            root: Folder for what passes.

        Raises:
            StoreFailed: the disk does not do its work.
        """
        self._run = run
        self._log = log
        self._start = functools.partial(start, command, log, {**variables, "TMPDIR": str(root / "tmp")})
        self._root = root
        self._deaths = 0
        self._done: set[str] = set()
        self._again_at: float | None = None
        self._process = self._begin()

    def over(self) -> bool:
        """Look after it; whether it has succeeded.

        Raises:
            CloudedgeError: why it did not, or what killed it again and again without a step done in between.
        """
        if self._again_at is not None:
            if time.monotonic() >= self._again_at:
                self._again_at = None
                self._process = self._begin()
            return False
        code = self._process.poll()
        if code is None:
            return False
        if code == 0:
            return True
        error = self._reason()
        if error is not None:
            raise error
        done = set(seconds(self._run))
        self._deaths = 1 if done - self._done else self._deaths + 1
        self._done = done
        if not _signal_of(code) or self._deaths >= _MOST_DEATHS:
            times = f" {self._deaths} times in a row" if self._deaths > 1 else ""
            raise WorkFailed(
                f"The pipeline {_how(code)}{times} and no step could say why; see {self._log}. "
                "The same command goes on where the run was."
            )
        events.record(self._run.store, self._run.id, "engine", "resumed", why=_how(code))
        self._again_at = time.monotonic() + _PAUSE_SECONDS * self._deaths
        return False

    def end(self) -> None:
        """End it, if it has not ended."""
        end([self._process])
        shutil.rmtree(self._root, ignore_errors=True)

    def _begin(self) -> "subprocess.Popen[bytes]":
        # What kfp writes and never removes: copies of what the store has, and a temporary folder for each task.
        shutil.rmtree(self._root, ignore_errors=True)  # Of a run that was killed.
        temporary = self._root / "tmp"
        with disk_errors(temporary):
            temporary.mkdir(parents=True, exist_ok=True)
        self._began = datetime.now(UTC)
        return self._start()

    def _reason(self) -> CloudedgeError | None:
        """Why it did not succeed: a step says it in the store, where it could."""
        state = self._run.state()
        if state and state.state == "cancelled":
            return cancelled(self._run, state)
        if state and state.state in ("failed", "stopped") and state.at >= self._began:
            error = WorkFailed(state.message)
            error.exit_code = state.exit_code or WorkFailed.exit_code
            return error
        return None


@contextmanager
def pipeline_at_work(
    task: Task,
    arguments: Mapping[str, Any],
    compact: bool | None,
    run: Run,
    logs: Path,
    root: Path,
    variables: Mapping[str, str],
) -> Iterator[Pipeline]:
    """The pipeline for as long as the context lasts.

    Args:
        task: What is asked for.
        arguments: What else the pipeline's form asks for.
        compact: Whether it has as few tasks as it can; none: as suits this machine.
        run: The pipeline's run.
        logs: Folder for what the steps say.
        root: Folder for what kfp writes, emptied before and afterwards.
        variables: What the steps find their surroundings by, beside this process's own.

    Raises:
        StoreFailed: the disk does not do its work.
    """
    task_file = logs / "task.json"
    atomic_write(task_file, task.to_json())
    shape = SHAPES[compact]
    command = python("pipelines.laptop.local", task_file, os.getpid(), root, shape, json.dumps(arguments))
    pipeline = Pipeline(run, command, logs / LOG, variables, root)
    try:
        yield pipeline
    finally:
        pipeline.end()


def cancelled(run: Run, state: RunState) -> Cancelled:
    """That somebody cancelled a run."""
    return Cancelled(f"Run {run.id} was cancelled: {state.message} Start it again under another id.")


def _signal_of(code: int) -> int:
    """Number of the signal that killed a process, or its child as shells say it, by an exit code; else 0."""
    return -code if code < 0 else max(0, code - 128)


def _how(code: int) -> str:
    number = _signal_of(code)
    try:
        return f"was killed by {signal.Signals(number).name}" if number else f"ended with {code}"
    except ValueError:
        return f"was killed by signal {number}"
