"""What every carrier of inboxes does."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from time import time
from typing import Protocol

from cloud.cluster.where import Where
from cloudedge.documents import Inbox, Order
from cloudedge.documents.order import MAX_INBOX_BYTES, MAX_ORDER_BYTES
from cloudedge.errors import InvalidInput

MakeOrders = Callable[[Sequence[Order]], Sequence[Order]]


class Inboxes(Protocol):
    """Carries one inbox per enrolled edge. Every method raises StoreFailed when the carrier does not do its work."""

    @property
    def where(self) -> Where | None:
        """Which namespace of which cluster they are in; none where they are this machine's own."""

    def enroll(self, edge: str) -> None:
        """Make an edge known, with an empty inbox; one that is known stays as it is.

        Raises:
            InvalidInput: the name is none.
        """

    def edges(self) -> list[str]:
        """Names of the enrolled edges, sorted.

        Raises:
            NotFound: the place that they would be in is not there.
        """

    def all(self) -> Iterator[Inbox]:
        """All inboxes, sorted by edge, in fewer requests than one each where the carrier can."""

    def read(self, edge: str) -> Inbox:
        """The newest inbox of an edge.

        Raises:
            NotFound: the edge is not enrolled.
        """

    def update(self, edge: str, make_orders: MakeOrders) -> Inbox:
        """Replace an edge's orders by what `make_orders` makes of them, in a new generation; unchanged ones cost nothing.

        `make_orders` may be called again when somebody else was faster.

        Raises:
            NotFound: the edge is not enrolled.
            InvalidInput: the orders are too large.
        """

    def nudging(self, edges: Collection[str], accepted: Callable[[str], bool]) -> AbstractContextManager[None]:
        """For as long as this lasts, hurry the inboxes of edges that have not accepted their orders, where the carrier can.

        It goes on beside whoever waits, whom it neither delays nor tells of its failures: no order depends on it.

        Args:
            edges: Edges with an order.
            accepted: Whether an edge has accepted its order; asked by another thread.
        """


def write_orders(inbox: Inbox, make_orders: MakeOrders) -> Inbox | None:
    """The next inbox, or None if nothing changes.

    Raises:
        InvalidInput: an order has more than 64 KiB, or the inbox more than a ConfigMap may hold.
    """
    orders = tuple(make_orders(inbox.orders))
    if orders == inbox.orders:
        return None
    sizes = {order.id: len(order.to_json()) for order in orders}
    for order, size in sizes.items():
        if size > MAX_ORDER_BYTES:
            raise InvalidInput(
                f"Order {order} has {size} bytes, more than {MAX_ORDER_BYTES}; "
                "make the task's data format or parameters smaller."
            )
    if sum(sizes.values()) <= MAX_INBOX_BYTES:  # Else there may be too many to make an inbox of.
        # An inbox that was made anew, or came back from a backup, is to be newer than any that its runner has followed.
        following = Inbox(edge=inbox.edge, generation=max(inbox.generation + 1, int(time())), orders=orders)
        if len(following.to_json()) <= MAX_INBOX_BYTES:
            return following
    raise InvalidInput(
        f"The inbox of {inbox.edge} is full: {len(orders)} orders are more than the {MAX_INBOX_BYTES} bytes that it may have; "
        "cancel some tasks first."
    )
