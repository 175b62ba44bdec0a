"""What the device had to give and what waited for it, over the last week. The runner keeps it; searches and tools read it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path

from cloudedge.automl.screen import backlog
from cloudedge.documents.automl import DeviceState, Resources, Spread, Usual
from cloudedge.documents.base import STORED
from edge.database import connect, disk_trouble, transaction

PERIOD_SECONDS = 300.0
"""Between two looks."""

WEEK = timedelta(days=7)
MOST = 2016
"""Looks that are kept, the newest ones: a week of them."""

_SCHEMA = "CREATE TABLE looks (number INTEGER PRIMARY KEY, document TEXT NOT NULL)"
_VERSION = 1
_OUTSIDE = 0.05
"""Share of the looks that are lower than what is told as low, and higher than what is told as high."""

_FIGURES = tuple(name for name in Resources.model_fields if name != "origins")


class Telemetry:
    """What is known of the last week."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet.

        Args:
            path: The database.
        """
        self._path = path

    def keep(self, state: DeviceState) -> None:
        """Keep how the device is now.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: the database was written by another version.
        """
        with self._open() as database, transaction(database):
            database.execute("INSERT INTO looks (document) VALUES (?)", (state.model_dump_json(exclude_defaults=True),))
            database.execute("DELETE FROM looks WHERE number <= (SELECT max(number) FROM looks) - ?", (MOST,))

    def looks(self) -> list[DeviceState]:
        """How the device was within a week of now, the oldest look first. What a wrong clock dates elsewhere is left out.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: the database was written by another version.
        """
        if not self._path.exists():
            return []
        with self._open() as database:
            found = [row["document"] for row in database.execute("SELECT document FROM looks ORDER BY number")]
        states = [DeviceState.model_validate_json(document, context=STORED) for document in found]
        now = datetime.now(UTC)
        return [state for state in states if now - WEEK <= state.at <= now]

    def usual(self) -> Usual | None:
        """How the device was within a week of now; None: nobody looked.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: the database was written by another version.
        """
        looks = self.looks()
        if not looks:
            return None
        figures = {
            name: _spread([float(getattr(each.resources, name)) for each in looks])
            for name in _FIGURES
            if any(each.resources.origins.get(name) != "absent" for each in looks)
        }
        figures["waiting"] = _spread([float(len(each.jobs)) for each in looks])
        figures["backlog"] = _spread([backlog(each.jobs) for each in looks])
        times = [each.at for each in looks]
        return Usual(looks=len(looks), since=min(times), until=max(times), figures=figures)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(connect(self._path, _SCHEMA, _VERSION)) as database, disk_trouble(self._path):
            yield database


def _spread(values: list[float]) -> Spread:
    """Of values that were there: nothing between two of them is made up."""
    ordered = sorted(values)
    last = len(ordered) - 1
    low, median, high = (ordered[place] for place in (int(_OUTSIDE * last), last // 2, ceil((1 - _OUTSIDE) * last)))
    return Spread(low=low, median=median, high=high)
