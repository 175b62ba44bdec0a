"""The processes of a laptop's runs: started with a log each, kept alive as a node keeps its pods alive, and ended together."""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cloudedge.errors import Conflict, WorkFailed
from cloudedge.files import disk_errors
from cloudedge.interpreter import environment

_UTF_8 = {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}
"""What is said to a log is read again here, whatever a terminal understands; and no step fails for what it cannot say."""

_END_SECONDS = 10.0
_MOST_STARTS = 20
_MOST_REFUSALS = 3
"""Each comes a second after its start, which is longer than a runner takes to end whose home was let go."""


def surroundings(variables: Mapping[str, str]) -> dict[str, str]:
    """All variables of a process's environment: some of its own, and this process's."""
    return {**environment(), **_UTF_8, **variables}


def start(
    command: list[str], log: Path, variables: Mapping[str, str] | None = None, *, asked: bool = False
) -> "subprocess.Popen[bytes]":
    """Start a process whose output goes to the end of a log.

    It is in a process group of its own: Ctrl-C, in a terminal or a notebook, is for this process, which decides.

    Args:
        command: The program and its arguments.
        log: File for its output.
        variables: Its environment, beside this process's own.
        asked: Whether its input and output are pipes, and only what is an error goes to the log. The latter does not block.

    Raises:
        StoreFailed: the log cannot be written.
        WorkFailed: this machine starts no more processes, or not this one.
    """
    with disk_errors(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        output = log.open("ab")
    with output:
        try:
            process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE if asked else subprocess.DEVNULL,
                stdout=subprocess.PIPE if asked else output,
                stderr=output,
                env=surroundings(variables or {}),
                process_group=0,
            )
        except OSError as error:
            raise WorkFailed(
                f"Cannot start {command[0]}: {error.strerror}. Free memory, or let this user have more processes (ulimit -u) "
                "or run that program; the same command goes on where the run was."
            ) from error
    if process.stdout is not None:
        os.set_blocking(process.stdout.fileno(), False)
    return process


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


@dataclass(frozen=True)
class Program:
    """What a process is started with.

    Attributes:
        command: The program and its arguments.
        place: Inode of the folder that it works in: of another one by the same name it knows nothing. 0: it works in none.
    """

    command: list[str]
    place: int = 0


@dataclass
class _Runner:
    """A process at work."""

    program: Program
    log: Path
    process: "subprocess.Popen[bytes]"
    starts: int = 1


class Runners:
    """One runner for each edge, and one process that they all fork their work from, so that PyTorch is loaded once."""

    def __init__(self) -> None:
        """Nothing is started yet."""
        self._runners: dict[str, _Runner] = {}

    def have(self, programs: Mapping[str, Program], logs: Path, *, move: bool = True) -> None:
        """Have these at work and no others; the process of one that is at work already stays.

        Args:
            programs: The programs by name.
            logs: Folder for their output from now on.
            move: Whether so for those that are at work already, too; else their output goes where it went.

        Raises:
            StoreFailed: a log cannot be written.
            WorkFailed: this machine starts no more processes, or not one of these.
        """
        self._end([name for name, runner in self._runners.items() if programs.get(name) != runner.program])
        for name, program in programs.items():
            log = logs / f"{name}.log"
            runner = self._runners.get(name)
            if runner is not None and runner.process.poll() is None and (not move or _moved(runner.log, log)):
                runner.log, runner.starts = log if move else runner.log, 1
                continue
            self._end([name])
            self._runners[name] = _Runner(program, log, start(program.command, log))

    def keep_alive(self) -> None:
        """Start again what has ended, as a node does with its pods.

        Raises:
            Conflict: the state of one is another's, such as a runner's that somebody has started by hand.
            WorkFailed: one ends again and again.
        """
        for name, runner in self._runners.items():
            if runner.process.poll() is None:
                continue
            if runner.process.returncode == Conflict.exit_code and runner.starts >= _MOST_REFUSALS:
                raise Conflict(
                    f"The runner {name} cannot be started: {_last_line(runner.log)} "
                    "A run on this machine starts the runners of its edges itself."
                )
            if runner.starts >= _MOST_STARTS:
                code = runner.process.returncode
                raise WorkFailed(
                    f"The runner {name} ended {_MOST_STARTS} times, the last time with code {code}; see {runner.log}, "
                    f"whose last line is: {_last_line(runner.log)}"
                )
            runner.starts += 1
            runner.process = start(runner.program.command, runner.log)

    def end(self) -> None:
        """End them all."""
        self._end(list(self._runners))

    def _end(self, names: list[str]) -> None:
        end([self._runners[name].process for name in names if name in self._runners])
        for name in names:
            self._runners.pop(name, None)


def _moved(former: Path, log: Path) -> bool:
    """Have what a process says from now on found in another log, although it writes to the file that it was started with.

    That file gets the other name, and its former content stays under the former. Nobody may be writing to it meanwhile.

    Returns:
        Whether it was possible: somebody may have removed the file.

    Raises:
        StoreFailed: the disk does not take it.
    """
    if former == log:
        return former.exists()
    copy = former.with_name(f".{former.name}")
    with disk_errors(log):
        try:
            shutil.copyfile(former, copy)
        except FileNotFoundError:
            return False
        before = log.read_bytes() if log.exists() else b""
        former.replace(log)
        os.truncate(log, 0)
        copy.replace(former)
        with log.open("ab") as file:
            file.write(before)
    return True


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "(none)")
