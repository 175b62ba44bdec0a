"""Sends what the cloud shall know, in threads of their own, so that a slow or dead store never holds up the runner.

Nothing here is durable: the runner fills a lane from its ledger when it starts, and learns by events what has arrived.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cloudedge.documents import UploadTarget
from cloudedge.errors import CloudedgeError, Conflict, StoreFailed
from edge.backoff import pause_seconds

if TYPE_CHECKING:
    from cloudedge.transport import Transport

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parcel:
    """One object to send: 'report', 'last report', 'result' or 'manifest'."""

    name: str
    target: UploadTarget
    content: bytes | Path


@dataclass(frozen=True)
class Outcome:
    """What became of a try to send a parcel.

    Attributes:
        order_id: Its order.
        name: Its name.
        error: Why it failed, if it did.
        given_up: Whether it is never tried again, nor what was to follow it.
    """

    order_id: str
    name: str
    error: CloudedgeError | None
    given_up: bool


@dataclass
class _Queue:
    """What waits of one order; `not_before` is of the monotonic clock."""

    parcels: list[Parcel]
    not_before: float = 0.0
    failures: int = 0


class Lane:
    """A thread that sends the parcels of each order in their order, and tries again without end while the store fails.

    Each order has its own back-off, so an expired URL of one does not hold up another.
    """

    def __init__(self, name: str, transport: "Callable[[], Transport]", notify: Callable[[Outcome], None]) -> None:
        """Start the thread.

        Args:
            name: The thread's, for people.
            transport: Gives the transport; called when there is something to send.
            notify: Told of every try, unless its order was dropped; called from the thread.
        """
        self._transport = transport
        self._notify = notify
        self._queues: dict[str, _Queue] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def put(self, order_id: str, parcels: Sequence[Parcel]) -> None:
        """Send these parcels, in place of those of the same order that still wait."""
        with self._changed:
            self._queues.setdefault(order_id, _Queue([])).parcels = list(parcels)
            self._changed.notify()

    def drop(self, order_id: str) -> None:
        """Send nothing more of an order."""
        with self._changed:
            self._queues.pop(order_id, None)

    def _run(self) -> None:
        while True:
            order_id, queue, parcel = self._next()
            error = self._try(order_id, parcel)
            with self._changed:
                again = isinstance(error, StoreFailed)
                if again:
                    queue.not_before = time.monotonic() + pause_seconds(queue.failures, random.random())
                    queue.failures += 1
                else:
                    queue.not_before, queue.failures = 0.0, 0
                    if queue.parcels and queue.parcels[0] is parcel:  # Else it was replaced in the meantime.
                        queue.parcels = [] if error else queue.parcels[1:]
                if self._queues.get(order_id) is queue:  # Else the order was dropped; there may be another with its id.
                    self._notify(Outcome(order_id, parcel.name, error, given_up=error is not None and not again))

    def _next(self) -> tuple[str, _Queue, Parcel]:
        with self._changed:
            while True:
                waiting = [(queue.not_before, order_id) for order_id, queue in self._queues.items() if queue.parcels]
                at, order_id = min(waiting, default=(None, ""))
                if at is not None and at <= time.monotonic():
                    return order_id, self._queues[order_id], self._queues[order_id].parcels[0]
                self._changed.wait(None if at is None else at - time.monotonic())

    def _try(self, order_id: str, parcel: Parcel) -> CloudedgeError | None:
        try:
            self._transport().put(parcel.target, parcel.content)
        except Conflict:
            return None  # By a try whose answer was lost; were it another, the digest in the manifest would tell the cloud.
        except CloudedgeError as error:
            return error
        except Exception as error:
            _log.exception("the %s cannot be sent", parcel.name, extra={"order": order_id})
            return StoreFailed(f"The {parcel.name} cannot be sent: {type(error).__name__}: {error}. It is tried again.")
        return None
