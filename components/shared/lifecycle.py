"""The life of a run: creating it, cancelling it on purpose, and reaping those that died."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from cloudedge.documents import Task
from cloudedge.errors import Conflict
from cloudedge.store import Store
from components.shared import events
from components.shared.inboxes import Inboxes
from components.shared.orders import close_orders
from components.shared.records import RunState
from components.shared.run import Run, run_ids
from components.shared.step import set_state


def create(run: Run, task: Task, actor: str) -> None:
    """Keep the task of a new run; going on with a run of the same task is no error.

    Raises:
        Conflict: the id belongs to a run of another task.
    """
    if run.create(task):
        events.record(run.store, run.id, actor, "created", name=task.name)


def cancel(store: Store, inboxes: Inboxes, run_id: str, actor: str) -> bool:
    """Cancel a run: its step ends at its next look, and its edges stop.

    Returns:
        Whether it was not cancelled before. Cancelling again is no error; it closes what is still open.

    Raises:
        NotFound: there is no such run.
        Conflict: it is finished already.
    """
    run = Run(store, run_id)
    run.task()
    state = run.state()
    if state and state.state == "finished":
        raise Conflict(f"Run {run_id} is finished since {state.at:%Y-%m-%d %H:%M:%S} UTC; there is nothing to cancel.")
    again = state is not None and state.state == "cancelled"
    if not again:
        set_state(run, RunState(state="cancelled", message=f"By {actor}.", exit_code=7, at=datetime.now(UTC)))
    closed = close_orders(inboxes, run_id)
    if not again or closed:
        events.record(store, run_id, actor, "cancelled", closed=closed)
    return not again


def reap(store: Store, inboxes: Inboxes, actor: str, silent_seconds: float) -> Iterator[tuple[str, list[str]]]:
    """Close the orders of all runs that are over, or that nobody has worked on for a while.

    Args:
        store: Where the runs are kept.
        inboxes: The edges' inboxes.
        actor: Who reaps, for the operation log.
        silent_seconds: A running run without a sign of life for this long is dead.

    Yields:
        Id of a run and its orders that were closed.
    """
    with_orders = {order.run for edge in inboxes.edges() for order in inboxes.read(edge).orders}
    for run_id in sorted(with_orders | set(run_ids(store))):
        run = Run(store, run_id)
        state = run.state()
        if state is None or state.state == "running":
            alive = store.stat(run.key("alive"))
            if alive and time.time() - alive.modified < silent_seconds:
                continue
            if state is not None:
                message = f"No sign of life for {silent_seconds:.0f} s."
                set_state(run, RunState(state="stopped", message=message, exit_code=8, at=datetime.now(UTC)))
        if run_id not in with_orders:
            continue
        closed = close_orders(inboxes, run_id)
        if closed:
            events.record(store, run_id, actor, "reaped", closed=closed)
            yield run_id, closed
