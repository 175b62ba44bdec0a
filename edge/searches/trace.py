"""The trace: searches for models on this device, under way and over. What a search did is here before it goes on."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from cloudedge.documents.automl import TraceRow
from cloudedge.documents.base import STORED
from edge.database import connect, disk_trouble, transaction

MOST = 1000
"""Searches that are kept, the newest ones."""

_SCHEMA = """
CREATE TABLE searches (id TEXT PRIMARY KEY, number INTEGER NOT NULL, document TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE begun (id TEXT NOT NULL, trial TEXT NOT NULL, times INTEGER NOT NULL, PRIMARY KEY (id, trial)) WITHOUT ROWID;
CREATE TABLE calibrated (id TEXT PRIMARY KEY, seconds REAL NOT NULL, why TEXT NOT NULL) WITHOUT ROWID
"""
_VERSION = 2
_UPGRADES = {1: ("CREATE TABLE calibrated (id TEXT PRIMARY KEY, seconds REAL NOT NULL, why TEXT NOT NULL) WITHOUT ROWID",)}


class Calibrating(NamedTuple):
    """How a device was calibrated for a search.

    Attributes:
        seconds: How long that took.
        why: Why it was done although it had been before; empty: it had not.
    """

    seconds: float
    why: str


class Searches:
    """The searches of a device."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet.

        Args:
            path: The database.
        """
        self._path = path

    def row(self, identity: str) -> TraceRow | None:
        """A search, as far as it came; None: there is none.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: the database was written by another version.
        """
        with self._open() as database:
            found = database.execute("SELECT document FROM searches WHERE id = ?", (identity,)).fetchone()
        return _read(found["document"]) if found else None

    def rows(self) -> list[TraceRow]:
        """All searches, the oldest first.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: the database was written by another version.
        """
        if not self._path.exists():
            return []
        with self._open() as database:
            return [_read(row["document"]) for row in database.execute("SELECT document FROM searches ORDER BY number")]

    def keep(self, row: TraceRow) -> None:
        """Keep how far a search came.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: the database was written by another version.
        """
        with self._open() as database, transaction(database):
            database.execute(
                "INSERT INTO searches (id, number, document) "
                "VALUES (?, (SELECT coalesce(max(number), 0) + 1 FROM searches), ?) "
                "ON CONFLICT (id) DO UPDATE SET document = excluded.document",
                (row.id, row.model_dump_json()),
            )
            database.execute(
                "DELETE FROM searches WHERE number NOT IN (SELECT number FROM searches ORDER BY number DESC LIMIT ?)", (MOST,)
            )
            for table in ("begun", "calibrated"):
                database.execute(f"DELETE FROM {table} WHERE id NOT IN (SELECT id FROM searches)")  # noqa: S608  # one of these two

    def begin(self, identity: str, trial: str) -> int:
        """Note that a training begins from nothing.

        Returns:
            How often that one has begun so, this time included.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: the database was written by another version.
        """
        with self._open() as database:
            found = database.execute(
                "INSERT INTO begun (id, trial, times) VALUES (?, ?, 1) "
                "ON CONFLICT (id, trial) DO UPDATE SET times = times + 1 RETURNING times",
                (identity, trial),
            ).fetchall()
        return int(found[0]["times"])

    def calibrated(self, identity: str) -> Calibrating | None:
        """How the device was calibrated for a search; None: it was not.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: the database was written by another version.
        """
        with self._open() as database:
            found = database.execute("SELECT seconds, why FROM calibrated WHERE id = ?", (identity,)).fetchone()
        return Calibrating(found["seconds"], found["why"]) if found else None

    def calibrate(self, identity: str, done: Calibrating) -> None:
        """Note that the device was calibrated for a search; what was noted before counts, too.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: the database was written by another version.
        """
        with self._open() as database:
            database.execute(
                "INSERT INTO calibrated (id, seconds, why) VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET seconds = seconds + excluded.seconds, why = excluded.why",
                (identity, *done),
            )

    def forget(self, identity: str) -> None:
        """Begin a search anew that may have been begun before.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: the database was written by another version.
        """
        with self._open() as database, transaction(database):
            for table in ("searches", "begun", "calibrated"):
                database.execute(f"DELETE FROM {table} WHERE id = ?", (identity,))  # noqa: S608  # one of these

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(connect(self._path, _SCHEMA, _VERSION, _UPGRADES)) as database, disk_trouble(self._path):
            yield database


def _read(document: str) -> TraceRow:
    return TraceRow.model_validate_json(document, context=STORED)
