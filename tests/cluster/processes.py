"""Servers as processes that end with whoever started them, also when that one is killed."""

import ctypes
import errno
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.waiting import until

_PR_SET_PDEATHSIG = 1
_LESS_COLLECTION = {"GOGC": "400"}
"""Most servers are Go's; small as they are here, they would collect garbage for a tenth of the time that they compute."""

_FIRST_PORT, _PORTS = 20_000, 10_000
"""Below those that Linux gives to whoever asks for any, or connects to somebody, and those of Kubernetes' services."""

_libc = ctypes.CDLL(None)


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody listens at, and that nobody is given who asks the system for any before it is listened at."""
    while True:
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port


class Server:
    """A process that can be killed and started again as it was."""

    def __init__(self, command: list[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        """Remember how to start it."""
        self.command = list(map(str, command))
        self.log = log
        self._environment = {**_LESS_COLLECTION, **os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, ready: Callable[[], bool], seconds: float = 120) -> None:
        """Start it, and wait until it is ready.

        Raises:
            AssertionError: it ended, or was not ready in time; with the end of its log.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                preexec_fn=_die_with_parent,
            )

        def over() -> bool:
            assert self._process is not None
            return self._process.poll() is not None or ready()

        until(over, seconds, f"{self.command[0]} ready")
        assert self._process.poll() is None, f"{self.command[0]} ended:\n{self.log.read_text(errors='replace')[-3000:]}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class Afterwards:
    """A shell script that runs when it is asked to, or when whoever wrote it is killed before."""

    def __init__(self, script: str) -> None:
        """Have it wait."""
        self._shell = subprocess.Popen(["bash", "-c", f"read -r _; {script}"], stdin=subprocess.PIPE, start_new_session=True)

    def run(self) -> None:
        """Run it now, once.

        Raises:
            AssertionError: it failed.
        """
        self._shell.communicate(timeout=300)
        assert self._shell.returncode == 0, f"{self._shell.args!r} ended with {self._shell.returncode}"


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
