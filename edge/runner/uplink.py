"""What the runner tells the cloud, and when: reports while orders are open, files when work is done."""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cloudedge import __version__
from cloudedge.documents import Order, Report
from edge.runner.ledger import Entry, Upload
from edge.runner.outbox import Sender, SendResult, Transfer

if TYPE_CHECKING:
    from cloudedge.transport import Transport

HEARTBEAT_SECONDS = 10.0
"""An open order is reported at least this often."""

_GATHER_SECONDS = 0.1
"""Phases and points that follow each other faster than this share a report."""


@dataclass
class _Told:
    """What was told of an order; `at` is of the monotonic clock."""

    at: float = float("-inf")
    pending: bool = True
    urgent: bool = True


class Uplink:
    """Sends what the runner tells; what became of it stands in `outcomes`, which the senders' threads fill."""

    def __init__(self, file_roots: Sequence[Path], report_seconds: float, incarnation: str, sequence: int, wake: int) -> None:
        """Start the senders.

        Args:
            file_roots: Folders below which file:// URLs are accepted.
            report_seconds: Least time between two reports that tell only of batches, in seconds.
            incarnation: The ledger's.
            sequence: Below the sequence of every report to come, above all earlier ones of this incarnation.
            wake: File descriptor that gets a byte whenever there is an outcome.
        """
        self.outcomes: deque[SendResult] = deque()
        self._file_roots = file_roots
        self._report_seconds = report_seconds
        self._incarnation = incarnation
        self._sequence = sequence
        self._wake = wake
        self._told: dict[str, _Told] = {}
        transport = _once(self._make_transport)
        self._reports = Sender("reports", transport, self._heard)
        self._files = Sender("files", transport, self._heard)

    def changed(self, order_id: str, *, urgent: bool) -> None:
        """Report an order soon, or when the next report is due."""
        told = self._told.setdefault(order_id, _Told())
        told.urgent = urgent or (told.pending and told.urgent)
        told.pending = True

    def report(self, entry: Entry) -> None:
        """Send a report on an order if one is due."""
        told = self._told.setdefault(entry.order.id, _Told())
        if not told.pending:
            pause = HEARTBEAT_SECONDS
        elif entry.phase.over:
            pause = 0.0
        else:
            pause = _GATHER_SECONDS if told.urgent else self._report_seconds
        if time.monotonic() - told.at < pause:
            return
        self._sequence += 1
        name = "last report" if entry.phase.over else "report"
        content = _written(entry, self._incarnation, self._sequence)
        self._reports.put(entry.order.id, [Transfer(name, entry.order.report, content)])
        told.at, told.pending = time.monotonic(), False

    def send(self, entry: Entry, uploads: Sequence[Upload]) -> None:
        """Send the files of an order, with the order's newest URLs."""
        if not isinstance(entry.order, Order):
            return
        targets = {**entry.order.outputs, "history": entry.order.history, "manifest": entry.order.manifest}
        transfers = [Transfer(upload.name, target, upload.path) for upload in uploads if (target := targets.get(upload.name))]
        self._files.put(entry.order.id, transfers)

    def keep_files(self, order_id: str) -> None:
        """Send no more files of an order."""
        self._files.drop(order_id)

    def end(self, order_id: str) -> None:
        """Say nothing more of an order."""
        self._reports.drop(order_id)
        self._files.drop(order_id)
        self._told.pop(order_id, None)

    def _heard(self, outcome: SendResult) -> None:
        self.outcomes.append(outcome)
        with contextlib.suppress(BlockingIOError):  # A full pipe wakes the runner as well.
            os.write(self._wake, b"\0")

    def _make_transport(self) -> "Transport":
        from cloudedge.transport import Transport  # Not before there is something to send: an idle runner stays small.

        return Transport(self._file_roots)


def _written(entry: Entry, incarnation: str, sequence: int) -> bytes:
    report = Report(
        order=entry.order.id,
        edge=entry.order.edge,
        incarnation=incarnation,
        sequence=sequence,
        phase=entry.phase,
        progress=entry.progress,
        gauges=dict(entry.gauges),
        points=entry.points,
        heartbeat_at=datetime.now(UTC),
        runner_version=__version__,
        error=entry.error or entry.trouble,
    )
    content = report.to_json_for(entry.order)
    while len(content) > entry.order.report.max_bytes and len(report.points) > 1:
        # Points with many values: the first one, and half of those behind it.
        first, *others = report.points
        report = report.model_copy(update={"points": (first, *others[len(others) // 2 + 1 :])})
        content = report.to_json_for(entry.order)
    return content


def _once(make: "Callable[[], Transport]") -> "Callable[[], Transport]":
    """Make the transport when it is first asked for, and then keep it; both senders ask."""
    lock = threading.Lock()
    made: list[Transport] = []

    def transport() -> "Transport":
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return transport
