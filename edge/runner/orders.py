"""Decides what becomes of each order, and has it in the ledger before it has an effect anywhere else."""

import logging
import random
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from cloudedge import memory
from cloudedge.documents import Manifest, Order, OutputFile, Phase, Train, WorkError, parse
from cloudedge.errors import InvalidDocument, StoreFailed
from cloudedge.files import atomic_write
from cloudedge.names import sha256_of
from edge.backoff import pause_seconds
from edge.clock import now
from edge.folders import Folders
from edge.messages import Job, Message
from edge.runner.inbox import Wanted
from edge.runner.ledger import Entry, Ledger
from edge.runner.outbox import SendResult
from edge.runner.points import told_of, windowed, write_history
from edge.runner.reconciling import reconcile
from edge.runner.settings import Settings
from edge.runner.supervisor import Supervisor, Work
from edge.runner.tidying import tidy
from edge.runner.uplink import Uplink

_log = logging.getLogger(__name__)

MOST_CRASHES = 3
"""Deaths of an order's work in a row, without another point in between, that make it fail."""

AT_WORK = (Phase.ACCEPTED, Phase.FETCHING, Phase.COLLECTING, Phase.TRAINING, Phase.EVALUATING, Phase.DEPLOYING)
"""Phases of orders that are worked on, or wait for that."""

_KEEP_PROGRESS_SECONDS = 5.0
"""Mere progress is kept in the ledger no more often: a disk that is written to at each batch does not last."""


class _Pause(NamedTuple):
    """Until when an order's work is not tried again, by the monotonic clock, and how often in a row it was interrupted."""

    until: float
    interruptions: int


_NO_PAUSE = _Pause(0.0, 0)


