"""What a new inbox changes: pure, so that every case can be looked at on its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from cloudedge.documents import Order, Phase, WorkError
from cloudedge.documents.report import MOST_MESSAGE
from cloudedge.errors import InvalidDocument
from edge.clock import Moment
from edge.runner.inbox import Wanted
from edge.runner.ledger import Entry


@dataclass(frozen=True)
class Changes:
    """All that follows from one inbox.

    Attributes:
        accepted: New orders; one that arrives cancelled, or that is refused, is kept as such: it is answered and never begun.
        superseded: Ids among them under which an order is known that was issued earlier: what stands of that one is put away.
        renewed: Known orders with new URLs.
        cancelled: Orders to be stopped.
        unasked: Orders that are over, or cancelled by this inbox, and that the cloud lists no more: nobody waits for a word.
        remarks: What is odd, and the order that it is about.
    """

    accepted: list[Entry] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    renewed: list[Order] = field(default_factory=list)
    cancelled: list[Entry] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)


def reconcile(
    wanted: Wanted,
    open_entries: Mapping[str, Entry],
    issued_at: Callable[[str], datetime | None],
    moment: Moment,
    samples: float = 0,
) -> Changes:
    """Compare what the cloud wants with what the ledger holds.

    Args:
        wanted: All that the cloud wants now.
        open_entries: Orders that are not closed, by id.
        issued_at: When an order that was ever accepted was issued. It is not done again, unless it was issued again since: then
            the cloud has lost what came of it, as where a store's folder was deleted.
        moment: When new orders count as accepted.
        samples: How many were last counted here.
    """
    changes = Changes()
    for order in wanted.orders:
        entry = open_entries.get(order.id)
        issued = entry.order.issued_at if entry else issued_at(order.id)
        issued_since = issued is not None and order.issued_at > issued
        if entry is not None and not (issued_since and _serves_no_more(entry, order)):
            _reconcile_known(order, entry, changes)
        elif issued is None or issued_since:
            phase = Phase.ACCEPTED if order.state == "run" else Phase.CANCELLED
            changes.accepted.append(Entry(order, phase, moment, gauges={"samples": samples} if samples else {}))
            if issued_since:
                changes.superseded.append(order.id)
    for envelope, why in wanted.refused:
        entry = open_entries.get(envelope.id)
        issued = entry.order.issued_at if entry else issued_at(envelope.id)
        # What was accepted while it could be read is done.
        if issued is None or (envelope.issued_at > issued and (entry is None or entry.phase.over)):
            error = WorkError(kind=InvalidDocument.__name__, message=why[:MOST_MESSAGE])
            changes.accepted.append(Entry(envelope, Phase.FAILED, moment, error=error))
            if issued is not None:
                changes.superseded.append(envelope.id)
        elif entry is not None and not entry.phase.over and envelope.state == "cancelled":
            changes.cancelled.append(_cancelled(entry))
    changes.remarks.extend((why, name) for name, why in wanted.unreadable)
    listed = {*(order.id for order in (*wanted.orders, *(each for each, _ in wanted.refused))), *dict(wanted.unreadable)}
    for order_id, entry in open_entries.items():
        if order_id not in listed:
            if not entry.phase.over:
                changes.cancelled.append(_cancelled(entry))
            changes.unasked.append(order_id)
    return changes


def _serves_no_more(entry: Entry, order: Order) -> bool:
    """Whether nothing of an open order's work is of use to the order that was issued in its place."""
    return entry.phase.over or not isinstance(entry.order, Order) or _work(order) != _work(entry.order)


def _reconcile_known(order: Order, entry: Entry, changes: Changes) -> None:
    if not isinstance(entry.order, Order):
        return  # It was refused by an earlier version, and whoever waits for it knows.
    other = _work(order) != _work(entry.order)
    if other:
        text = "the order came again with other work under the same id; the work accepted first is done"
        changes.remarks.append((text, order.id))
    if other or order.issued_at < entry.order.issued_at:
        order = entry.order.model_copy(update={"state": order.state})
    if order != entry.order:
        changes.renewed.append(order)
    if order.state == "cancelled" and not entry.phase.over:
        changes.cancelled.append(_cancelled(replace(entry, order=order)))


def _cancelled(entry: Entry) -> Entry:
    return replace(entry, phase=Phase.CANCELLED, trouble=None)


def _work(order: Order) -> dict[str, Any]:
    """What an order asks for, without what may change while it is open: its form, state, URLs and time limit."""
    changing = {"schema_version", "state", "issued_at", "time_limit_seconds", "report", "outputs", "history", "manifest"}
    work = order.model_dump(exclude=changing)
    for file in work["inputs"].values():
        del file["url"]
    return work
