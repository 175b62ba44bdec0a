"""No process outlives the one that it was bound to."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cloudedge import processes
from tests.waiting import PATIENCE

BOUND = """
    import os, sys, time
    from cloudedge import processes
    {before}
    processes.end_with(int(sys.argv[1]))
    print("bound", flush=True)
    {work}
"""


@contextmanager
def stranger() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is nobody's parent."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def bound_to(process: int, work: str = "time.sleep(600)", before: str = "") -> Iterator["subprocess.Popen[str]"]:
    """A process that ends with another one."""
    program = textwrap.dedent(BOUND).format(work=work, before=before)
    with subprocess.Popen([sys.executable, "-c", program, str(process)], stdout=subprocess.PIPE, text=True) as bound:
        try:
            assert bound.stdout is not None
            assert bound.stdout.readline() == "bound\n"
            yield bound
        finally:
            bound.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("work", ["time.sleep(600)", "while True: pass"])
def test_a_process_ends_with_another_that_is_not_its_parent(number: signal.Signals, work: str) -> None:
    with stranger() as other, bound_to(other.pid, work) as bound:
        other.send_signal(number)
        # Nobody has waited for it yet: it has ended all the same.
        assert bound.wait(PATIENCE) == 128 + signal.SIGTERM


def test_a_process_goes_on_while_the_other_lives() -> None:
    with stranger() as other, bound_to(other.pid, work="sys.exit(3)") as bound:
        assert bound.wait(PATIENCE) == 3
        assert other.poll() is None


def test_a_process_bound_to_one_that_is_gone_ends_at_once() -> None:
    with stranger() as other:
        other.kill()
        other.wait()
        program = "import sys, time; from cloudedge.processes import end_with; end_with(int(sys.argv[1])); time.sleep(600)"
        assert subprocess.run([sys.executable, "-c", program, str(other.pid)], timeout=PATIENCE).returncode == 143


NO_PIDFD = "del os.pidfd_open"
REFUSED_PIDFD = """
def refuse(process):
    raise OSError(38, "Function not implemented")
os.pidfd_open = refuse
"""


@pytest.mark.parametrize("before", [NO_PIDFD, REFUSED_PIDFD], ids=["none", "refused"])
def test_a_system_without_process_descriptors_is_asked_again_and_again(before: str) -> None:
    with stranger() as other, bound_to(other.pid, before=before) as bound:
        other.kill()
        other.wait()
        assert bound.wait(PATIENCE) == 143


def test_a_process_of_another_user_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says of it is set here: the tests may run as the one user who may signal everybody."""
    answers: list[type[OSError]] = [PermissionError, PermissionError, ProcessLookupError]

    def signal_it(process: int, number: int) -> None:
        raise answers.pop(0)(errno.EPERM, "refused")

    monkeypatch.delattr(os, "pidfd_open", raising=False)
    monkeypatch.setattr(os, "kill", signal_it)
    monkeypatch.setattr(processes, "_LOOK_SECONDS", 0.001)
    processes._wait_for_end(1)
    assert answers == []


def test_a_companion_is_waited_for_though_the_first_wait_was_interrupted() -> None:
    gate, done = threading.Event(), threading.Event()

    def work() -> None:
        gate.wait(PATIENCE)
        done.set()

    def interrupt(*_: object) -> None:
        raise InterruptedError

    def wait_interrupted(companion: processes.Companion) -> None:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        companion.wait()

    former = signal.signal(signal.SIGUSR1, interrupt)
    try:
        companion = processes.Companion(work, "companion")
        with pytest.raises(InterruptedError):
            wait_interrupted(companion)
    finally:
        signal.signal(signal.SIGUSR1, former)
    threading.Timer(0.1, gate.set).start()
    companion.wait()
    assert done.is_set()
