"""The trace: searches that are over, aggregated in the store. A run that is deleted takes none of its own with it.

automl/trace/<order id>.json    one search
"""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from cloudedge.documents import parse
from cloudedge.documents.automl import MAX_SEARCH_BYTES, TraceRow
from cloudedge.documents.order import OrderName
from cloudedge.errors import Conflict, InvalidInput, NotFound
from cloudedge.store import Store, checked_key

_ROOT = "automl/trace"

_AT_ONCE = 16
"""Searches read at a time."""


def keep(store: Store, row: TraceRow) -> None:
    """Keep a search, once: one that is kept already stays as it is.

    Devices say what a row is. One that is not named after an order to its own device is not kept.
    """
    key = _key_of(row)
    if key:
        with contextlib.suppress(Conflict):
            store.put(key, row.model_dump_json().encode(), once=True)


def entries(store: Store) -> Iterator[tuple[str, TraceRow | None]]:
    """Keys of the trace, sorted, each with its search; none: it cannot be read, or is not the one that belongs there."""
    keys = [entry.key for entry in store.list(_ROOT)]
    with ThreadPoolExecutor(_AT_ONCE) as others:  # The time goes into waiting for the store.
        yield from zip(keys, others.map(lambda key: _read(store, key), keys), strict=True)


def _read(store: Store, key: str) -> TraceRow | None:
    try:
        row = parse(TraceRow, store.get(key, MAX_SEARCH_BYTES), key, MAX_SEARCH_BYTES, stored=True)
    except (InvalidInput, NotFound):
        return None
    return row if _key_of(row) == key else None


def _key_of(row: TraceRow) -> str:
    """Key of a search; empty: it is not named after an order to its device."""
    try:
        order = OrderName.parse(row.id)
        return checked_key(f"{_ROOT}/{row.id}.json") if order.edge == row.device else ""
    except InvalidInput:
        return ""
