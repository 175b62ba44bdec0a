"""Deleting a run for good.

What is deleted first makes it invisible (its task), and what says that it was deleted is written before and stays: so whoever
is interrupted finds the rest by the same id, and nobody begins a new run upon what is left of an old one.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from cloud.faults import Faults
from cloud.inboxes import Inboxes
from cloud.runs import under_way
from cloud.runs.closing import close_orders
from cloud.runs.lifecycle import at_work, patience_with, store_time
from cloud.runs.run import Run, run_folders
from cloud.runs.step_records import Deletion
from cloudedge.errors import Conflict, InvalidDocument, NotFound
from cloudedge.store import Store

AT_ONCE = 16
"""Runs that are looked at at a time."""

_SILENT_SECONDS, _BETWEEN_SECONDS = 600.0, 3600.0
"""As the reaper has them unless it is told otherwise."""

_ENDING_SECONDS = 120.0
"""A step of a run that is over may still be ending for this long after its last sign of life."""


def require_over(store: Store, run_id: str) -> None:
    """Make sure that a run can be deleted, or was.

    Raises:
        NotFound: there is no such run, and there was none that was deleted.
        Conflict: somebody works on it.
    """
    run = Run(store, run_id)
    if deletion_of(run) is None and not _has_objects(run):
        run.task()
    refusal = _refusal(run, store_time(store))
    if refusal:
        raise refusal


def delete(store: Store, inboxes: Inboxes, run_id: str, actor: str, faults: Faults) -> tuple[Deletion, int]:
    """Remove all that a store has of a run, and close its orders. Deleted again, what was left of it is removed.

    An inbox that cannot be used is kept among the faults. Orders of the run in it are those of a run that nobody knows.

    Returns:
        When it was deleted first and by whom, and how many objects were removed now.

    Raises:
        NotFound: there is no such run, and there was none that was deleted.
        Conflict: somebody works on it; nothing was removed.
    """
    require_over(store, run_id)
    run = Run(store, run_id)
    deletion = deletion_of(run)
    if deletion is None:
        deletion = Deletion(name=_name(run), actor=actor, at=datetime.now(UTC))
        run.put(run.deletion_key, deletion)
        # Whoever has begun a step of it since has given a sign of life; whoever begins one now finds that it is deleted.
        refusal = _refusal(run, store_time(store))
        if refusal:
            store.delete(run.deletion_key)
            raise refusal
    close_orders(inboxes, run_id, faults)
    visible = run.exists()
    store.delete(run.key("task.json"))
    count = visible + store.delete_below(run.key())
    under_way.leave(store, run_id)
    return deletion, count


def untouched(store: Store, seconds: float, faults: Faults) -> list[str]:
    """Ids of the runs that can be deleted and that nobody has worked on for so long, and of such remains of deleted ones.

    Those of which nobody can tell are kept among the faults.
    """
    now = store_time(store)

    def is_old(run_id: str) -> bool:
        run = Run(store, run_id)
        signs = [entry for name in ("alive", "state.json", "cancelled.json") if (entry := store.stat(run.key(name)))]
        last = max((entry.modified for entry in signs or store.list(run.key())), default=math.inf)
        return now - last >= seconds and _refusal(run, now) is None

    def look(run_id: str) -> tuple[bool, Faults]:
        old, noted = False, Faults()
        with noted.apart():
            old = is_old(run_id)
        return old, noted

    ids, found = run_folders(store), []
    with ThreadPoolExecutor(AT_ONCE) as others:  # The time goes into waiting for the store.
        for run_id, (old, noted) in zip(ids, others.map(look, ids), strict=True):
            found += [run_id] * old
            faults.join(noted)
    return found


def _refusal(run: Run, now: float) -> Conflict | None:
    """Why a run cannot be deleted now."""
    try:
        lives = run.exists() and at_work(run, run.state(), now, patience_with(run, _SILENT_SECONDS, _BETWEEN_SECONDS))
    except InvalidDocument:  # Who deletes the run is rid of that, too.
        lives = False
    if lives:
        return Conflict(f"Run {run.id} is under way: cancel it first (cloudedge tasks cancel {run.id}).")
    alive = run.store.stat(run.key("alive"))
    silent = max(0.0, now - alive.modified) if alive else math.inf
    # Whatever the run's state, a step that has not said to be done may still be ending.
    if silent < patience_with(run, _ENDING_SECONDS, 0):
        said = f"A step of run {run.id} gave a sign of life {silent:.0f} s ago, and may still be at work"
        return Conflict(f"{said}: delete it in two minutes.")
    return None


def deletion_of(run: Run) -> Deletion | None:
    """Who deleted the run; who deletes it again is rid of a word on it that cannot be read."""
    try:
        return run.deletion()
    except InvalidDocument:
        return None


def _has_objects(run: Run) -> bool:
    return next(iter(run.store.list(run.key())), None) is not None


def _name(run: Run) -> str:
    try:
        return run.task().name
    except (NotFound, InvalidDocument):
        return ""
