"""Dispatching: one order for each edge that takes part, put into its inbox."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from cloud.fusion.rule import find_rule
from cloud.orders.issue import AT_ONCE, ModelFile, inputs_of, new_order
from cloud.runs.records import DispatchRecord, IssuedOrder
from cloud.runs.run import Run
from cloud.step import Step
from cloudedge.documents import Order, RemoteFile, Report, Task, parse
from cloudedge.documents.order import UploadTarget
from cloudedge.documents.report import MAX_REPORT_BYTES
from cloudedge.errors import InvalidInput, NotFound


def dispatch(
    work: Step, task: Task, round_number: int, kind: str, models: Mapping[str, ModelFile]
) -> tuple[list[str], list[str]]:
    """Issue the orders of a round to all who take part, except where they stand already.

    Args:
        work: The step that asks for it.
        task: What is asked for.
        round_number: Round.
        kind: Of the orders.
        models: What they have as inputs.

    Returns:
        Ids of the orders that are open or fulfilled, sorted by edge; and the edges still at work on an earlier round's order.
    """
    record = _participants(work, task, round_number, training=kind == "train")
    inputs = inputs_of(work, models, task.collaboration.round_deadline_seconds)
    present = _keys_of(work, round_number)

    def order_of(edge: str) -> IssuedOrder:
        if edge in record.late:
            return _issued(_late_order(work, record.late[edge], edge))
        return _issued(_order(work, task, round_number, kind, edge, inputs, present))

    with ThreadPoolExecutor(AT_ONCE) as others:  # The time goes into waiting for disks and servers.
        orders = tuple(others.map(order_of, record.edges))
    if orders != record.orders:
        # Whoever waits then reads one object, and not one for each edge.
        complete = record.model_copy(update={"orders": orders, "models": {name: model.key for name, model in models.items()}})
        work.run.put(work.run.round_key(round_number, "dispatch.json"), complete)
    issued = [order.id for order in orders if order.edge not in record.late]
    work.say(f"Round {round_number}: {len(issued)} orders to {kind} are out, {len(record.late)} edges are still at work.")
    return issued, sorted(record.late)


def _participants(work: Step, task: Task, round_number: int, *, training: bool) -> DispatchRecord:
    known = work.run.dispatched(round_number)
    if known:
        # An order that was closed when the run stopped brings nothing more: its edge takes part as the others do.
        late = {edge: number for edge, number in known.late.items() if _late_order_stands(work, number, edge)}
        if late != known.late:
            known = known.model_copy(update={"late": late})
            work.run.put(work.run.round_key(round_number, "dispatch.json"), known)
        return known
    enrolled = work.inboxes.edges()
    edges = sorted(task.collaboration.edges or enrolled)
    if not edges:
        raise InvalidInput("No edge is enrolled, so there is nobody to train. Enroll edges first, or set collaborate to false.")
    unknown = sorted(set(edges) - set(enrolled))
    if unknown:
        raise NotFound(
            f"The task names edges that are not enrolled: {', '.join(unknown)}. Enrolled are: {', '.join(enrolled)}."
        )
    if training:  # What of the rule does not suit them is to be known before anybody trains.
        find_rule(task.collaboration.fusion.rule, task.collaboration.fusion.parameters, edges)
    before = work.run.waited(round_number - 1) if training else None
    late = {edge: number for edge, number in before.late.items() if edge in edges} if before else {}
    record = DispatchRecord(edges=tuple(edges), late=late)
    work.run.put(work.run.round_key(round_number, "dispatch.json"), record)
    return record


def _late_order(work: Step, round_number: int, edge: str) -> Order:
    order = work.run.order(round_number, edge)
    if order is None:
        raise NotFound(f"Round {round_number} has no order for {edge}, which was still at work on it: run its dispatch first.")
    return order


def _issued(order: Order) -> IssuedOrder:
    return IssuedOrder.model_validate({name: getattr(order, name) for name in IssuedOrder.model_fields})


def _order(
    work: Step, task: Task, round_number: int, kind: str, edge: str, inputs: Mapping[str, RemoteFile], present: set[str]
) -> Order:
    order_key = work.run.order_key(round_number, edge)
    former = work.run.order(round_number, edge) if order_key in present else None
    if former and _stands(work, former, present):
        return former
    order = new_order(work, task, round_number, kind, edge, inputs, former.attempt + 1 if former else 1)
    work.run.put(order_key, order)
    work.inboxes.update(edge, lambda orders: [*(other for other in orders if _is_open(work, other)), order])
    return order


def _is_open(work: Step, other: Order) -> bool:
    """Whether an order in an inbox stays: neither an earlier one of this run, nor one of a run that is over."""
    if other.run == work.run.id:
        return False
    state = Run(work.store, other.run).state()
    return state is None or state.state == "running"


def _keys_of(work: Step, round_number: int) -> set[str]:
    return {entry.key for entry in work.store.list(work.run.round_key(round_number))}


def _late_order_stands(work: Step, round_number: int, edge: str) -> bool:
    order = work.run.order(round_number, edge)
    return order is not None and _stands(work, order, _keys_of(work, round_number))


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
