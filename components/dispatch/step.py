"""Dispatching a round: one order for each edge that takes part, put into its inbox."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from cloudedge.documents import Order, RemoteFile, Report, Task, parse
from cloudedge.documents.order import UploadTarget
from cloudedge.documents.report import MAX_REPORT_BYTES
from cloudedge.errors import InvalidInput, NotFound
from components.dispatch.orders import AT_ONCE, ModelFile, inputs_of, new_order
from components.fuse.rule import find_rule
from components.shared.records import DispatchRecord, IssuedOrder
from components.shared.run import Run
from components.shared.step import Step, step


def dispatch_round(run_id: str, round_number: int) -> int:
    """Order one round of training. Repeated, it only issues what is missing.

    Returns:
        Number of edges that take part; 0 if the run needs no further round.

    Raises:
        InvalidInput: no edge is enrolled, or the fusion rule's parameters do not suit the edges.
        NotFound: a named edge is not enrolled.
    """
    with step(run_id, f"dispatch-{round_number}") as work:
        task = work.run.task()
        if finished_before(work, task, round_number):
            work.say(f"Round {round_number} is not needed.")
            return 0
        settled = work.run.waited(round_number)
        if settled:
            work.say(f"Round {round_number} has its results already.")
            return len(settled.delivered) + len(settled.missing)
        return order_training(work, task, round_number)


def order_training(work: Step, task: Task, round_number: int) -> int:
    """Order one round of training, except where its orders stand or are fulfilled.

    Returns:
        Number of edges that take part.
    """
    base = ModelFile(work.run.fused_key(round_number - 1), *_digest_before(work, round_number))
    issued, late = dispatch(work, task, round_number, "train", {"base": base})
    work.log("dispatched", round=round_number, orders=issued)
    return len(issued) + len(late)


def finished_before(work: Step, task: Task, round_number: int) -> bool:
    """Whether the run needs no such round: it does not collaborate, has had its rounds, or has reached its target."""
    if not task.collaborate or round_number > task.collaboration.rounds:
        return True
    if round_number == 1 or task.collaboration.target_accuracy == 0:
        return False
    before = work.run.fusion(round_number - 1)
    return before is None or (before.base_accuracy or 0.0) >= task.collaboration.target_accuracy


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


def _digest_before(work: Step, round_number: int) -> tuple[str, int]:
    found = work.run.model_after(round_number - 1)
    if found is None:
        raise NotFound(f"Round {round_number} of {work.run.id} has no base model yet: run the steps before it first.")
    return found.sha256, found.size
