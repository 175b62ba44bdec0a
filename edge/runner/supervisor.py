"""The runner's side of work: gets it a process, listens to it, ends it."""

import contextlib
import logging
import os
import socket
import subprocess
import time
from pathlib import Path

from pydantic import ValidationError

from cloudedge.errors import StoreFailed
from cloudedge.interpreter import environment, python
from edge import sockets
from edge.messages import Job, Message, line

_log = logging.getLogger(__name__)

_SHARED_START_SECONDS = 15.0
"""How long a shared fork server may take to come up before the runner starts its own."""

_RESTART_SECONDS = 2.0
"""Least time between two starts of the own fork server, so that one that cannot start does not keep the machine busy."""


class Work:
    """A job in a process that does nothing else at the time."""

    def __init__(self, job: Job, connection: socket.socket) -> None:
        """Send a job over a connection to a fork server that is fresh, or whose former job is done."""
        self.job = job
        self.stopping = False
        self.over = False
        self._connection = connection
        self._rest = bytearray()
        connection.setblocking(True)
        connection.sendall(line(job))
        connection.setblocking(False)

    def fileno(self) -> int:
        """For selectors."""
        return self._connection.fileno()

    def stop(self) -> None:
        """Ask the work to end, by SIGTERM and soon after by SIGKILL; it is over when `over` says so."""
        if not self.stopping:
            self.stopping = True
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)

    def followed_by(self, job: Job) -> "Work | None":
        """Another job in the same process, after this one is done; None if the process has ended."""
        try:
            self._connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:  # It has said no last word, so it waits.
            with contextlib.suppress(OSError):
                return Work(job, self._connection)
        except OSError:
            pass
        return None

    def close(self) -> None:
        """Let the process go."""
        self._connection.close()

    def read(self) -> list[Message]:
        """What the work has said since; sets `over` when its process, or the fork server, has ended."""
        try:
            content = self._connection.recv(1 << 20)
        except BlockingIOError:
            return []
        except OSError:
            content = b""
        if not content:
            self.over = True
            self._connection.close()
        self._rest += content
        if b"\n" not in content:
            return []  # A long message comes in many pieces.
        *lines, self._rest = self._rest.split(b"\n")
        messages = []
        for text in filter(None, lines):
            try:
                messages.append(Message.model_validate_json(text))
            except ValidationError:
                _log.warning("the work died within a message: %r", text[:100])
        return messages


class Supervisor:
    """Starts work on a shared fork server, or on one of the runner's own.

    The process of work that is done is kept for the next job. It ends, as does a fork server of the runner's own, when there
    has been no work for long.
    """

    def __init__(self, own: Path, shared: Path | None, keep_seconds: float) -> None:
        """Prepare to start work.

        Args:
            own: Where the runner's own fork server shall listen.
            shared: Where a shared one listens.
            keep_seconds: How long processes are kept after the last work, in seconds.
        """
        self._own = own
        self._shared = shared
        self._shared_until = time.monotonic() + _SHARED_START_SECONDS
        self._keep_seconds = keep_seconds
        self._server: subprocess.Popen[bytes] | None = None
        self._done: Work | None = None
        self._last_work = time.monotonic()
        self._not_before = 0.0

    def start(self, job: Job) -> Work | None:
        """Start a job; None if the fork server is not ready yet, so try again soon.

        Raises:
            StoreFailed: the fork server cannot be started now.
        """
        self._last_work = time.monotonic()
        if self._done is not None:
            work = self._done.followed_by(job)
            if work is None:
                self._done.close()
            self._done = None
            if work is not None:
                return work
        if self._shared is not None:
            work = _connected(job, self._shared)
            if work is not None:
                self._shared_until = 0.0
                return work
            if time.monotonic() < self._shared_until:
                return None
            _log.warning("nobody listens at %s; starting a fork server of our own", self._shared)
            self._shared = None
        if self._server is None:
            if time.monotonic() < self._not_before:
                return None
            self._not_before = time.monotonic() + _RESTART_SECONDS
            command = python("edge.workers", "--socket", self._own, "--parent", os.getpid())
            try:
                self._own.unlink(missing_ok=True)
                self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment())
            except OSError as error:
                raise StoreFailed(f"Cannot start a fork server: {error.strerror}. It is tried again.") from error
            return None
        return _connected(job, self._own)

    def keep(self, work: Work) -> None:
        """Keep the process of work that is done for the next job."""
        self._done = work

    def tend(self, *, needed: bool) -> None:
        """Bury a fork server that died, and end processes that have been idle for long."""
        if needed:
            self._last_work = time.monotonic()
        idle = time.monotonic() - self._last_work > self._keep_seconds
        if idle:
            self._let_go()
        if self._server is None:
            return
        if self._server.poll() is not None:
            _log.warning("the fork server ended with %s", self._server.returncode)
            self._server = None
            # Its children died with it and, in a container, became ours to reap.
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        elif idle:
            self.end()

    def at_rest(self) -> bool:
        """Whether no process of work that is done is kept, nor a fork server of the runner's own."""
        return self._done is None and self._server is None

    def end(self) -> None:
        """End the own fork server, and all work in it."""
        self._let_go()
        if self._server is not None:
            self._server.terminate()
            try:
                self._server.wait(5)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None

    def _let_go(self) -> None:
        if self._done is not None:
            self._done.close()
            self._done = None


def _connected(job: Job, path: Path) -> Work | None:
    try:
        return Work(job, sockets.connect(path))
    except OSError:
        return None
