"""How an edge stands, read from its disk: for a person beside the machine, whether or not its runner is at work."""

import math
from dataclasses import asdict
from typing import Any

from cloudedge.documents import Order
from cloudedge.errors import NotFound
from edge.folders import Folders
from edge.lock import is_locked
from edge.runner.ledger import Entry, Ledger
from edge.samples.store import SampleStore
from edge.tools.standing import Standing, standings

_LATEST = 20
"""Orders shown that are closed."""


def status_of(folders: Folders) -> dict[str, Any]:
    """All there is to say, fit for JSON.

    Returns:
        running, edge, generation, inbox_fault, orders (open ones, with how they stand, and the latest closed ones), uploads,
        samples, bad_files.

    Raises:
        NotFound: no runner has used this directory, and no sample was added.
    """
    if not folders.ledger.exists() and not folders.samples.exists():
        raise NotFound(f"No runner has used {folders.state} yet. Correct --state, or start a runner.")
    ledger = Ledger(folders.ledger)
    store = SampleStore(folders.samples)
    entries, uploads, running = ledger.entries(latest=_LATEST), ledger.uploads(), is_locked(folders.lock)
    standing = standings(ledger.entries(), ledger.holdups(), uploads, running=running)
    return {
        "running": running,
        "edge": ledger.fact("edge"),
        "generation": ledger.fact("generation"),
        "inbox_fault": ledger.fact("inbox_fault"),
        "orders": [_order(entry, standing.get(entry.order.id)) for entry in entries],
        "uploads": [
            {"order": upload.order_id, "name": upload.name, "tries": upload.tries, "trouble": upload.trouble}
            for upload in uploads
        ],
        "samples": store.count(),
        "bad_files": [asdict(file) for file in store.bad_files()],
    }


def _order(entry: Entry, standing: Standing | None) -> dict[str, Any]:
    return {
        "id": entry.order.id,
        "kind": entry.order.work.kind if isinstance(entry.order, Order) else "refused",
        "phase": entry.phase.value,
        "progress": [stream.model_dump() for stream in entry.progress],
        "gauges": {name: value if math.isfinite(value) else None for name, value in entry.gauges.items()},
        "point": entry.points[-1].model_dump(mode="json") if entry.points else None,
        "accepted_at": entry.accepted.iso(),
        "error": entry.error.message if entry.error else None,
        "standing": standing and standing._asdict(),
    }
