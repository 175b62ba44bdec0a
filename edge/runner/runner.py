"""The runner: does what its inbox says, one order at a time, and survives whatever happens to it, its work or the cloud.

One thread decides and writes the ledger (`edge.runner.orders`). Work runs in other processes, the outbox's threads only send,
and both answer by events, which are heard in turns. What could not be written, on a full disk say, is decided again in the next
turn; so killing this process loses nothing.
"""

import argparse
import logging
import os
import selectors
import signal
import sys
import time
from pathlib import Path

from cloudedge import __version__, memory
from cloudedge.errors import EXIT_INTERRUPTED, CloudedgeError, InvalidDocument, StoreFailed
from cloudedge.places import is_utf8, shown_path
from edge.folders import Folders
from edge.line.settings import have_line
from edge.lock import locked
from edge.messages import Message
from edge.probes.telemetry import PERIOD_SECONDS
from edge.runner.inbox import InboxDirectory
from edge.runner.ledger import Ledger
from edge.runner.line import LineService
from edge.runner.observing import Observer
from edge.runner.orders import Orders
from edge.runner.settings import Settings
from edge.runner.supervisor import Work
from edge.runner.uplink import Uplink

_log = logging.getLogger(__name__)

_REPORTS_PER_START = 1 << 32
_DISK_PAUSE_SECONDS = 1.0


class Runner:
    """The one process that owns a state directory."""

    def __init__(self, settings: Settings) -> None:
        """Open the ledger and take up what was left.

        Raises:
            Conflict: another runner has this state, or another version wrote it.
            StoreFailed: the state cannot be written.
        """
        self._settings = settings
        folders = Folders(settings.state)
        self._lock = locked(folders.lock)
        self._ledger = Ledger(folders.ledger)
        self._ledger.put_away_epochs()
        starts = int(self._ledger.fact("starts") or 0) + 1
        self._ledger.remember("starts", str(starts))

        self._ending: int | None = None
        self._selector = selectors.DefaultSelector()
        self._wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._heed_signals(woken)
        self._heed_parent()

        self._inbox = InboxDirectory(settings.inbox)
        self._uplink = Uplink(
            settings.file_roots, settings.report_seconds, self._ledger.incarnation(), starts * _REPORTS_PER_START, woken
        )
        self._orders = Orders(settings, self._ledger, self._uplink)
        self._observer = Observer(folders, settings.telemetry_seconds)
        self._line = LineService(folders)
        if settings.line:
            have_line(folders, settings.line)
        self._listened_to: Work | None = None
        self._unheard: list[Message] = []

    def run(self) -> int:
        """Work until told to end, or until the inbox has died; returns the exit code."""
        _log.info("runner %s at work in %s", __version__, self._settings.state)
        memory.release()
        try:
            while self._ending is None:
                try:
                    self._turn()
                except StoreFailed as error:
                    _log.error("%s", error)
                    time.sleep(_DISK_PAUSE_SECONDS)
            return self._ending
        finally:
            self._orders.end()
            self._line.end()

    def _turn(self) -> None:
        while self._uplink.outcomes:  # First, as the cloud may have dropped an order because it has its files.
            self._orders.take_note(self._uplink.outcomes[0])
            self._uplink.outcomes.popleft()  # Not before the ledger has it.
        self._look_into_inbox()
        self._hear_work()
        self._orders.end_overdue()
        self._orders.report()
        if self._inbox.dead and self._orders.at_safe_point():
            _log.info("the inbox has died, as its mount does when the node's agent restarts; ending, to be started anew")
            self._ending = 0
            return
        self._orders.start_work()
        self._line.tend()
        self._observer.tend(at_rest=self._orders.at_rest())
        self._wait()

    def _look_into_inbox(self) -> None:
        try:
            inbox = self._inbox.poll()
            if inbox is not None:
                self._orders.follow(inbox)
        except InvalidDocument as error:
            _log.error("the inbox is not followed: %s", " ".join(str(error).split()))
            self._ledger.remember("inbox_fault", str(error))
        except StoreFailed:
            self._inbox.retry()
            raise

    def _hear_work(self) -> None:
        while self._unheard:
            message = self._unheard[0]
            self._orders.hear(message)
            del self._unheard[0]  # Not before the ledger has it.
            if message.points is not None and self._inbox.dead:
                _log.info("the work would go on from here and the inbox has died; ending, to be started anew")
                self._ending = 0
        if self._orders.work is not None and self._orders.work.over:
            self._orders.end_work()

    def _wait(self) -> None:
        """Sleep until something happens, but not beyond the next look into the inbox."""
        if self._listened_to is not self._orders.work:
            if self._listened_to is not None:
                self._selector.unregister(self._listened_to)
            if self._orders.work is not None:
                self._selector.register(self._orders.work, selectors.EVENT_READ)
            self._listened_to = self._orders.work
        for key, _ in self._selector.select(self._settings.poll_seconds):
            if key.fd == self._wake:
                os.read(self._wake, 4096)
            elif isinstance(key.fileobj, Work):
                self._unheard += key.fileobj.read()
            else:
                _log.info("the parent process %s is gone; ending", self._settings.parent)
                self._ending = 0

    def _heed_signals(self, woken: int) -> None:
        def end(number: int, _: object) -> None:
            self._ending = EXIT_INTERRUPTED if number == signal.SIGINT else 0

        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)

    def _heed_parent(self) -> None:
        if self._settings.parent is not None:
            try:
                self._selector.register(os.pidfd_open(self._settings.parent), selectors.EVENT_READ)
            except ProcessLookupError:
                self._ending = 0


