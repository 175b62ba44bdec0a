"""The life of a run: creating it, cancelling it on purpose, and reaping those that died."""

import time
from collections.abc import Collection, Iterator
from datetime import UTC, datetime

from cloud.faults import Faults
from cloud.inboxes import Inboxes, usable
from cloud.runs import events, under_way
from cloud.runs.closing import Closed, close_orders
from cloud.runs.run import Run
from cloud.runs.state import BETWEEN_STEPS, OVER, set_state
from cloud.runs.step_records import RunState
from cloudedge.documents import Task
from cloudedge.errors import Conflict, InvalidDocument, InvalidInput, NotFound
from cloudedge.store import Store

_CLOCK = "reaper/clock"
"""Object that the store stamps with its time."""


def create(run: Run, task: Task, actor: str) -> None:
    """Keep the task of a new run; going on with a run of the same task is no error.

    Raises:
        Conflict: the id belongs to a run of another task.
    """
    if run.create(task):
        events.record(run.store, run.id, actor, "created", name=task.name)


def cancel(store: Store, inboxes: Inboxes, run_id: str, actor: str, faults: Faults) -> bool:
    """Cancel a run: its step ends at its next look, and its edges stop; but for those whose inbox is among the faults then.

    Returns:
        Whether it was not cancelled before. Cancelling again is no error; it closes what is still open.

    Raises:
        NotFound: there is no such run.
        Conflict: it is finished already.
    """
    run = Run(store, run_id)
    run.require_exists()
    state = run.state()
    if state and state.state == "finished":
        raise Conflict(f"Run {run_id} is finished since {state.at:%Y-%m-%d %H:%M:%S} UTC; there is nothing to cancel.")
    fresh = set_state(run, RunState(state="cancelled", message=f"By {actor}.", exit_code=7, at=datetime.now(UTC)))
    closed = close_orders(inboxes, run_id, faults)
    if fresh or closed.orders:
        events.record(store, run_id, actor, "cancelled", **closed.details)
    return fresh


def reap(
    store: Store,
    inboxes: Inboxes,
    actor: str,
    silent_seconds: float,
    between_seconds: float,
    faults: Faults,
    spare: Collection[str] = (),
) -> Iterator[tuple[str, list[str]]]:
    """Close the orders of all runs that are over, or that nobody has worked on for a while.

    Args:
        store: Where the runs are kept.
        inboxes: The edges' inboxes.
        actor: Who reaps, for the operation log.
        silent_seconds: A run whose step gives no sign of life for this long is dead.
        between_seconds: So is one whose next step does not begin for this long.
        faults: Where runs and inboxes are kept that cannot be used.
        spare: Ids of runs that are left alone, because whoever reaps goes on with them.

    Yields:
        Id of a run and its orders that were closed.
    """
    now = store_time(store)
    listed = under_way.listed(store)
    unread = Faults()
    with_orders = {order.run for inbox in usable(inboxes, unread) for order in inbox.orders}
    faults.join(unread)
    for run_id in sorted((listed | with_orders) - set(spare)):
        orders: list[str] = []
        with faults.apart():
            run = Run(store, run_id)
            state = _state_or_none(run, faults)
            patience = patience_with(run, silent_seconds, between_seconds)
            if at_work(run, state, now, patience):
                continue
            died = state is not None and state.state == "running"
            message = f"No sign of life for {patience:.0f} s."
            if died:
                set_state(run, RunState(state="stopped", message=message, exit_code=8, at=datetime.now(UTC)))
            closed = (
                close_orders(inboxes, run_id, faults) if run_id in with_orders else Closed([], whole=unread.error() is None)
            )
            orders = closed.orders
            if died:
                events.record(store, run_id, actor, "stopped", message=message, **closed.details)
            elif orders and run.exists():
                events.record(store, run_id, actor, "reaped", **closed.details)
            if run_id in listed:
                under_way.leave(store, run_id)
                # A step that began since has put the run there before it gave its sign of life: one of the two sees the other.
                alive = store.stat(run.key("alive"))
                if alive is not None and alive.modified >= now:
                    under_way.enter(store, run_id)
        if orders:
            yield run_id, orders


def _state_or_none(run: Run, faults: Faults) -> RunState | None:
    """A run's state; one that cannot be read holds up no other run, and none of its orders when it falls silent."""
    try:
        return run.state()
    except InvalidDocument as error:
        faults.note(error)
        return None


def patience_with(run: Run, silent_seconds: float, between_seconds: float) -> float:
    """How long the last sign of life of a run says that somebody works on it, in seconds.

    Args:
        run: The run.
        silent_seconds: Of a step that works.
        between_seconds: Of one that is done, after which the next is to begin.
    """
    try:
        said = run.store.get(run.key("alive"), len(BETWEEN_STEPS))
    except (NotFound, InvalidInput):  # There is none, or somebody has written something longer there.
        return silent_seconds
    return {BETWEEN_STEPS: between_seconds, OVER: 0.0}.get(said, silent_seconds)


def at_work(run: Run, state: RunState | None, now: float, patience_seconds: float) -> bool:
    """Whether somebody works on a run: there was a sign of life of late, and the run has not ended since."""
    alive = run.store.stat(run.key("alive"))
    if alive is None or max(0.0, now - alive.modified) >= patience_seconds:  # A store may have more than one clock.
        return False
    if state is None or state.state == "running":
        return True
    ended = run.store.stat(run.key("state.json"))
    # A sign of life after a failure is that of a step which somebody repeats.
    return state.state in ("failed", "stopped") and ended is not None and alive.modified >= ended.modified


def store_time(store: Store) -> float:
    """Seconds since the epoch by the store's clock, as signs of life are: ours may be another."""
    store.put(_CLOCK, b"")
    entry = store.stat(_CLOCK)
    return entry.modified if entry else time.time()
