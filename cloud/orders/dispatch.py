"""Dispatching: one order for each edge that takes part, put into its inbox."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from cloud.faults import Faults
from cloud.inboxes import UnusableInbox, require_size
from cloud.orders.issue import AT_ONCE, Assignment, absence, inputs_of, new_order
from cloud.runs.run import Run, step_detail, step_title
from cloud.runs.step_records import DispatchRecord, IssuedOrder
from cloud.step import Step
from cloudedge.documents import Order, Report, parse
from cloudedge.documents.order import UploadTarget
from cloudedge.documents.report import MAX_REPORT_BYTES
from cloudedge.errors import InvalidDocument, InvalidInput, NotFound, QuorumMissed


@dataclass(frozen=True)
class Participants:
    """Who is to take part in a step, and how many of them must.

    Attributes:
        edges: Their names; none: all who are enrolled.
        quorum: How many results the step needs; 0: all.
        late: Edges that may still be at work on the order of an earlier step, whose result counts for this one, and that step.
        begun: Whether the run has ordered before: who is not enrolled any more is absent then, and was not named by mistake.
    """

    edges: Collection[str] = ()
    quorum: int = 0
    late: Mapping[str, str] = field(default_factory=dict)
    begun: bool = False


def dispatch(
    work: Step, asked: Assignment, wanted: Participants, suits: Callable[[Sequence[str]], object] | None = None
) -> tuple[list[str], list[str]]:
    """Issue the orders of a step to all who take part, except where they stand already.

    Args:
        work: The step that asks for it.
        asked: What is asked for.
        wanted: Who takes part.
        suits: Raises if something does not suit those who take part, before any of them works.

    Returns:
        Ids of the orders that are open or fulfilled, sorted by edge; and the edges still at work on an earlier step's order.
        An edge whose inbox cannot be used, or that was removed, has none of them: it is absent, and the record says why.

    Raises:
        InvalidInput: no edge is enrolled.
        NotFound: a named edge is not enrolled, and the run has not begun.
        QuorumMissed: so many are absent that the others are too few.
    """
    record = _participants(work, asked.step, wanted, suits)
    inputs = inputs_of(work, asked.inputs, asked.limit_seconds)
    present = _keys_of(work, asked.step)
    attempts = {order.edge: order.attempt for order in record.orders if order.step == asked.step}

    def order_of(edge: str) -> IssuedOrder:
        if edge in record.late:
            return _issued(_late_order(work, record.late[edge], edge))
        order_key = work.run.order_key(asked.step, edge)
        former = _readable_order(work, asked.step, edge) if order_key in present else None
        if former and _stands(work, former, present):
            return _issued(former)
        attempt = former.attempt if former else attempts.get(edge, 0)
        order = new_order(work, asked, edge, inputs, attempt + 1)
        require_size(order)
        work.run.put(order_key, order)
        return _issued(order, absence(lambda: _put_into_inbox(work, order)))

    with ThreadPoolExecutor(AT_ONCE) as others:  # The time goes into waiting for disks and servers.
        orders = tuple(others.map(order_of, record.edges))
    _require_quorum(work, asked.step, wanted.quorum or len(orders), orders)
    if orders != record.orders:
        # Whoever waits then reads one object, and not one for each edge.
        keys = {name: file.key for name, file in asked.inputs.items()}
        complete = record.model_copy(update={"orders": orders, "models": keys, "kind": asked.work.kind})
        work.run.put(work.run.step_key(asked.step, "dispatch.json"), complete)
    issued = [order.id for order in orders if order.edge not in record.late and not order.absence]
    title = step_title(asked.step)
    work.say(f"{title}: {len(issued)} orders to {asked.work.kind} are out, {len(record.late)} edges are still at work.")
    return issued, sorted(record.late)


def _require_quorum(work: Step, step: str, quorum: int, orders: Sequence[IssuedOrder]) -> None:
    """Say who is absent.

    Raises:
        QuorumMissed: the others are too few.
    """
    absent = [order for order in orders if order.absence]
    for order in absent:
        work.say(f"{order.edge} is absent: {order.absence}")
        work.log("left-out", **step_detail(step), edge=order.edge, reason=order.absence)
    present = len(orders) - len(absent)
    if present < quorum:
        title = step_title(step)
        lines = [f"{title} needs {quorum} results, and only {present} of {len(orders)} edges can be given an order:"]
        lines += [f"  - {order.edge}: {order.absence}" for order in absent]
        otherwise = "" if len(orders) == 1 else "; or allow a smaller quorum"
        lines.append(f"Mend what is wrong there, and run the same task again, which goes on here{otherwise}.")
        raise QuorumMissed("\n".join(lines))


def _participants(
    work: Step, step: str, wanted: Participants, suits: Callable[[Sequence[str]], object] | None
) -> DispatchRecord:
    known = work.run.dispatched(step)
    if known and known.orders:  # Else it never came so far that anybody could wait for it.
        # An order that was closed when the run stopped brings nothing more: its edge takes part as the others do.
        late = {edge: earlier for edge, earlier in known.late.items() if _late_order_stands(work, earlier, edge)}
        if late != known.late:
            known = known.model_copy(update={"late": late})
            work.run.put(work.run.step_key(step, "dispatch.json"), known)
        return known
    enrolled = work.inboxes.edges()
    edges = sorted(wanted.edges or enrolled)
    if not edges:
        raise InvalidInput("No edge is enrolled, so there is nobody to work. Enroll edges first, or ask for what needs none.")
    unknown = sorted(set(edges) - set(enrolled))
    if unknown and not wanted.begun:  # Later they are absent, as somebody has removed them since.
        raise NotFound(
            f"The task names edges that are not enrolled: {', '.join(unknown)}. Enrolled are: {', '.join(enrolled)}."
        )
    if suits:
        suits(edges)
    still_there = set(edges) & set(enrolled)
    late = {edge: earlier for edge, earlier in wanted.late.items() if edge in still_there}
    late = {edge: earlier for edge, earlier in late.items() if _late_order_stands(work, earlier, edge)}
    record = DispatchRecord(edges=tuple(edges), late=late)
    work.run.put(work.run.step_key(step, "dispatch.json"), record)
    return record


def _late_order(work: Step, step: str, edge: str) -> Order:
    order = work.run.order(step, edge)
    if order is None:
        raise NotFound(f"{step_title(step)} has no order for {edge}, which was still at work on it: run its dispatch first.")
    return order


def _issued(order: Order, absence: str = "") -> IssuedOrder:
    return IssuedOrder(
        id=order.id, edge=order.edge, step=order.step, attempt=order.attempt, issued_at=order.issued_at, absence=absence
    )


def _put_into_inbox(work: Step, order: Order) -> None:
    work.inboxes.update(order.edge, lambda orders: [*(other for other in orders if _is_open(work, other)), order])


def _is_open(work: Step, other: Order) -> bool:
    """Whether an order in an inbox stays: neither an earlier one of this run, nor one of a run that is over.

    What is wrong with another run is no concern of this one's: its order stays, and the reaper decides.
    """
    if other.run == work.run.id:
        return False
    state = None
    with Faults().apart():
        state = Run(work.store, other.run).state()
    return state is None or state.state == "running"


def _keys_of(work: Step, step: str) -> set[str]:
    return {entry.key for entry in work.store.list(work.run.step_key(step))}


def _late_order_stands(work: Step, step: str, edge: str) -> bool:
    order = _readable_order(work, step, edge)
    return order is not None and _stands(work, order, _keys_of(work, step))


def _readable_order(work: Step, step: str, edge: str) -> Order | None:
    try:
        return work.run.order(step, edge)
    except InvalidDocument:  # Somebody has written into the store; the edge gets another.
        return None


def _stands(work: Step, order: Order, present: set[str]) -> bool:
    """Whether an order of an earlier try is fulfilled, or open with an edge that can still fulfil it."""
    if work.run.manifest_key(order) in present:
        return True
    try:
        open_there = {other.id for other in work.inboxes.read(order.edge).orders}
    except (NotFound, UnusableInbox):
        return False  # Who gives it another order finds out why.
    if order.id not in open_there:
        return False
    key = work.run.report_key(order)
    if _place(order.report) != _place(work.store.upload(key, max_bytes=1, once=False, expires_seconds=1)):
        return False  # The store has moved, so that its edge could not even say that it failed.
    try:
        return key not in present or not parse(Report, work.store.get(key, MAX_REPORT_BYTES), key).phase.over
    except InvalidInput:
        return False


def _place(target: UploadTarget) -> str:
    return target.url.partition("?")[0]  # Beyond it stands until when the URL holds.
