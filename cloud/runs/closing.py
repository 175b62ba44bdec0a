"""Closing the orders of a run, whoever finds that it is over."""

import contextlib
from collections.abc import Sequence
from datetime import datetime

from cloud.inboxes import Inboxes
from cloud.runs.events import events
from cloud.runs.run import Run
from cloudedge.documents import Order
from cloudedge.errors import NotFound

CLOSED = "closed"
"""Detail of an operation that took all of a run's orders out of the inboxes: which there were, if any."""


def close_orders(inboxes: Inboxes, run: str) -> list[str]:
    """Take a run's orders out of all inboxes, upon which the edges stop working on them.

    Returns:
        Ids of the orders closed.

    Raises:
        StoreFailed: the carrier does not do its work; call again.
    """
    closed: list[str] = []
    for inbox in inboxes.all():
        if all(order.run != run for order in inbox.orders):
            continue
        closed_here: list[str] = []

        def without(orders: Sequence[Order], closed_here: list[str] = closed_here) -> list[Order]:
            # Decided on the orders that are replaced, so that none put there meanwhile is passed over.
            closed_here[:] = [order.id for order in orders if order.run == run]
            return [order for order in orders if order.run != run]

        with contextlib.suppress(NotFound):  # It was removed since.
            inboxes.update(inbox.edge, without)
            closed += closed_here
    return closed


def are_closed(run: Run, since: datetime) -> bool:
    """Whether the operation log has it that a run's orders were closed at some moment or later."""
    after = run.key("events", f"{since:%Y%m%dT%H%M%S.%f}Z")
    return any(CLOSED in event.details for _, event in events(run.store, run.id, after))
