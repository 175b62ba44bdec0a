"""Dispatching: one order for each edge that takes part, put into its inbox."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from cloud.orders.issue import AT_ONCE, Assignment, inputs_of, new_order
from cloud.runs.records import DispatchRecord, IssuedOrder
from cloud.runs.run import Run, step_title
from cloud.step import Step
from cloudedge.documents import Order, RemoteFile, Report, parse
from cloudedge.documents.order import UploadTarget
from cloudedge.documents.report import MAX_REPORT_BYTES
from cloudedge.errors import InvalidInput, NotFound


def dispatch(
    work: Step,
    asked: Assignment,
    edges: Collection[str] = (),
    late: Mapping[str, str] | None = None,
    suits: Callable[[Sequence[str]], object] | None = None,
) -> tuple[list[str], list[str]]:
    """Issue the orders of a step to all who take part, except where they stand already.

    Args:
        work: The step that asks for it.
        asked: What is asked for.
        edges: Who takes part; none: all who are enrolled.
        late: Edges that may still be at work on the order of an earlier step, whose result counts for this one, and that step.
        suits: Raises if something does not suit those who take part, before any of them works.

    Returns:
        Ids of the orders that are open or fulfilled, sorted by edge; and the edges still at work on an earlier step's order.

    Raises:
        InvalidInput: no edge is enrolled.
        NotFound: a named edge is not enrolled.
    """
    record = _participants(work, asked.step, edges, late or {}, suits)
    inputs = inputs_of(work, asked.inputs, asked.limit_seconds)
    present = _keys_of(work, asked.step)

    def order_of(edge: str) -> IssuedOrder:
        if edge in record.late:
            return _issued(_late_order(work, record.late[edge], edge))
        return _issued(_order(work, asked, edge, inputs, present))

    with ThreadPoolExecutor(AT_ONCE) as others:  # The time goes into waiting for disks and servers.
        orders = tuple(others.map(order_of, record.edges))
    if orders != record.orders:
        # Whoever waits then reads one object, and not one for each edge.
        keys = {name: file.key for name, file in asked.inputs.items()}
        complete = record.model_copy(update={"orders": orders, "models": keys})
        work.run.put(work.run.step_key(asked.step, "dispatch.json"), complete)
    issued = [order.id for order in orders if order.edge not in record.late]
    title = step_title(asked.step)
    work.say(f"{title}: {len(issued)} orders to {asked.work.kind} are out, {len(record.late)} edges are still at work.")
    return issued, sorted(record.late)


def _participants(
    work: Step,
    step: str,
    wanted: Collection[str],
    late: Mapping[str, str],
    suits: Callable[[Sequence[str]], object] | None,
) -> DispatchRecord:
    known = work.run.dispatched(step)
    if known:
        # An order that was closed when the run stopped brings nothing more: its edge takes part as the others do.
        still = {edge: earlier for edge, earlier in known.late.items() if _late_order_stands(work, earlier, edge)}
        if still != known.late:
            known = known.model_copy(update={"late": still})
            work.run.put(work.run.step_key(step, "dispatch.json"), known)
        return known
    enrolled = work.inboxes.edges()
    edges = sorted(wanted or enrolled)
    if not edges:
        raise InvalidInput("No edge is enrolled, so there is nobody to train. Enroll edges first, or set collaborate to false.")
    unknown = sorted(set(edges) - set(enrolled))
    if unknown:
        raise NotFound(
            f"The task names edges that are not enrolled: {', '.join(unknown)}. Enrolled are: {', '.join(enrolled)}."
        )
    if suits:
        suits(edges)
    record = DispatchRecord(edges=tuple(edges), late={edge: earlier for edge, earlier in late.items() if edge in edges})
    work.run.put(work.run.step_key(step, "dispatch.json"), record)
    return record


def _late_order(work: Step, step: str, edge: str) -> Order:
    order = work.run.order(step, edge)
    if order is None:
        raise NotFound(f"{step_title(step)} has no order for {edge}, which was still at work on it: run its dispatch first.")
    return order


def _issued(order: Order) -> IssuedOrder:
    return IssuedOrder.model_validate({name: getattr(order, name) for name in IssuedOrder.model_fields})


def _order(work: Step, asked: Assignment, edge: str, inputs: Mapping[str, RemoteFile], present: set[str]) -> Order:
    order_key = work.run.order_key(asked.step, edge)
    former = work.run.order(asked.step, edge) if order_key in present else None
    if former and _stands(work, former, present):
        return former
    order = new_order(work, asked, edge, inputs, former.attempt + 1 if former else 1)
    work.run.put(order_key, order)
    work.inboxes.update(edge, lambda orders: [*(other for other in orders if _is_open(work, other)), order])
    return order


def _is_open(work: Step, other: Order) -> bool:
    """Whether an order in an inbox stays: neither an earlier one of this run, nor one of a run that is over."""
    if other.run == work.run.id:
        return False
    state = Run(work.store, other.run).state()
    return state is None or state.state == "running"


def _keys_of(work: Step, step: str) -> set[str]:
    return {entry.key for entry in work.store.list(work.run.step_key(step))}


def _late_order_stands(work: Step, step: str, edge: str) -> bool:
    order = work.run.order(step, edge)
    return order is not None and _stands(work, order, _keys_of(work, step))


def _stands(work: Step, order: Order, present: set[str]) -> bool:
    """Whether an order of an earlier try is fulfilled, or open with an edge that can still fulfil it."""
    if work.run.manifest_key(order) in present:
        return True
    if order.id not in {other.id for other in work.inboxes.read(order.edge).orders}:
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
