"""Closing the orders of a run, whoever finds that it is over."""

from cloudedge.errors import NotFound
from components.shared.inboxes import Inboxes


def close_orders(inboxes: Inboxes, run: str) -> list[str]:
    """Take a run's orders out of all inboxes, upon which the edges stop working on them.

    Returns:
        Ids of the orders closed.

    Raises:
        StoreFailed: the carrier does not do its work; call again.
    """
    closed: list[str] = []
    for edge in inboxes.edges():
        try:
            open_here = [order.id for order in inboxes.read(edge).orders if order.run == run]
            if open_here:
                inboxes.update(edge, lambda orders: [order for order in orders if order.run != run])
                closed += open_here
        except NotFound:
            continue
    return closed
