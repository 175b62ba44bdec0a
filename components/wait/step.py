"""Waiting for a round of training."""

from cloud.orders.rounds import finished_before, order_training
from cloud.orders.wait import wait_for
from cloud.orders.watch import OrderWatch
from cloud.step import step
from components.wait.page import page
from components.wait.relay import training_figures


def wait_round(run_id: str, round_number: int) -> tuple[int, str]:
    """Wait until a round is over.

    Returns:
        Number of results, and a page that shows how each edge fared (empty if the round was not needed).

    Raises:
        QuorumMissed: fewer results than the quorum, at the deadline or because too many edges failed.
        Cancelled: somebody cancelled the run.
    """
    with step(run_id, f"wait-{round_number}") as work:
        task = work.run.task()
        if finished_before(work, task, round_number):
            return 0, ""
        record = work.run.waited(round_number)
        if record is None and work.resumed:
            # This step was ended before, or came so late that the run was taken for dead; either closed the orders.
            order_training(work, task, round_number)
        watch = OrderWatch.of(work.run, str(round_number))
        if record is None:
            asked = task.collaboration
            quorum = asked.quorum or len(watch.edges)
            keep = training_figures(work, asked, round_number).keep
            record = wait_for(work, watch, quorum, asked.round_deadline_seconds, asked.straggler_grace_seconds, keep)
            work.run.put(work.run.round_key(round_number, "wait.json"), record)
            work.log("waited", round=round_number, delivered=len(record.delivered), missing=[m.edge for m in record.missing])
        else:
            watch.look()
        return len(record.delivered), page(round_number, watch, record)
