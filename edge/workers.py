"""The fork server: imports torch once, then gives each piece of work a process of its own within milliseconds.

It must stay single-threaded, because a fork copies only the calling thread and any lock that another one holds stays
locked; so the numeric libraries are told to use one thread before they are loaded, and work sets its own number after the
fork. It never touches CUDA, which does not survive a fork. One connection is one process (`edge.messages`), which does one
job after another, as half of a short job's cost is being born and dying; one that failed ends with its job. Whoever shuts or
loses the other end has ended the process. None outlives the fork server, nor the fork server its parent.
"""

import argparse
import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from cloudedge.documents.base import STORED
from cloudedge.processes import ONE_THREAD
from edge.messages import Job, Message, line
from edge.sockets import listen

GRACE_SECONDS = 2.0
"""What work gets to clean up after SIGTERM, before SIGKILL."""

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str] | None = None) -> int:
    """Serve until the parent ends or SIGTERM comes; returns the exit code."""
    parser = argparse.ArgumentParser(prog="cloudedge-edge workers", description="Fork a process for each piece of work.")
    parser.add_argument("--socket", type=Path, required=True, help="Where to listen; made for this user only.")
    parser.add_argument("--parent", type=int, help="End when this process is gone.")
    options = parser.parse_args(arguments)
    try:
        listener = listen(options.socket)
    except OSError as error:
        print(f"Cannot listen at {options.socket}: {error.strerror}. Choose another --socket.", file=sys.stderr)
        return 5
    try:
        Server(listener, options.parent).serve()
    except ImportError as error:
        print(
            f"No work can be done here: {error}. Install cloudedge with its extra 'edge', which brings torch.", file=sys.stderr
        )
        return 1
    finally:
        with contextlib.suppress(FileNotFoundError):
            options.socket.unlink()
    return 0


@dataclass
class _Child:
    """A process at work; `kill_at` is set once it was asked to end."""

    pid: int
    connection: socket.socket
    kill_at: float | None = None


class Server:
    """Forks a child per connection and reports how each ends."""

    def __init__(self, listener: socket.socket, parent: int | None) -> None:
        """Prepare to serve a listener, until `parent` ends if one is given."""
        self._listener = listener
        self._children: dict[int, _Child] = {}
        self._ending = False
        self._wake, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)
        self._parent: int | None = None
        if parent is not None:
            try:
                self._parent = os.pidfd_open(parent)
                self._poll.register(self._parent, select.POLLIN)
            except ProcessLookupError:
                self._ending = True

    def serve(self) -> None:
        """Load what work needs, then fork until told to end."""
        signal.set_wakeup_fd(self._woken)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the runner decides.
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        if not self._ending:
            _load()
        while not self._ending:
            for descriptor, _ in self._poll.poll(self._patience()):
                if descriptor == self._listener.fileno():
                    self._fork()
                elif descriptor == self._wake:
                    os.read(self._wake, 4096)
                elif descriptor == self._parent:
                    self._ending = True
                else:
                    self._stop(self._children[descriptor])
            self._reap()
            self._kill_overdue()
        for child in self._children.values():
            os.kill(child.pid, signal.SIGKILL)
        for child in self._children.values():
            os.waitpid(child.pid, 0)

    def _end(self, *_: object) -> None:
        self._ending = True

    def _patience(self) -> float | None:
        """Milliseconds until some child has to be killed."""
        times = [child.kill_at for child in self._children.values() if child.kill_at is not None]
        return max(0.0, min(times) - time.monotonic()) * 1000 + 1 if times else None

    def _fork(self) -> None:
        connection, _ = self._listener.accept()
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_child(connection, server)
        self._children[connection.fileno()] = _Child(pid, connection)
        # Not POLLIN: the job is the child's to read. This tells only that the runner has shut its side or is gone.
        self._poll.register(connection, select.POLLRDHUP)

    def _become_child(self, connection: socket.socket, server: int) -> Never:
        code = 1
        try:
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() == server:
                    self._close_what_is_not_ours()
                    _work(connection)
                    code = 0
            except SystemExit as exit:
                code = exit.code if isinstance(exit.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)  # It may come as the work ends by itself.
        finally:
            sys.stderr.flush()
            os._exit(code)  # Never back into the server's loop, and no tearing down of what belongs to it.

    def _close_what_is_not_ours(self) -> None:
        """In a child: close what is the server's and its other children's."""
        for other in (self._listener, *(child.connection for child in self._children.values())):
            other.close()
        for descriptor in (self._wake, self._woken, self._parent):
            if descriptor is not None:
                os.close(descriptor)

    def _stop(self, child: _Child) -> None:
        self._poll.unregister(child.connection)
        child.kill_at = time.monotonic() + GRACE_SECONDS
        os.kill(child.pid, signal.SIGTERM)

    def _reap(self) -> None:
        for descriptor, child in list(self._children.items()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid == 0:
                continue
            if child.kill_at is None:
                self._poll.unregister(child.connection)
            last = b"\n" + line(Message(exit=os.waitstatus_to_exitcode(status)))  # The child may have died within a line.
            with contextlib.suppress(OSError):
                child.connection.send(last, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            child.connection.close()
            del self._children[descriptor]

    def _kill_overdue(self) -> None:
        for child in self._children.values():
            if child.kill_at is not None and time.monotonic() >= child.kill_at:
                os.kill(child.pid, signal.SIGKILL)


def _load() -> None:
    """Import what work needs, torch above all, once for all children."""
    os.environ.update(ONE_THREAD)
    from edge.work import load_kinds

    gc.disable()  # Of what is imported nothing is garbage; looking for it costs a tenth of the time.
    load_kinds()
    gc.enable()
    gc.collect()
    gc.freeze()  # Children share these objects' memory as long as no collection touches it.


def _work(connection: socket.socket) -> None:
    from edge.work import run

    with connection.makefile("rb") as lines:
        for content in lines:
            if not run(Job.model_validate_json(content, context=STORED), lambda message: connection.sendall(line(message))):
                return


if __name__ == "__main__":
    sys.exit(main())