def main(arguments: list[str] | None = None) -> int:
    """Run a runner; returns the exit code."""
    memory.share_one_arena()
    settings = _parsed(arguments)
    handler = logging.StreamHandler()
    line = "%(asctime)s %(levelname)s %(order)s %(message)s"
    formatter = logging.Formatter(line, "%Y-%m-%dT%H:%M:%SZ", defaults={"order": "-"})
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        return Runner(settings).run()
    except CloudedgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _parsed(arguments: list[str] | None) -> Settings:
    parser = argparse.ArgumentParser(prog="cloudedge-edge run", description="Do what the cloud asks for, until told to end.")
    add = parser.add_argument
    add("--inbox", type=_path, required=True, metavar="DIR", help="Where the inbox is mounted.")
    add("--state", type=_path, required=True, metavar="DIR", help="The runner's own directory; survives restarts.")
    add("--samples", type=_path, metavar="DIR", help="Where sensors put samples; none: only those added by hand.")
    add("--mirror-samples", action="store_true", help="Forget samples whose files there changed or are gone.")
    add("--files-root", type=_path, action="append", default=[], metavar="DIR", help="Accept file:// URLs below; repeatable.")
    add("--workers", type=_path, metavar="SOCKET", help="A shared fork server; none: its own, while there is work.")
    add("--parent", type=int, metavar="PID", help="End when this process is gone.")
    add("--poll-seconds", type=_positive, default=0.2, metavar="N", help="Time between looks into the inbox (%(default)s).")
    add("--report-seconds", type=_positive, default=1.0, metavar="N", help="Time between reports on batches (%(default)s).")
    add("--keep-workers-seconds", type=_positive, default=300.0, metavar="N", help="Stay of an idle fork server (%(default)s).")
    add(
        "--telemetry-seconds",
        type=_positive,
        default=PERIOD_SECONDS,
        metavar="N",
        help="Time between looks at the device (%(default)s).",
    )
    add("--keep-models", type=int, default=20, metavar="N", help="Trained models whose files are kept (%(default)s).")
    add("--line", default="", metavar="HOST:PORT", help="Be a production line's edge server, which detectors reach there.")
    options = parser.parse_args(arguments)
    return Settings(
        inbox=options.inbox,
        state=options.state.resolve(),
        samples=options.samples.resolve() if options.samples else None,
        mirror_samples=options.mirror_samples,
        file_roots=tuple(root.resolve() for root in options.files_root),
        workers=options.workers,
        parent=options.parent,
        poll_seconds=options.poll_seconds,
        report_seconds=options.report_seconds,
        keep_workers_seconds=options.keep_workers_seconds,
        telemetry_seconds=options.telemetry_seconds,
        keep_models=options.keep_models,
        line=options.line,
    )


def _path(text: str) -> Path:
    if not is_utf8(text):
        raise argparse.ArgumentTypeError(f"{shown_path(text)} is not UTF-8: rename it")
    return Path(text)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no positive number")
    return value
