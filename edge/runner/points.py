"""What is kept and told of the points of an order: a window of them in each report, and all of them in a file at the end."""

from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path

from cloudedge.documents import Envelope, Order, Phase, Point
from cloudedge.documents.report import MOST_POINTS
from cloudedge.files import atomic_place

WINDOW = 50
"""Points that a report tells of work that goes on: the first one and the last ones."""


def told_of(order: Order | Envelope, phase: Phase) -> int:
    """How many points a report tells of an order in this phase.

    A cloud that has no place for a history, as of version 0.1, is told all that a report may have; and so is any cloud of work
    that ended without a result, as it gets no history.
    """
    whole = isinstance(order, Order) and order.history is None
    return MOST_POINTS if whole or phase in (Phase.FAILED, Phase.CANCELLED) else WINDOW


def windowed(points: tuple[Point, ...], most: int) -> tuple[Point, ...]:
    """The points, or of more than `most` the first one and the last ones."""
    return points if len(points) <= most else (points[0], *points[1 - most :])


def write_history(path: Path, order_id: str, points: Iterable[str]) -> None:
    """Write the file of an order's history, a point at a time.

    Args:
        path: Where to.
        order_id: Id of the order.
        points: The points by sequence, each as JSON.

    Raises:
        StoreFailed: the disk refuses.
    """
    begin, end = f'{{"schema_version": 1, "order": "{order_id}", "points": [', "\n]}\n"
    first = iter(points)
    lines = chain((f"\n{point}" for point in islice(first, 1)), (f",\n{point}" for point in first))
    atomic_place(path, lambda file: file.writelines(text.encode() for text in chain([begin], lines, [end])))
