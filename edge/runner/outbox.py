"""Sends what the cloud shall know, in threads of their own, so that a slow or dead store never holds up the runner.

Nothing here is durable: the runner fills a sender from its ledger when it starts, and learns by events what has arrived.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cloudedge.documents import UploadTarget
from cloudedge.errors import CloudedgeError, Conflict, StoreFailed
from edge.backoff import pause_seconds

if TYPE_CHECKING:
    from cloudedge.transport import Transport

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Transfer:
    """One object to send: 'report', 'last report', an output or 'manifest'."""

    name: str
    target: UploadTarget
    content: bytes | Path


@dataclass(frozen=True)
class SendResult:
    """What became of a try to send a transfer.

    Attributes:
        order_id: Its order.
        name: Its name.
        error: Why it failed, if it did.
        given_up: Whether it is never tried again, nor what was to follow it.
        again_in: Seconds until it is tried again, where it is.
    """

    order_id: str
    name: str
    error: CloudedgeError | None
    given_up: bool
    again_in: float = 0.0


@dataclass
class _Queue:
    """What waits of one order; `not_before` is of the clock that the turns are taken by."""

    transfers: list[Transfer] = field(default_factory=list)
    turn: int = 0
    not_before: float = 0.0
    failures: int = 0


class Turns:
    """Whose transfer is sent next.

    An order draws a number when something of it begins to wait, and the lowest number goes first. It keeps the number until all
    of it is sent, so that a result is soon followed by its manifest; and draws another one when something was put in the
    place of what was being sent, or could not be sent. So whoever waits is overtaken by each other order once at the most,
    however slow the store is and however often the others have news. Each order has its own back-off: an expired URL of one
    holds up no other.
    """

    def __init__(self) -> None:
        """Nothing waits."""
        self._queues: dict[str, _Queue] = {}
        self._drawn = 0

    def put(self, order_id: str, transfers: Sequence[Transfer]) -> None:
        """Let these wait, in place of those of the same order that still do."""
        queue = self._queues.setdefault(order_id, _Queue())
        if not queue.transfers:
            queue.turn = self._draw()
        queue.transfers = list(transfers)

    def drop(self, order_id: str) -> None:
        """Let nothing of an order wait any more."""
        self._queues.pop(order_id, None)

    def next(self, now: float) -> "Taken | None":
        """What is to be sent now, if anything is."""
        due = [(queue.turn, order_id) for order_id, queue in self._waiting() if queue.not_before <= now]
        if not due:
            return None
        _, order_id = min(due)
        queue = self._queues[order_id]
        return Taken(order_id, queue.transfers[0], queue)

    def due_at(self) -> float | None:
        """When the next try is due; none: nothing waits."""
        return min((queue.not_before for _, queue in self._waiting()), default=None)

    def tried(self, taken: "Taken", error: CloudedgeError | None, now: float, jitter: float) -> SendResult | None:
        """Take note of a try; what became of it, unless its order was dropped meanwhile."""
        queue, transfer = taken.queue, taken.transfer
        again, pause = isinstance(error, StoreFailed), 0.0
        if again:
            pause = pause_seconds(queue.failures, jitter)
            queue.not_before = now + pause
            queue.failures += 1
            queue.turn = self._draw()
        else:
            queue.not_before, queue.failures = 0.0, 0
            if queue.transfers and queue.transfers[0] is transfer:
                queue.transfers = [] if error else queue.transfers[1:]
            else:  # It was replaced in the meantime.
                queue.turn = self._draw()
        if self._queues.get(taken.order_id) is not queue:  # There may be another with its id.
            return None
        return SendResult(taken.order_id, transfer.name, error, given_up=error is not None and not again, again_in=pause)

    def _waiting(self) -> list[tuple[str, _Queue]]:
        return [(order_id, queue) for order_id, queue in self._queues.items() if queue.transfers]

    def _draw(self) -> int:
        self._drawn += 1
        return self._drawn


@dataclass(frozen=True)
class Taken:
    """A transfer that is being sent; the queue is the one that it was taken from."""

    order_id: str
    transfer: Transfer
    queue: _Queue


class Sender:
    """A thread that sends the transfers of each order in their order, and tries again without end while the store fails."""

    def __init__(self, name: str, transport: "Callable[[], Transport]", notify: Callable[[SendResult], None]) -> None:
        """Start the thread.

        Args:
            name: The thread's, for people.
            transport: Gives the transport; called when there is something to send.
            notify: Told of every try, unless its order was dropped; called from the thread.
        """
        self._transport = transport
        self._notify = notify
        self._turns = Turns()
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def put(self, order_id: str, transfers: Sequence[Transfer]) -> None:
        """Send these transfers, in place of those of the same order that still wait."""
        with self._changed:
            self._turns.put(order_id, transfers)
            self._changed.notify()

    def drop(self, order_id: str) -> None:
        """Send nothing more of an order."""
        with self._changed:
            self._turns.drop(order_id)

    def _run(self) -> None:
        while True:
            taken = self._next()
            error = self._try(taken.order_id, taken.transfer)
            with self._changed:
                outcome = self._turns.tried(taken, error, time.monotonic(), random.random())
                if outcome is not None:
                    self._notify(outcome)

    def _next(self) -> Taken:
        with self._changed:
            while True:
                taken = self._turns.next(time.monotonic())
                if taken is not None:
                    return taken
                at = self._turns.due_at()
                self._changed.wait(None if at is None else max(0.0, at - time.monotonic()))

    def _try(self, order_id: str, transfer: Transfer) -> CloudedgeError | None:
        try:
            self._transport().put(transfer.target, transfer.content)
        except Conflict:
            return None  # By a try whose answer was lost; were it another, the digest in the manifest would tell the cloud.
        except CloudedgeError as error:
            return error
        except Exception as error:
            _log.exception("the %s cannot be sent", transfer.name, extra={"order": order_id})
            return StoreFailed(f"The {transfer.name} cannot be sent: {type(error).__name__}: {error}. It is tried again.")
        return None
