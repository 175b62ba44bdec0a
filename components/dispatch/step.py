"""Dispatching a round of training."""

from cloud.orders.rounds import finished_before, order_training
from cloud.step import step


def dispatch_round(run_id: str, round_number: int) -> int:
    """Order one round of training. Repeated, it only issues what is missing.

    Returns:
        Number of edges that take part; 0 if the run needs no further round.

    Raises:
        InvalidInput: no edge is enrolled, or the fusion rule's parameters do not suit the edges.
        NotFound: a named edge is not enrolled, and this is the first round.
        QuorumMissed: too many edges cannot be given an order.
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
