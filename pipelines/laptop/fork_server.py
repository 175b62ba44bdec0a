"""Pipeline tasks as forks of one process that has everything loaded.

kfp's local engine starts a shell and an interpreter for each task, and a step that does next to nothing spends half a second
on imports. Here the same command goes to multiprocessing's fork server, which imports kfp's executor, the steps and PyTorch
once; the executor then does what it always does, in a process that no other task has used.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cloudedge.processes import ONE_THREAD, end_with

_AS_IN_A_TASK = {"_KFP_RUNTIME": "true", **ONE_THREAD}
"""The fork server's environment: kfp leaves its compiler out, and nothing starts a thread, which no fork would survive.
A step that trains sets its own number of threads."""

deaths: list[int] = []
"""Numbers of the signals that have killed tasks."""

_log: str | None = None
"""File that what is printed goes to; none: as this process was started."""

_context = multiprocessing.get_context("forkserver")


def prepare(modules: Sequence[str]) -> None:
    """Start the fork server, which then loads in the background, and have kfp's local engine use it.

    Args:
        modules: What the pipeline's tasks import.
    """
    from multiprocessing.forkserver import ensure_running

    _context.set_forkserver_preload(["pipelines.laptop.preloading", *modules, "pipelines.laptop.preloaded"])
    with _environment(_AS_IN_A_TASK), _short_temporary_folder():
        ensure_running()
        import kfp  # noqa: F401 - without its client, and so without Kubernetes'

    from kfp.local import subprocess_task_handler

    subprocess_task_handler.run_local_subprocess = run


def write_to(log: str) -> None:
    """Add what this process and its tasks print to the end of a file from now on.

    Raises:
        OSError: it cannot be opened.
    """
    global _log
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    _log = log


def forget_temporary_folder() -> None:
    """Have temporary files lie where TMPDIR says now, and not where it did when they were first needed."""
    tempfile.tempdir = None


def run(full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
    """Do a task of a lightweight Python component.

    Args:
        full_command: As kfp composes it: a shell, its script, the component's source, the executor's arguments.
        env_vars: Variables of the task.

    Returns:
        Exit code, or minus the number of the signal that killed it.

    Raises:
        RuntimeError: the command is no such component's.
    """
    if len(full_command) < 4 or full_command[0] != "sh" or "-m kfp.dsl.executor_main" not in full_command[2]:
        raise RuntimeError(f"Only lightweight Python components run here, not {full_command[:3]}.")
    source, *arguments = full_command[3:]
    environment = {**os.environ, **(env_vars or {})}
    task = _context.Process(target=_perform, args=(os.getpid(), _log, source, arguments, environment))
    task.start()
    task.join()
    code = 1 if task.exitcode is None else task.exitcode
    if code < 0:
        deaths.append(-code)
    return code


def _perform(parent: int, log: str | None, source: str, arguments: list[str], environment: dict[str, str]) -> None:
    end_with(parent)
    if log is not None:
        write_to(log)  # The fork server's own output goes where the first pipeline's went.
    os.environ.clear()
    os.environ.update(environment)
    forget_temporary_folder()
    from kfp.dsl.executor_main import executor_main

    component = Path(tempfile.mkdtemp()) / "ephemeral_component.py"
    component.write_text(source, encoding="utf-8")
    sys.argv = ["executor_main", "--component_module_path", str(component), *arguments]
    executor_main()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    former = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(former)


@contextmanager
def _short_temporary_folder() -> Iterator[None]:
    """Name the temporary folder in few letters: the fork server's socket lies in it, and the kernel takes about 100 bytes."""
    former = tempfile.gettempdir()
    if sys.platform == "linux":
        folder = os.open(former, os.O_PATH | os.O_DIRECTORY)  # Stays open, as the socket is connected to again and again.
        tempfile.tempdir = f"/proc/self/fd/{folder}"
    try:
        yield
    finally:
        tempfile.tempdir = former
