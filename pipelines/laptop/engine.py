"""Pipelines in kfp's local engine: a process that runs one after another, and ends with whoever started it."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from cloud.runs import events
from cloud.runs.run import Run
from cloud.runs.state import error_of
from cloudedge.documents import Task
from cloudedge.errors import CloudedgeError, WorkFailed
from cloudedge.files import atomic_write, disk_errors
from cloudedge.interpreter import python
from pipelines.display.summary import seconds
from pipelines.laptop.job import Job
from pipelines.laptop.processes import end, start, surroundings

LOG = "pipeline.log"

_MOST_DEATHS = 3
"""That often in a row a pipeline may be killed without a step done in between."""

_PAUSE_SECONDS = 2.0
"""Time before a pipeline is started again, after the first death; that of a machine without memory has it back then."""


class Engine:
    """kfp's local engine in a process that runs one pipeline after another, so that it and PyTorch are loaded once.

    Attributes:
        command: The program and its arguments.
    """

    def __init__(self, command: list[str], temporary: Path) -> None:
        """Nothing is started yet.

        Args:
            command: The program and its arguments, such as `engine_command` gives.
            temporary: Folder for what it needs as long as it is there.
        """
        self.command = command
        self._temporary = temporary
        self._process: subprocess.Popen[bytes] | None = None
        self._heard = b""
        self._busy = False

    def prepare(self, log: Path) -> None:
        """Start the process if there is none, so that it loads meanwhile.

        Args:
            log: File for what it says before its first pipeline.

        Raises:
            StoreFailed: the log cannot be written.
            WorkFailed: this machine starts no more processes.
        """
        if self._process is None or self._process.poll() is not None:
            self.end()
            self._process = start(self.command, log, {"TMPDIR": str(self._temporary)}, asked=True)
            self._heard = b""

    def begin(self, job: Job) -> None:
        """Begin a pipeline; one that nobody waits for any more, as that was interrupted, ends.

        Raises:
            StoreFailed: its log cannot be written.
            WorkFailed: this machine starts no more processes.
        """
        self.stop()
        self.prepare(Path(job.log))
        self._busy = True
        with suppress(BrokenPipeError):  # It has ended, which `code` tells.
            self._pipe("stdin").write(job.to_line())

    def code(self) -> int | None:
        """How the pipeline ended: 0, another exit code, or minus a signal's number; None: it is at work."""
        process = self._process
        if process is None:
            return -signal.SIGTERM
        code = process.poll()  # Before its last words are read.
        with suppress(BlockingIOError):
            self._heard += self._pipe("stdout").read() or b""
        *lines, self._heard = self._heard.split(b"\n")
        if lines:
            code = int(lines[-1])
        if code is not None:
            self._busy = False
        return code

    def stop(self) -> None:
        """End the process if a pipeline is still at work in it."""
        if self._busy:
            self.end()

    def end(self) -> None:
        """End the process, if there is one."""
        process, self._process, self._busy = self._process, None, False
        if process is not None:
            end([process])
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _pipe(self, name: Literal["stdin", "stdout"]) -> IO[bytes]:
        pipe: IO[bytes] | None = getattr(self._process, name)
        if pipe is None:
            raise RuntimeError(f"The engine was started without {name}.")
        return pipe


def engine_command(modules: Sequence[str]) -> list[str]:
    """The command of an engine that ends with this process.

    Args:
        modules: What the pipelines' tasks import.
    """
    return python("pipelines.laptop.local", os.getpid(), *modules)


class Pipeline:
    """A task's pipeline at work, which is started again where it was when something kills it."""

    def __init__(self, run: Run, engine: Engine, job: Job) -> None:
        """Start it.

        Args:
            run: The pipeline's run.
            engine: What runs it.
            job: What is asked of that.

        Raises:
            StoreFailed: the disk does not do its work.
            WorkFailed: this machine starts no more processes.
        """
        self._run = run
        self._engine = engine
        self._job = job
        self._root = Path(job.root)
        self._deaths = 0
        self._done: set[str] = set()
        self._again_at: float | None = None
        self._begin()

    def over(self) -> bool:
        """Look after it; whether it has succeeded.

        Raises:
            CloudedgeError: why it did not, or what killed it again and again without a step done in between.
        """
        if self._again_at is not None:
            if time.monotonic() >= self._again_at:
                self._again_at = None
                self._begin()
            return False
        code = self._engine.code()
        if code is None:
            return False
        if code == 0:
            return True
        if _signal_of(code):
            self._engine.end()  # What else was killed with the step, nobody knows.
        error = self._reason()
        if error is not None:
            raise error
        done = set(seconds(self._run))
        self._deaths = 1 if done - self._done else self._deaths + 1
        self._done = done
        if not _signal_of(code) or self._deaths >= _MOST_DEATHS:
            times = f" {self._deaths} times in a row" if self._deaths > 1 else ""
            raise WorkFailed(
                f"The pipeline {_how(code)}{times} and no step could say why; see {self._job.log}. "
                "The same command goes on where the run was."
            )
        events.record(self._run.store, self._run.id, "engine", "resumed", why=_how(code))
        self._again_at = time.monotonic() + _PAUSE_SECONDS * self._deaths
        return False

    def end(self) -> None:
        """End it, if it has not ended."""
        self._engine.stop()
        shutil.rmtree(self._root, ignore_errors=True)

    def _begin(self) -> None:
        # What kfp writes and never removes: copies of what the store has, and a temporary folder for each task.
        shutil.rmtree(self._root, ignore_errors=True)  # Of a run that was killed.
        temporary = self._root / "tmp"
        with disk_errors(temporary):
            temporary.mkdir(parents=True, exist_ok=True)
        self._began = datetime.now(UTC)
        self._engine.begin(self._job)

    def _reason(self) -> CloudedgeError | None:
        """Why it did not succeed: a step says it in the store, where it could."""
        state = self._run.state()
        if state and (state.state == "cancelled" or (state.state in ("failed", "stopped") and state.at >= self._began)):
            return error_of(self._run.id, state)
        return None


@contextmanager
def pipeline_at_work(
    engine: Engine,
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
        engine: What runs it; it ends with the pipeline if that is still at work then.
        task: What is asked for.
        arguments: What else the pipeline's form asks for.
        compact: Whether it has as few tasks as it can; none: as suits this machine.
        run: The pipeline's run.
        logs: Folder for what the steps say.
        root: Folder for what kfp writes, emptied before and afterwards.
        variables: What the steps find their surroundings by, beside this process's own.

    Raises:
        StoreFailed: the disk does not do its work.
        WorkFailed: this machine starts no more processes.
    """
    task_file = logs / "task.json"
    atomic_write(task_file, task.to_json())
    environment = surroundings({**variables, "TMPDIR": str(root / "tmp")})
    job = Job(str(task_file), str(root), compact, arguments, str(logs / LOG), environment)
    pipeline = Pipeline(run, engine, job)
    try:
        yield pipeline
    finally:
        pipeline.end()


def _signal_of(code: int) -> int:
    """Number of the signal that killed a process, or its child as shells say it, by an exit code; else 0."""
    return -code if code < 0 else max(0, code - 128)


def _how(code: int) -> str:
    number = _signal_of(code)
    try:
        return f"was killed by {signal.Signals(number).name}" if number else f"ended with {code}"
    except ValueError:
        return f"was killed by signal {number}"
