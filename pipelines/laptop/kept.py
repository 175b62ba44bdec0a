"""What a laptop's runs have at work, kept from one run to the next: a second one begins at once.

These are kfp's engine with its fork server, the edges' fork server, and the runners; each ends with this process. They are let
go when nobody has used them for long, and as soon as somebody else, such as `cloudedge run` in a terminal, begins a run in the
same home: an edge has one runner.
"""

import os
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cloudedge.errors import WorkFailed
from cloudedge.files import disk_errors
from cloudedge.interpreter import python
from pipelines.laptop.engine import Engine, engine_command
from pipelines.laptop.home import Home
from pipelines.laptop.processes import Program, Runners
from pipelines.systems import System

KEEP_SECONDS = 600.0
"""Stay of what nobody uses: it costs memory, and a battery a little."""

_LOOK_SECONDS = 0.2
_POLL_SECONDS = "0.05"
"""A laptop's runners look often: a look costs microseconds, and every round waits for one."""


class Kept:
    """What the runs of one home have at work.

    Attributes:
        home: The home.
    """

    def __init__(self, home: Home) -> None:
        """Nothing is started yet."""
        self.home = home
        self._runners = Runners()
        self._folders: dict[str, Mapping[str, Path]] = {}
        """Folders of samples by edge, of each run under way."""
        self._runs: set[str] = set()
        self._engines: list[Engine] = []
        self._idle: list[Engine] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._changes = threading.Condition()
        """Of what follows, and of the processes while no run is under way."""
        self._used = False
        self._used_at = time.monotonic()
        self._closing = False
        self._lock_seen: object = None
        self._watch: threading.Thread | None = None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have the home for runs.

        Raises:
            Conflict: somebody else has.
        """
        with self.home.alone():
            with self._changes:
                self._used, self._closing = True, False
            try:
                yield
            finally:
                with self._changes:
                    self._used, self._used_at, self._lock_seen = False, time.monotonic(), self.home.lock_state()
                    self._changes.notify_all()
                    if self._watch is None and not self._closing:
                        self._watch = threading.Thread(target=self._let_go_in_time, name="kept", daemon=True)
                        self._watch.start()

    @property
    def runs(self) -> Collection[str]:
        """Ids of the runs under way."""
        return self._runs

    @contextmanager
    def under_way(self, run: str) -> Iterator[None]:
        """Count a run among those under way."""
        self._runs.add(run)
        try:
            yield
        finally:
            self._runs.remove(run)

    @contextmanager
    def engine(self, system: System) -> Iterator[Engine]:
        """An engine of kfp for a run, loading if none was idle. To be used while the home is had alone."""
        command = engine_command(system.modules)
        engine = next((engine for engine in self._idle if engine.command == command), None)
        if engine is None:
            engine = Engine(command, self._temporary())
            self._engines.append(engine)
        else:
            self._idle.remove(engine)
        try:
            yield engine
        finally:
            self._idle.append(engine)

    @contextmanager
    def runners(self, run: str, folders: Mapping[str, Path]) -> Iterator[Runners]:
        """Runners for a run, the former ones where nothing of them has changed. To be used while the home is had alone.

        Args:
            run: Id of the run, which their logs are kept with unless they have those of another run that is under way.
            folders: Folder of samples by edge.

        Raises:
            StoreFailed: the disk does not do its work.
            WorkFailed: this machine starts no more processes.
        """
        alone = not self._folders
        self._folders[run] = folders
        try:
            programs = self._programs({edge: folder for each in self._folders.values() for edge, folder in each.items()})
            self._runners.have(programs, self.home.logs(run), move=alone)
            yield self._runners
        finally:
            del self._folders[run]

    def _programs(self, folders: Mapping[str, Path]) -> dict[str, Program]:
        workers = self._temporary() / "workers"
        parent = ("--parent", os.getpid())
        programs = {"workers": Program(python("edge.workers", "--socket", workers, *parent))}
        for edge, samples in folders.items():
            state = self.home.edge_state(edge)
            with disk_errors(state):
                state.mkdir(parents=True, exist_ok=True)
            command = python(
                "edge.runner",
                *("--inbox", self.home.inboxes.root / edge),
                *("--state", state),
                *("--samples", samples, "--mirror-samples"),
                *("--files-root", self.home.store.root),
                *("--workers", workers),
                *("--poll-seconds", _POLL_SECONDS),
                *parent,
            )
            programs[edge] = Program(command, state.stat().st_ino)
        return programs

    def require_open(self) -> None:
        """Make sure that the run under way may go on.

        Raises:
            WorkFailed: somebody closed this.
        """
        if self._closing:
            raise WorkFailed("The run was stopped, as its laptop was closed. The same call goes on where the run was.")

    def close(self) -> None:
        """End all processes, and the run that is under way; a further run starts them anew."""
        with self._changes:
            self._closing = True
            self._changes.notify_all()
            self._changes.wait_for(lambda: not self._used)
            self._let_go()

    def _let_go_in_time(self) -> None:
        with self._changes:
            while not self._closing and (self._used or not self._is_to_go()):
                self._changes.wait(_LOOK_SECONDS)
            self._let_go()
            self._watch = None

    def _let_go(self) -> None:
        for engine in self._engines:
            engine.end()
        self._runners.end()
        if self._folder is not None:
            self._folder.cleanup()
        self._engines.clear()
        self._idle.clear()
        self._folder = None

    def _is_to_go(self) -> bool:
        return time.monotonic() - self._used_at > KEEP_SECONDS or self.home.lock_state() != self._lock_seen

    def _temporary(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="cloudedge-")
        return Path(self._folder.name)
