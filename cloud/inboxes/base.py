"""What every carrier of inboxes does."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from time import time
from typing import Any, Protocol, get_args

from cloud.cluster.where import Where
from cloud.faults import Faults
from cloudedge.documents import Inbox, Order, parse
from cloudedge.documents.base import Document
from cloudedge.documents.order import MAX_INBOX_BYTES, MAX_ORDER_BYTES
from cloudedge.errors import InvalidDocument, InvalidInput

MakeOrders = Callable[[Sequence[Order]], Sequence[Order]]

_AHEAD_SECONDS = 60
"""A generation is no less than its time, and may be more where there were several changes in a second, or another clock."""

_NEWER = "A newer version of cloudedge wrote it: use that version of cloudedge."


class UnusableInbox(InvalidDocument):
    """What stands where an inbox is expected, and cannot be used as one.

    Attributes:
        edge: Whose inbox it should be; empty: no edge's, so nobody works by it.
        reason: The fault and the way out, in one line.
        newer: Whether a newer version of cloudedge wrote it, to which it means something: nobody may empty it.
    """

    def __init__(self, edge: str, source: str, faults: list[str], way_out: str, *, newer: bool = False) -> None:
        """Name it.

        Args:
            edge: Whose inbox it should be; empty: no edge's.
            source: Where it stands.
            faults: One line for each fault.
            way_out: What mends it, if no newer version wrote it.
            newer: Whether one did.
        """
        way_out = _NEWER if newer else way_out
        super().__init__(f"{source} is not a valid inbox:", faults)
        self.args = (f"{self}\n{way_out}",)
        self.edge = edge
        self.newer = newer
        self.reason = f"its inbox cannot be used: {'; '.join(faults)}. {way_out}"


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

    def all(self) -> Iterator[Inbox | UnusableInbox]:
        """All inboxes, sorted by edge, in fewer requests than one each where the carrier can; see `usable`."""

    def read(self, edge: str) -> Inbox:
        """The newest inbox of an edge.

        Raises:
            NotFound: the edge is not enrolled.
            UnusableInbox: nobody can read it.
        """

    def update(self, edge: str, make_orders: MakeOrders) -> Inbox:
        """Replace an edge's orders by what `make_orders` makes of them, in a new generation; unchanged ones cost nothing.

        `make_orders` may be called again when somebody else was faster.

        Raises:
            NotFound: the edge is not enrolled.
            UnusableInbox: nobody can read what is to be replaced.
            InvalidInput: the orders are too large.
        """

    def nudging(self, edges: Collection[str], accepted: Callable[[str], bool]) -> AbstractContextManager[None]:
        """For as long as this lasts, hurry the inboxes of edges that have not accepted their orders, where the carrier can.

        It goes on beside whoever waits, whom it neither delays nor tells of its failures: no order depends on it.

        Args:
            edges: Edges with an order.
            accepted: Whether an edge has accepted its order; asked by another thread.
        """


def usable(inboxes: Inboxes, faults: Faults) -> Iterator[Inbox]:
    """All inboxes that can be used, sorted by edge; the others are kept among the faults."""
    for found in inboxes.all():
        if isinstance(found, Inbox):
            yield found
        elif found.edge:
            faults.add(found)
        else:
            faults.note(found)


def parsed(edge: str, content: bytes | str, source: str, way_out: str) -> Inbox | UnusableInbox:
    """An edge's inbox from its JSON, or why it is none.

    Args:
        edge: Whose it should be.
        content: JSON text.
        source: Where it came from, for the message.
        way_out: What mends it, if it is none, and no newer version's.
    """
    try:
        inbox = parse(Inbox, content, source, MAX_INBOX_BYTES, carried=True)
    except InvalidDocument as error:
        return UnusableInbox(edge, source, error.faults, way_out, newer=_is_of_a_newer_version(edge, content))
    if inbox.edge != edge:
        return UnusableInbox(edge, source, [f"edge: found {inbox.edge!r}; this is the inbox of {edge}"], way_out)
    return inbox


def anew(edge: str, former: bytes | str) -> Inbox:
    """An empty inbox in the place of one that cannot be used, newer than any that its runner has followed.

    Args:
        edge: Whose it is.
        former: What stands there now; what can be understood of it counts.
    """
    generation = _fields(former).get("generation")
    next_generation = generation + 1 if isinstance(generation, int) else 0
    return Inbox(edge=edge, generation=max(next_generation, int(time()) + _AHEAD_SECONDS))


def _is_of_a_newer_version(edge: str, content: bytes | str) -> bool:
    """Whether what is no inbox here is one of a newer version: it says so, or no more is wrong than orders that do."""
    fields = _fields(content)
    if _is_newer(fields, Inbox):
        return True
    orders = fields.get("orders")
    if not isinstance(orders, list):
        return False
    known = [order for order in orders if not _is_newer_order(order)]
    if len(known) == len(orders):
        return False
    inbox = parsed(edge, json.dumps({**fields, "orders": known}), "", "")
    return isinstance(inbox, Inbox)


def _is_newer_order(fields: Any) -> bool:
    if not isinstance(fields, dict):
        return False
    return _is_newer(fields, Order)


def _is_newer(fields: dict[str, Any], document: type[Document]) -> bool:
    version = fields.get("schema_version")
    return isinstance(version, int) and version > max(get_args(document.model_fields["schema_version"].annotation))


def _fields(content: bytes | str) -> dict[str, Any]:
    """What can be understood of something that is no inbox."""
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def require_size(order: Order) -> int:
    """An order's size in bytes.

    Raises:
        InvalidInput: it is more than 64 KiB.
    """
    size = len(order.to_json())
    if size > MAX_ORDER_BYTES:
        raise InvalidInput(
            f"Order {order.id} has {size} bytes, more than {MAX_ORDER_BYTES}; "
            "make the task's data format or parameters smaller."
        )
    return size


def write_orders(inbox: Inbox, make_orders: MakeOrders) -> Inbox | None:
    """The next inbox, or None if nothing changes.

    Raises:
        InvalidInput: an order has more than 64 KiB, or the inbox more than a ConfigMap may hold.
    """
    orders = tuple(make_orders(inbox.orders))
    if orders == inbox.orders:
        return None
    sizes = [require_size(order) for order in orders]
    if sum(sizes) <= MAX_INBOX_BYTES:  # Else there may be too many to make an inbox of.
        # An inbox that was made anew, or came back from a backup, is to be newer than any that its runner has followed.
        next_inbox = Inbox(edge=inbox.edge, generation=max(inbox.generation + 1, int(time())), orders=orders)
        if len(next_inbox.to_json()) <= MAX_INBOX_BYTES:
            return next_inbox
    raise InvalidInput(
        f"The inbox of {inbox.edge} is full: {len(orders)} orders are more than the {MAX_INBOX_BYTES} bytes that it may have; "
        "cancel some tasks first."
    )
