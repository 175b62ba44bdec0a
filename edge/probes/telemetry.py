"""What the device had to give and what waited for it, over the last week. The runner notes it; searches and tools read it.

No more than statistics: the file may be removed at any time.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path

from cloudedge.documents.automl import Spread, Usual
from cloudedge.errors import Conflict, StoreFailed
from edge.database import connect, disk_trouble, transaction

PERIOD_SECONDS = 300.0
"""Between two looks."""

WEEK = timedelta(days=7)
MOST = 20_160
"""Looks that are kept, the newest ones: a week of them, also where one is taken twice a minute."""

_SCHEMA = "CREATE TABLE looks (number INTEGER PRIMARY KEY, at REAL NOT NULL, conditions TEXT NOT NULL, figures TEXT NOT NULL)"
_VERSION = 1
_PATIENCE = 1.0
"""Seconds that whoever uses the file is waited for. The runner hears nothing meanwhile, and a missed look is no loss."""

_OUTSIDE = 0.05
"""Share of the looks that are lower than what is told as low, and of those that are higher than what is told as high."""


class Telemetry:
    """What is known of the last week."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet.

        Args:
            path: The database.
        """
        self._path = path

    def note(self, figures: Mapping[str, float], conditions: str, at: datetime) -> None:
        """Note how the device is.

        Args:
            figures: By name, as far as they are known.
            conditions: What they depend on that somebody sets.
            at: When that was.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: the database was written by another version.
        """
        with self._open() as database, transaction(database):
            database.execute(
                "INSERT INTO looks (at, conditions, figures) VALUES (?, ?, ?)",
                (at.timestamp(), conditions, json.dumps(figures)),
            )
            database.execute("DELETE FROM looks WHERE number <= (SELECT max(number) FROM looks) - ?", (MOST,))

    def looks(self, conditions: str) -> list[tuple[datetime, dict[str, float]]]:
        """How the device was within a week of now, the oldest look first. What a wrong clock dates elsewhere is left out.

        Args:
            conditions: Under others nothing is looked at.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: the database was written by another version.
        """
        if not self._path.exists():
            return []
        now = datetime.now(UTC)
        with self._open() as database:
            rows = database.execute(
                "SELECT at, figures FROM looks WHERE conditions = ? AND at BETWEEN ? AND ? ORDER BY number",
                (conditions, (now - WEEK).timestamp(), now.timestamp()),
            ).fetchall()
        return [(datetime.fromtimestamp(row["at"], UTC), json.loads(row["figures"])) for row in rows]

    def usual(self, conditions: str) -> Usual | None:
        """How the device was within a week of now; None: nobody looked.

        Args:
            conditions: Those of now.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: the database was written by another version.
        """
        looks = self.looks(conditions)
        values: dict[str, list[float]] = {}
        for _, figures in looks:
            for name, value in figures.items():
                values.setdefault(name, []).append(value)
        if not values:
            return None
        times = [at for at, _ in looks]
        figures_of = {name: _spread(found) for name, found in values.items()}
        return Usual(looks=len(looks), since=min(times), until=max(times), figures=figures_of)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(connect(self._path, _SCHEMA, _VERSION, patience=_PATIENCE)) as database, disk_trouble(self._path):
                yield database
        except (StoreFailed, Conflict) as error:
            raise type(error)(f"{error} The file may be removed.") from error


def _spread(values: list[float]) -> Spread:
    """Of values that were there: nothing between two of them is made up."""
    ordered = sorted(values)
    last = len(ordered) - 1
    low, median, high = (ordered[place] for place in (int(_OUTSIDE * last), last // 2, ceil((1 - _OUTSIDE) * last)))
    return Spread(looks=len(ordered), low=low, median=median, high=high)
