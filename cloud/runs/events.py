"""The operation log of a run: one small object per operation, never changed afterwards."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from cloudedge.documents import Event, parse
from cloudedge.store import Store

_MOST_BYTES = 16 * 1024 * 1024
"""Of one event; one on the orders of 100,000 edges has about 5 MB."""


def record(store: Store, run: str, actor: str, action: str, **details: Any) -> None:
    """Add an operation to the log.

    Raises:
        StoreFailed: it could not be kept.
    """
    now = datetime.now(UTC)
    event = Event(run=run, at=now, actor=actor, action=action, details=details)
    store.put(f"runs/{run}/events/{now:%Y%m%dT%H%M%S.%f}Z-{secrets.token_hex(3)}.json", event.to_json())


def events(store: Store, run: str, after: str = "") -> Iterator[tuple[str, Event]]:
    """The operations on a run with their keys, oldest first.

    Args:
        store: Where the run is kept.
        run: Id of the run.
        after: Key of the last one that is known already.
    """
    for entry in store.list(f"runs/{run}/events"):
        if entry.key > after:
            yield entry.key, parse(Event, store.get(entry.key, _MOST_BYTES), entry.key)
