"""What a step asks of edges, and how it is ordered and waited for, whatever system it is of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloud.orders.dispatch import Participants, dispatch
from cloud.orders.issue import Assignment
from cloud.orders.wait import wait_for
from cloud.orders.watch import OrderWatch, Watched
from cloud.runs.run import step_detail
from cloud.runs.step_records import WaitRecord
from cloud.step import Step


@dataclass(frozen=True)
class StepOrders:
    """What a step asks of edges.

    Attributes:
        assignment: What they are to do, and how long each may take.
        participants: Who is to do it, and how many of them must.
        grace_seconds: How long is waited for further results once there are as many as must be.
        suits: Raises if something does not suit those who take part, before any of them works.
        keep: Called with the edges of which there is news, to keep their figures.
    """

    assignment: Assignment
    participants: Participants
    grace_seconds: float = 0.0
    suits: Callable[[Sequence[str]], object] | None = None
    keep: Callable[[Sequence[Watched]], None] | None = None


def issue(work: Step, asked: StepOrders) -> int:
    """Put the orders of a step into the inboxes, except where they stand or are fulfilled.

    Returns:
        Number of edges that take part.

    Raises:
        InvalidInput: no edge is enrolled, or something does not suit those who take part.
        NotFound: a named edge is not enrolled, and the run has not begun.
        QuorumMissed: so many edges cannot be given an order that the others are too few.
    """
    issued, late = dispatch(work, asked.assignment, asked.participants, asked.suits)
    work.log("dispatched", **step_detail(asked.assignment.step), orders=issued)
    return len(issued) + len(late)


def await_results(work: Step, asked: StepOrders) -> tuple[OrderWatch, WaitRecord]:
    """Wait until enough edges have delivered, unless that was settled before.

    The time limit of an order is also how long is waited for it.

    Returns:
        All that is known of the edges, and who delivered and who did not.

    Raises:
        QuorumMissed: fewer results than must be, at the deadline or because too many edges failed.
        Cancelled: somebody cancelled the run.
    """
    name = asked.assignment.step
    record = work.run.waited(name)
    if record is None and work.resumed:
        # The step was ended before, or came so late that the run was taken for dead; either closed the orders.
        issue(work, asked)
    watch = OrderWatch.of(work.run, name)
    if record is not None:
        watch.look()
        return watch, record
    quorum = asked.participants.quorum or len(watch.edges)
    record = wait_for(work, watch, quorum, asked.assignment.limit_seconds, asked.grace_seconds, asked.keep)
    work.run.put(work.run.step_key(name, "wait.json"), record)
    work.log(
        "waited", **step_detail(name), delivered=len(record.delivered), missing=[missing.edge for missing in record.missing]
    )
    return watch, record
