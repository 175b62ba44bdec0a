"""What surrounds every pipeline step: its settings, the run's state, and an orderly end however it ends."""

import contextlib
import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloud.datasets import local_folder
from cloud.faults import Faults
from cloud.inboxes import Inboxes
from cloud.runs import events, under_way
from cloud.runs.closing import Closed, close_orders
from cloud.runs.run import Run
from cloud.runs.state import BETWEEN_STEPS, OVER, error_of, put_state, set_state, track_state
from cloud.runs.step_records import RunState
from cloud.settings import Settings
from cloud.tracking import Registration, Relay, TrackingLog, TrackingRecord
from cloud.tracking.faults import MlflowFailed
from cloudedge.errors import Cancelled, CloudedgeError, NotFound, StoreFailed
from cloudedge.files import disk_errors
from cloudedge.processes import Companion, end_with
from cloudedge.store import Store

_TOUCH_SECONDS = 30.0

PARENT_VARIABLE = "CLOUDEDGE_PARENT_PID"
"""Process that a step ends with, if set: on a laptop nothing must outlive `cloudedge run`."""


@dataclass(frozen=True)
class Step:
    """A step at work.

    Attributes:
        resumed: Whether the run had ended before, and this step goes on with it: whoever ended it closed its orders.
    """

    name: str
    settings: Settings
    store: Store
    inboxes: Inboxes
    run: Run
    resumed: bool = False

    @functools.cached_property
    def _relay(self) -> Relay:
        settings = self.settings
        return Relay(self.store, self.run.id, settings.tracking_uri, settings.experiment, settings.run_of_kubeflow)

    def say(self, text: str) -> None:
        """Show progress to whoever reads the step's log; that nobody does any more is no failure of the step."""
        with contextlib.suppress(BrokenPipeError):
            print(f"{datetime.now(UTC):%H:%M:%S}  {text}", flush=True)

    def log(self, action: str, **details: Any) -> None:
        """Add to the operation log."""
        events.record(self.store, self.run.id, f"{self.settings.actor}/{self.name}", action, **details)

    def track(
        self,
        name: str,
        *records: TrackingRecord,
        registration: Registration | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        """Keep figures, and keys of files by name, for MLflow; what was kept under the same name is replaced."""
        TrackingLog(self.store, self.run.id).append(records, name, registration, files)

    def tracked(self, prefix: str) -> int:
        """How often something was kept for MLflow under a name that begins so."""
        return sum(name.startswith(prefix) for name, _ in TrackingLog(self.store, self.run.id).versions())

    def written_at(self, key: str) -> datetime:
        """When an object was written, by the store's clock.

        Raises:
            NotFound: there is none.
        """
        entry = self.store.stat(key)
        if entry is None:
            raise NotFound(f"There is no object {key!r} in the store.")
        return datetime.fromtimestamp(entry.modified, UTC)

    def scratch(self) -> Path:
        """The step's folder for files that the store need not see.

        Raises:
            StoreFailed: it cannot be made.
        """
        folder = self.settings.scratch / self.run.id
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def samples_at(self, address: str) -> Path:
        """The samples at an address, a path or store:NAME, on this machine.

        Raises:
            NotFound: the store has no such dataset.
            StoreFailed: they cannot be brought here.
        """
        return local_folder(self.store, address, self.scratch())

    def relay(self, *, patiently: bool = False) -> str:
        """Carry what is kept to MLflow, where this step knows one; that it takes nothing is no reason to fail.

        Args:
            patiently: Leave MLflow alone if it took nothing a moment ago.

        Returns:
            What MLflow did not take, and why; empty if nothing is known to be left.
        """
        if not self.settings.tracking_uri:
            return ""
        try:
            self._relay.push(patiently=patiently)
        except MlflowFailed as error:
            if not error.again:
                self.say(str(error))
            return str(error)
        except CloudedgeError as error:
            self.say(f"MLflow is told later: {error}")
            return str(error)
        return ""

    def close_orders(self) -> Closed:
        """Take the run's orders out of all inboxes; say which cannot be used.

        Raises:
            StoreFailed: the carrier does not do its work.
        """
        faults = Faults()
        closed = close_orders(self.inboxes, self.run.id, faults)
        faults.tell(lambda fault: self.say(f"If an order of this run is there, it is not closed: {fault}"))
        return closed

    def stop_if_cancelled(self) -> None:
        """Raise if somebody cancelled the run.

        Raises:
            Cancelled: they did.
        """
        state = self.run.cancelled()
        if state:
            raise error_of(self.run.id, state)


@contextmanager
def step(run_id: str, name: str, *, begins: bool = False) -> Iterator[Step]:
    """Do one step of a run; whatever goes wrong is written into the run's state, and no edge works on for nothing.

    Args:
        run_id: Run.
        name: Of the step.
        begins: Whether it begins the run, and says itself that it runs.

    Raises:
        Cancelled: the run was cancelled before.
        NotFound: it was deleted.
    """
    _end_with_parent()
    settings = Settings()
    store = settings.open_store()
    work = Step(name, settings, store, settings.open_inboxes(), Run(store, run_id))
    started = time.monotonic()
    with _termination_raises() as ignore_termination:
        try:
            with _signs_of_life(work):
                if not begins:
                    # Whoever deletes it says so and then looks for signs of life: one of the two sees the other.
                    work.run.require_not_deleted()
                work.stop_if_cancelled()
                work = replace(work, resumed=not begins and _goes_on(work.run))
                yield work
                # What was ordered while somebody cancelled the run is closed by the same way out as any failure.
                work.stop_if_cancelled()
            work.relay(patiently=True)
        except BaseException as error:
            ignore_termination()
            _fail(work, error)
            work.relay()
            raise
    seconds = time.monotonic() - started
    work.say(f"{name} took {seconds:.1f} s")
    work.log("step-done", step=name, seconds=round(seconds, 3))


def _goes_on(run: Run) -> bool:
    """Have a run run again that a step had ended which is now repeated, as a cluster does by itself; whether it had ended."""
    state = run.state()
    if state is None or state.state not in ("failed", "stopped"):
        return False
    return set_state(run, RunState(state="running", at=datetime.now(UTC)))


def _fail(work: Step, error: BaseException) -> None:
    if isinstance(error, CloudedgeError):
        state = RunState(state="failed", message=str(error), exit_code=error.exit_code, at=datetime.now(UTC))
    elif isinstance(error, Exception):
        message = f"{work.name} broke: {type(error).__name__}: {error}"
        state = RunState(state="failed", message=message, exit_code=1, at=datetime.now(UTC))
    else:
        state = RunState(state="stopped", message=f"{work.name} was terminated.", exit_code=130, at=datetime.now(UTC))
    # What counts comes first, as a step that is terminated has half a second left, and one that fails does not keep the others.
    written = False
    if not isinstance(error, Cancelled):  # Whoever cancelled it has written so.
        with _said(work):
            written = put_state(work.run, state)
    details: dict[str, Any] = {"message": state.message}
    with _said(work):
        details.update(work.close_orders().details)
    if not isinstance(error, Cancelled):
        with _said(work):
            if written:
                track_state(work.run, state)
            work.log(state.state, **details)
    with _said(work):
        work.store.put(work.run.key("alive"), OVER)


@contextmanager
def _said(work: Step) -> Iterator[None]:
    try:
        yield
    except CloudedgeError as error:
        work.say(f"The run's end could not be recorded: {error}")


@contextmanager
def _signs_of_life(work: Step) -> Iterator[None]:
    """Tell the reaper, now and again and again, that somebody works on this run."""
    over = threading.Event()

    def touch() -> None:
        while not over.wait(_TOUCH_SECONDS):
            with contextlib.suppress(StoreFailed):  # The step itself will say that the store is away.
                work.store.put(work.run.key("alive"), b"")

    under_way.enter(work.store, work.run.id)
    work.store.put(work.run.key("alive"), b"")
    signs = Companion(touch, "signs-of-life")
    try:
        yield
    finally:
        over.set()
        signs.wait()
    work.store.put(work.run.key("alive"), BETWEEN_STEPS)


@contextmanager
def _termination_raises() -> Iterator[Callable[[], None]]:
    """Have SIGTERM raise SystemExit, once: a second one, which Argo sends at the same moment, must not end the way out.

    Yields:
        Has it ignored from now on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def ignore() -> None:
        with contextlib.suppress(SystemExit):  # One that came just now is heard here.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def stop(number: int, _: object) -> None:
        ignore()
        raise SystemExit(128 + number)

    former = signal.signal(signal.SIGTERM, stop)
    try:
        yield ignore
    finally:
        signal.signal(signal.SIGTERM, former)


@functools.cache
def _end_with_parent() -> None:
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is not None and int(parent) != os.getpid():
        end_with(int(parent))