class Orders:
    """The orders that are not closed, and the work on one of them.

    Each method that raises StoreFailed has changed nothing; called again, it decides the same.

    Attributes:
        work: The work going on, which may still be dying.
    """

    def __init__(self, settings: Settings, ledger: Ledger, uplink: Uplink) -> None:
        """Take up what the ledger holds.

        Raises:
            StoreFailed: the ledger cannot be read.
        """
        self.work: Work | None = None
        self._settings = settings
        self._folders = Folders(settings.state)
        self._ledger = ledger
        self._uplink = uplink
        self._supervisor = Supervisor(self._folders.socket, settings.workers, settings.keep_workers_seconds)
        self._generation = int(ledger.fact("generation") or -1)
        self._edge = ledger.fact("edge")
        self._open = {entry.order.id: entry for entry in ledger.entries()}
        self._pauses: dict[str, _Pause] = {}
        self._kept_at = 0.0
        for entry in self._open.values():
            self._send_files(entry)
        self._tidy()

    def follow(self, inbox: Wanted) -> None:
        """Put an inbox into effect, unless it is older than one that was.

        Raises:
            InvalidDocument: it is another edge's.
            StoreFailed: the ledger cannot be written.
        """
        if self._edge not in (None, inbox.edge):
            remedy = f"the state directory belongs to the edge {self._edge}; give each edge its own"
            raise InvalidDocument("The inbox is another edge's:", [f"edge: found {inbox.edge!r}; {remedy}"])
        if inbox.generation < self._generation:
            _log.warning("an inbox of generation %d, older than %d, is ignored", inbox.generation, self._generation)
            return
        # The same one again changes nothing, unless an earlier version of this software could not read all of it.
        changes = reconcile(inbox, self._open, self._ledger.issued_at, now(), self._ledger.samples())
        self._ledger.apply(
            inbox.generation,
            inbox.edge,
            changes.accepted,
            changes.renewed,
            changes.cancelled,
            changes.unasked,
            changes.superseded,
        )
        self._generation, self._edge = inbox.generation, inbox.edge
        for text, order_id in changes.remarks:
            _log.warning("%s", text, extra={"order": order_id})
        if inbox.unreadable:
            self._ledger.remember("inbox_fault", "\n".join(why for _, why in inbox.unreadable))
        for order_id in changes.superseded:
            _log.warning("issued again since it was last accepted; done anew", extra={"order": order_id})
            self._stop_work(order_id)
            self._uplink.end(order_id)
            self._open.pop(order_id, None)
            self._pauses.pop(order_id, None)
        for order in changes.renewed:
            self._open[order.id] = replace(self._open[order.id], order=order)
            self._send_files(self._open[order.id])
            self._pauses.pop(order.id, None)
            if self._open[order.id].phase is Phase.FETCHING:
                self._stop_work(order.id)  # It goes on at once, with the new URLs.
        for entry in changes.cancelled:
            _log.info("cancelled", extra={"order": entry.order.id})
            self._over(entry)
        for entry in changes.accepted:
            if isinstance(entry.order, Order):
                _log.info("%s: %s", entry.phase, entry.order.work.kind, extra={"order": entry.order.id})
            else:
                _log.error(
                    "refused: %s", _one_line(entry.error.message if entry.error else ""), extra={"order": entry.order.id}
                )
            self._update(entry, urgent=True)
        for order_id in changes.unasked:
            self._forget(order_id)

    def start_work(self) -> None:
        """Begin the first order that is to be worked on and was not interrupted just now, if nothing goes on.

        Raises:
            StoreFailed: no process can be started now.
        """
        wanted = self._at_work()
        self._supervisor.tend(needed=self.work is not None or bool(wanted))
        # An order that cannot go on for now, as its store is away, holds up no other one, but those that must not overtake it.
        entry = min(in_turn(wanted), key=self._paused_until, default=None)
        ready = entry is not None and self._paused_until(entry) <= time.monotonic()
        if self.work is None and entry is not None and isinstance(entry.order, Order) and ready:
            samples = self._settings.samples
            self.work = self._supervisor.start(
                Job(
                    order=entry.order,
                    begun=entry.phase is not Phase.ACCEPTED,
                    points=entry.points,
                    state=str(self._settings.state),
                    samples=str(samples) if samples else None,
                    mirror_samples=self._settings.mirror_samples,
                    file_roots=tuple(str(root) for root in self._settings.file_roots),
                )
            )

    def _paused_until(self, entry: Entry) -> float:
        return self._pauses.get(entry.order.id, _NO_PAUSE).until

    def end_overdue(self) -> None:
        """Fail orders whose time is up, or whose work cannot be read any more.

        Raises:
            StoreFailed: the ledger cannot be written.
        """
        for entry in self._at_work():
            if not isinstance(entry.order, Order):
                message = "This order was accepted, and its work cannot be read any more. Install its kind's package again."
                self._fail(entry, WorkError(kind=InvalidDocument.__name__, message=message))
            elif entry.accepted.seconds_until(now()) >= (limit := entry.order.time_limit_seconds):
                message = f"The deadline passed: the work did not end within {limit:g} s of its acceptance. Allow more time."
                self._fail(entry, WorkError(kind="deadline", message=message))

    def report(self) -> None:
        """Send the reports that are due."""
        for entry in self._open.values():
            self._uplink.report(entry)

    def at_safe_point(self) -> bool:
        """Whether ending now loses no work: a fetch or a collection goes on where it was, an epoch would begin anew."""
        entry = self._worked_on()
        return entry is None or entry.phase not in (Phase.TRAINING, Phase.EVALUATING)

    def at_rest(self) -> bool:
        """Whether no work is under way, and no process of it kept."""
        return self.work is None and self._supervisor.at_rest()

    def end(self) -> None:
        """Stop what goes on; the next start takes it up."""
        if self.work is not None:
            self.work.stop()
        self._supervisor.end()

    def end_work(self) -> None:
        """Take note that the process at work has ended.

        Raises:
            StoreFailed: the ledger cannot be written.
        """
        entry = self._worked_on()
        if entry is not None:
            self._crashed(entry, "its fork server ended")
        self.work = None
        self._tidy()

    def hear(self, message: Message) -> None:
        """Act on what the work says.

        Raises:
            StoreFailed: the ledger cannot be written.
        """
        entry = self._worked_on()
        if entry is None:
            return
        if message.interrupted is not None:
            _log.warning("interrupted, tried again: %s", message.interrupted.message, extra={"order": entry.order.id})
            before = self._pauses.get(entry.order.id, _NO_PAUSE).interruptions
            pause = pause_seconds(before, random.random())
            with suppress(StoreFailed):  # It may be the full disk that holds it up; the reports say so in any case.
                self._ledger.hold_up(entry.order.id, message.interrupted.message, before + 1, pause)
            self._pauses[entry.order.id] = _Pause(time.monotonic() + pause, before + 1)
            self._update(replace(entry, trouble=message.interrupted), urgent=True)
            self._stop_work(entry.order.id)
        elif message.failed is not None:
            self._fail(entry, message.failed)
        elif message.done:
            self._finish(entry)
        elif message.exit is not None:
            self._crashed(entry, _how(message.exit))
        else:
            self._go_on(entry, message)

    def _go_on(self, entry: Entry, message: Message) -> None:
        """Take note of how work goes on. Of a batch the next report tells, the ledger now and then; the rest it keeps first."""
        if message.phase is not None:
            entry = replace(entry, phase=message.phase)
        if message.progress is not None:
            entry = replace(entry, progress=message.progress)
        if message.gauges is not None:
            entry = replace(entry, gauges=message.gauges)
        last = entry.points[-1].sequence if entry.points else -1
        fresh = tuple(point for point in message.points or () if point.sequence > last)
        if fresh or message.phase not in (None, Phase.FETCHING):  # The store has given what was asked for.
            self._pauses.pop(entry.order.id, None)
            entry = replace(entry, trouble=None)
        if fresh:
            points = windowed((*entry.points, *fresh), told_of(entry.order, entry.phase))
            entry = replace(entry, points=points, crashes=0)
            self._ledger.add_points(entry, fresh)
        elif message.phase is not None:
            self._ledger.stand(entry)
        elif time.monotonic() >= self._kept_at + _KEEP_PROGRESS_SECONDS:
            self._kept_at = time.monotonic()
            with suppress(StoreFailed):
                self._ledger.stand(entry)
        self._update(entry, urgent=bool(fresh) or message.phase is not None)

    def _finish(self, entry: Entry) -> None:
        path = self._folders.manifest(entry.order.id)
        try:
            manifest = self._complete(parse(Manifest, path.read_bytes(), str(path)), entry)
        except (OSError, InvalidDocument) as error:
            self._fail(entry, WorkError(kind="WorkFailed", message=f"The work's manifest cannot be read: {error}"))
            return
        files = [(name, path.with_name(_file_name(file, entry))) for name, file in manifest.outputs.items()]
        files.append(("manifest", path))
        entry = replace(entry, phase=Phase.UPLOADING, crashes=0, trouble=None)
        self._ledger.finish_work(entry, manifest, files)
        if self.work is not None:
            self._supervisor.keep(self.work)
            self.work = None
        _log.info("done after %.2f s; uploading", manifest.seconds, extra={"order": entry.order.id})
        self._update(entry, urgent=True)
        self._send_files(entry)

    def _complete(self, manifest: Manifest, entry: Entry) -> Manifest:
        """Add the points to what the work has made, in the form that the order's cloud reads; again, it changes nothing.

        Raises:
            StoreFailed: the disk refuses.
        """
        order, path = entry.order, self._folders.manifest(entry.order.id)
        if not isinstance(order, Order) or manifest.schema_version == 1:  # It is complete, or of a runner of that version.
            return manifest
        if entry.points:
            changes: dict[str, object] = {"points": entry.points[-1].sequence + 1}
            if order.history is None:
                changes["history"] = entry.points
            else:
                history = self._folders.history(order.id)
                write_history(history, order.id, self._ledger.history(order.id))
                file = OutputFile(file=history.name, sha256=sha256_of(history), size=history.stat().st_size)
                changes["outputs"] = {**manifest.outputs, "history": file}
            manifest = manifest.model_copy(update=changes)
        atomic_write(path, manifest.to_json_for(order))
        return manifest

    def _crashed(self, entry: Entry, how: str) -> None:
        entry = replace(entry, crashes=entry.crashes + 1)
        error = WorkError(kind="WorkFailed", message=f"The work died: {how}. It is tried again from its checkpoint.")
        if entry.crashes >= MOST_CRASHES:
            hint = "If memory ran out, lower the batch size or take a smaller model."
            self._fail(entry, WorkError(kind="WorkFailed", message=f"The work died {entry.crashes} times: {how}. {hint}"))
            return
        _log.warning("%s", error.message, extra={"order": entry.order.id})
        self._ledger.stand(entry)
        self._update(replace(entry, trouble=error), urgent=True)
        self._stop_work(entry.order.id)

    def _fail(self, entry: Entry, error: WorkError) -> None:
        _log.error("failed: %s", _one_line(error.message), extra={"order": entry.order.id})
        entry = replace(entry, phase=Phase.FAILED, error=error, trouble=None)
        self._ledger.stand(entry)
        self._over(entry)

    def take_note(self, outcome: SendResult) -> None:
        """Act on what became of something sent.

        Raises:
            StoreFailed: the ledger cannot be written.
        """
        order_id, error = outcome.order_id, outcome.error
        entry = self._open.get(order_id)
        if error is not None:
            _log.warning("the %s was not sent: %s", outcome.name, _one_line(error), extra={"order": order_id})
        if entry is None:
            return
        if outcome.name == "last report":
            if entry.phase.over and (error is None or outcome.given_up):
                self._ledger.close(order_id)
                self._forget(order_id)
        elif outcome.name == "report" or entry.phase is not Phase.UPLOADING:
            return
        elif error is None:
            if outcome.name == "manifest":
                entry = replace(entry, phase=Phase.DONE)
            entry = replace(entry, trouble=None)
            self._ledger.uploaded(entry, outcome.name)
            if entry.phase.over:
                _log.info("uploaded", extra={"order": order_id})
                self._over(entry)
        elif outcome.given_up:
            self._fail(entry, WorkError.of(error))
        else:
            self._ledger.upload_failed(order_id, outcome.name, str(error), outcome.again_in)
            self._update(replace(entry, trouble=WorkError.of(error)), urgent=False)

    def _at_work(self) -> list[Entry]:
        return [entry for entry in self._open.values() if entry.phase in AT_WORK]

    def _update(self, entry: Entry, *, urgent: bool) -> None:
        self._open[entry.order.id] = entry
        self._uplink.changed(entry.order.id, urgent=urgent)

    def _send_files(self, entry: Entry) -> None:
        if entry.phase is Phase.UPLOADING:
            self._uplink.send(entry, self._ledger.uploads(entry.order.id))

    def _stop_work(self, order_id: str) -> None:
        if self.work is not None and self.work.job.order.id == order_id:
            self.work.stop()

    def _over(self, entry: Entry) -> None:
        """Stop all that goes on for an order. It is closed once the cloud has its last report, with more points than others."""
        entry = replace(entry, points=self._ledger.points(entry.order.id, told_of(entry.order, entry.phase)))
        self._stop_work(entry.order.id)
        self._pauses.pop(entry.order.id, None)
        self._uplink.keep_files(entry.order.id)
        self._update(entry, urgent=True)

    def _forget(self, order_id: str) -> None:
        self._uplink.end(order_id)
        self._open.pop(order_id, None)
        self._tidy()
        if not self._open:
            memory.release()

    def _tidy(self) -> None:
        busy = {*self._open, *([self.work.job.order.id] if self.work is not None else [])}
        tidy(self._folders, self._ledger, busy, self._settings.keep_models)

    def _worked_on(self) -> Entry | None:
        """The order at work, if its work is still wanted."""
        entry = self._open.get(self.work.job.order.id) if self.work is not None and not self.work.stopping else None
        return entry if entry is not None and entry.phase in AT_WORK else None


def in_turn(wanted: Iterable[Entry]) -> Iterator[Entry]:
    """Those before which no other one must be done."""
    first: set[str] = set()
    for entry in wanted:
        work = entry.order.work if isinstance(entry.order, Order) else None
        if work is None or not work.in_order or work.kind not in first:
            yield entry
        if work is not None:
            first.add(work.kind)


def _file_name(file: OutputFile, entry: Entry) -> str:
    """Name of a file that work made. Up to version 0.1 no manifest said it, as it was the order's."""
    asked = entry.order.work if isinstance(entry.order, Order) else None
    if "file" not in file.model_fields_set and isinstance(asked, Train):
        return asked.model_file_name
    return file.file


def _how(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return f"{name} killed it" + (", as happens when memory runs out" if name == "SIGKILL" else "")
    return f"its process ended with {code}"


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
