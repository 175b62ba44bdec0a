"""The operation log of a run: one small object per operation, never changed afterwards."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from cloud.keys import run_key
from cloudedge.documents import Event, parse
from cloudedge.errors import InvalidInput
from cloudedge.store import Store

_MOMENT = "%Y%m%dT%H%M%S.%f"
"""As objects of operations are named by it."""

_MOST_BYTES = 16 * 1024 * 1024
"""Of one event; one on the orders of 100,000 edges has about 5 MB."""


def record(store: Store, run: str, actor: str, action: str, **details: Any) -> None:
    """Add an operation to the log.

    Raises:
        StoreFailed: it could not be kept.
    """
    now = datetime.now(UTC)
    event = Event(run=run, at=now, actor=actor, action=action, details=details)
    store.put(run_key(run, "events", f"{now:{_MOMENT}}Z-{secrets.token_hex(3)}.json"), event.to_json())


def events(store: Store, run: str, after: str = "") -> Iterator[tuple[str, Event]]:
    """The operations on a run with their keys, oldest first; in the place of one that cannot be read stands why.

    Args:
        store: Where the run is kept.
        run: Id of the run.
        after: Key of the last one that is known already.
    """
    for entry in store.list(run_key(run, "events")):
        at = _written_at(entry.key)
        if entry.key <= after or at is None:
            continue
        try:
            event = parse(Event, store.get(entry.key, _MOST_BYTES), entry.key)
        except InvalidInput as error:
            event = Event(run=run, at=at, actor="unknown", action="unreadable", details={"why": " ".join(str(error).split())})
        yield entry.key, event


def _written_at(key: str) -> datetime | None:
    """When an operation was kept, by its object's key; none: it is none of ours."""
    try:
        return datetime.strptime(key.rpartition("/")[2].partition("Z-")[0] + "+0000", f"{_MOMENT}%z")
    except ValueError:
        return None
