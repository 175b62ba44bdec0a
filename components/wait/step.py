"""Waiting for what a step asked of edges."""

from cloud.orders.steps import await_results
from cloud.step import step
from components.systems import steps_of
from components.wait.page import page


def wait_step(run_id: str, name: str) -> tuple[int, str]:
    """Wait until enough edges have delivered.

    Args:
        run_id: Run.
        name: Name of the step that the orders are of; of a round, its number.

    Returns:
        Number of results, and a page that shows how each edge fared (empty if the run does not need the step).

    Raises:
        QuorumMissed: fewer results than the quorum, at the deadline or because too many edges failed.
        Cancelled: somebody cancelled the run.
    """
    with step(run_id, f"wait-{name}") as work:
        task = work.run.task()
        system = steps_of(task)
        asked = system.orders(work, task, name)
        if asked is None:
            return 0, ""
        watch, record = await_results(work, asked)
        return len(record.delivered), page(watch, record, system.figures)
