"""Dispatching: what a step asks of edges becomes an order in each one's inbox."""

from cloud.orders.steps import issue
from cloud.runs.run import step_title
from cloud.step import step
from components.systems import steps_of


def dispatch_step(run_id: str, name: str) -> int:
    """Order what a step asks. Repeated, it only issues what is missing.

    Args:
        run_id: Run.
        name: Name of the step that the orders are of; of a round, its number.

    Returns:
        Number of edges that take part; 0 if the run does not need the step.

    Raises:
        InvalidInput: no edge is enrolled, what is asked does not suit the edges, or there is no such step.
        NotFound: a named edge is not enrolled, and this is the first step.
        QuorumMissed: too many edges cannot be given an order.
    """
    with step(run_id, f"dispatch-{name}") as work:
        task = work.run.task()
        asked = steps_of(task).orders(work, task, name)
        if asked is None:
            work.say(f"{step_title(name)} is not needed.")
            return 0
        settled = work.run.waited(name)
        if settled:
            work.say(f"{step_title(name)} has its results already.")
            return len(settled.delivered) + len(settled.missing)
        return issue(work, asked)
