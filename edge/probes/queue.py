"""Job: what waits on this device, seven numbers a task. The runner's queue is the queue, and its open orders are the tasks.

How long an order takes is told by what it or the last order of its kind has taken so far, and what it would take on an
accelerator by how somebody has described that. The ledger is only read.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from cloudedge.documents.automl import Accelerator, QueuedJob
from cloudedge.documents.report import MOST_SECONDS
from edge.clock import Moment, now
from edge.database import disk_trouble

_OPEN = """SELECT id, document, boot, up, wall, progress,
(SELECT point FROM points WHERE order_id = id ORDER BY sequence DESC LIMIT 1) AS point FROM orders
WHERE NOT closed AND phase NOT IN ('uploading', 'done', 'failed', 'cancelled') ORDER BY position"""
_DONE = """SELECT document, (SELECT point FROM points WHERE order_id = id ORDER BY sequence DESC LIMIT 1) AS point FROM orders
WHERE phase IN ('uploading', 'done') ORDER BY position DESC LIMIT 100"""


class _Taken(NamedTuple):
    """What an order took: seconds, and epochs where it counts them."""

    seconds: float
    epochs: int


def queue(ledger: Path, watts: float = 0.0, but: str = "", accelerators: Sequence[Accelerator] = ()) -> tuple[QueuedJob, ...]:
    """What waits, first one first; empty without a runner.

    Args:
        ledger: The runner's database.
        watts: Power of the device at work, by which the energy of a task is estimated; 0: not known.
        but: Id of an order that is not counted: the one that asks.
        accelerators: Those that are described; the fastest one counts.

    Raises:
        StoreFailed: the ledger cannot be read.
    """
    if not ledger.exists():
        return ()
    with disk_trouble(ledger), closing(sqlite3.connect(f"file:{quote(str(ledger))}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        waiting, done = database.execute(_OPEN).fetchall(), database.execute(_DONE).fetchall()
    before: dict[str, _Taken] = {}
    for kind, work, point in _taken(done):
        before.setdefault(kind, _Taken(point["seconds"], _epochs(work) or int(point["sequence"])))
    found = []
    for row in waiting:
        order = json.loads(row["document"])
        if row["id"] == but or "work" not in order:  # An order that was refused has no work.
            continue
        left = order["time_limit_seconds"] - Moment(row["boot"], row["up"], row["wall"]).seconds_until(now())
        runtime = min(max(0.0, left), _runtime(order["work"], row, before, max(0.0, left)))
        cores = _threads(order["work"])
        found.append(
            QueuedJob(
                runtime_cpu=runtime,
                energy_cpu=watts * runtime,
                nodes_cpu=cores,
                latency_limit=max(0.0, left),
                **_accelerated(accelerators, runtime * cores),
            )
        )
    return tuple(found)


def _accelerated(accelerators: Sequence[Accelerator], seconds: float) -> dict[str, float]:
    """What work that takes one core some seconds would take on the fastest accelerator; empty: there is none."""
    if not accelerators:
        return {}
    fastest = max(accelerators, key=lambda each: each.speed)
    runtime = min(seconds / fastest.speed, MOST_SECONDS)
    return {"runtime_npu": runtime, "energy_npu": fastest.watts * runtime, "nodes_npu": fastest.nodes}


def _runtime(work: dict[str, Any], row: Any, before: dict[str, _Taken], left: float) -> float:
    """Seconds that an order still takes; its time limit, where nothing is known."""
    epochs = _epochs(work)
    if row["point"]:
        point = json.loads(row["point"])
        total = epochs or max((each.get("total", 0) for each in json.loads(row["progress"])), default=0)
        if point["sequence"] and total:
            return float(point["seconds"] / point["sequence"] * max(0, total - point["sequence"]))
    taken = before.get(work.get("kind", ""))
    if taken is None:
        return left
    return taken.seconds / taken.epochs * epochs if epochs and taken.epochs else taken.seconds


def _taken(rows: list[Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Kind, work and last point of orders that had points."""
    for row in rows:
        work = json.loads(row["document"]).get("work")
        if work and row["point"]:
            yield work.get("kind", ""), work, json.loads(row["point"])


def _epochs(work: dict[str, Any]) -> int:
    """Most epochs that are asked for, of a search those of all its trials; 0: it counts none."""
    return int((work.get("training") or {}).get("epochs", 0)) * int(work.get("trials", 1))


def _threads(work: dict[str, Any]) -> float:
    """Cores that an order's work computes on."""
    return float((work.get("training") or work).get("threads", 1))
