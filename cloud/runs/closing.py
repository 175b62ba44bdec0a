"""Closing the orders of a run, whoever finds that it is over."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from cloud.faults import Faults
from cloud.inboxes import Inboxes, usable
from cloud.runs.events import events
from cloud.runs.run import Run
from cloudedge.documents import Order
from cloudedge.errors import NotFound

CLOSED = "closed"
"""Detail of an operation that took all of a run's orders out of the inboxes: which there were, if any."""

CLOSED_IN_PART = "closed_in_part"
"""The same where some inboxes could not be used, so that nobody knows what is left in them."""


class Closed(NamedTuple):
    """Orders that were closed.

    Attributes:
        orders: Their ids.
        whole: Whether they are all that the run had; else some inboxes could not be used, and nobody knows what is in them.
    """

    orders: list[str]
    whole: bool

    @property
    def details(self) -> dict[str, list[str]]:
        """What the operation log says of them."""
        return {CLOSED if self.whole else CLOSED_IN_PART: self.orders}


def close_orders(inboxes: Inboxes, run: str, faults: Faults) -> Closed:
    """Take a run's orders out of all inboxes, upon which the edges stop working on them.

    Args:
        inboxes: The edges' inboxes.
        run: Id of the run.
        faults: Where inboxes are kept that cannot be used.

    Raises:
        StoreFailed: the carrier does not do its work; call again.
    """
    closed: list[str] = []
    found = Faults()
    for inbox in usable(inboxes, found):
        if all(order.run != run for order in inbox.orders):
            continue
        closed_of_edge: list[str] = []

        def without(orders: Sequence[Order], closed_of_edge: list[str] = closed_of_edge) -> list[Order]:
            # Decided on the orders that are replaced, so that none put there meanwhile is passed over.
            closed_of_edge[:] = [order.id for order in orders if order.run == run]
            return [order for order in orders if order.run != run]

        with found.apart():
            try:
                inboxes.update(inbox.edge, without)
            except NotFound:
                continue  # It was removed since.
            closed += closed_of_edge
    faults.join(found)
    return Closed(closed, whole=found.error() is None)


def are_closed(run: Run, since: datetime) -> bool:
    """Whether the operation log has it that a run's orders were closed at some moment or later."""
    after = run.key("events", f"{since:%Y%m%dT%H%M%S.%f}Z")
    return any(CLOSED in event.details for _, event in events(run.store, run.id, after))
