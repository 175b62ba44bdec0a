"""The processes of a laptop's run: started with a log each, kept alive as a node keeps its pods alive, and ended together."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from cloud.runs.run import Run
from cloudedge.errors import WorkFailed
from cloudedge.files import disk_errors
from cloudedge.interpreter import environment, python
from pipelines.laptop.home import Home

_POLL_SECONDS = "0.05"
"""A laptop's runners look often: a look costs microseconds, and every round waits for one."""

_UTF_8 = {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}
"""What is said to a log is read again here, whatever a terminal understands; and no step fails for what it cannot say."""

_END_SECONDS = 10.0
_MOST_STARTS = 20


def start(command: list[str], log: Path, variables: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
    """Start a process whose output goes to the end of a log.

    Args:
        command: The program and its arguments.
        log: File for its output.
        variables: Its environment, beside this process's own.

    Raises:
        StoreFailed: the log cannot be written.
        WorkFailed: this machine starts no more processes, or not this one.
    """
    surroundings = {**environment(), **_UTF_8, **(variables or {})}
    with disk_errors(log):
        output = log.open("ab")
    with output:
        try:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=surroundings)
        except OSError as error:
            raise WorkFailed(
                f"Cannot start {command[0]}: {error.strerror}. Free memory, or let this user have more processes (ulimit -u) "
                "or run that program; the same command goes on where the run was."
            ) from error


def end(processes: "list[subprocess.Popen[bytes]]") -> None:
    """Ask processes to end, and kill those that do not within ten seconds."""
    for process in processes:
        process.terminate()
    limit = time.monotonic() + _END_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Runners:
    """One runner for each edge, and one process that they all fork their work from, so that PyTorch is loaded once."""

    def __init__(self, commands: dict[str, list[str]], logs: Path) -> None:
        """Start the commands, by name."""
        self._commands = commands
        self._logs = logs
        self._processes = {name: start(command, logs / f"{name}.log") for name, command in commands.items()}
        self._starts = dict.fromkeys(commands, 1)

    @classmethod
    @contextmanager
    def at_work(cls, home: Home, run: Run, folders: dict[str, Path]) -> Iterator[Self]:
        """Runners for as long as the context lasts.

        Args:
            home: Where their inboxes and states are.
            run: Run that their logs are kept with.
            folders: Folder of samples by edge.
        """
        with tempfile.TemporaryDirectory(prefix="cloudedge-") as sockets:
            workers = Path(sockets) / "workers"
            parent = ("--parent", os.getpid())
            commands = {"workers": python("edge.workers", "--socket", workers, *parent)}
            for edge, samples in folders.items():
                commands[edge] = python(
                    "edge.runner",
                    *("--inbox", home.inboxes.root / edge),
                    *("--state", home.edge_state(edge)),
                    *("--samples", samples, "--mirror-samples"),
                    *("--files-root", home.store.root),
                    *("--workers", workers),
                    *("--poll-seconds", _POLL_SECONDS),
                    *parent,
                )
            runners = cls(commands, home.logs(run.id))
            try:
                yield runners
            finally:
                end(list(runners._processes.values()))

    def keep_alive(self) -> None:
        """Start again what has ended, as a node does with its pods.

        Raises:
            WorkFailed: one ends again and again.
        """
        for name, process in self._processes.items():
            if process.poll() is None:
                continue
            log = self._logs / f"{name}.log"
            if self._starts[name] >= _MOST_STARTS:
                raise WorkFailed(
                    f"The runner {name} ended {_MOST_STARTS} times, the last time with code {process.returncode}; see {log}, "
                    f"whose last line is: {_last_line(log)}"
                )
            self._starts[name] += 1
            self._processes[name] = start(self._commands[name], log)


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "(none)")
