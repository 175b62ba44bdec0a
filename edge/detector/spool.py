"""History on the detector's disk: what was inspected, until the line's edge server has it, and for as long as there is room.

A record is a row of a database, its image a file beside it. A record counts once its file is written, and after
a crash each is compared with what it says of its file: what is not whole goes, and so does a file without a record.

What is let go, when it all takes more bytes than it may, or the disk is full: accepted and unjudged parts that the edge server
has; then those it does not have; then rejects and errors; what people taught at the very last; the oldest first each time.

What is older than it may be goes, too, sent or not, except taught images that were not sent. A clock decides that, and clocks
jump: the newest `ALWAYS_KEPT` images stay whatever it says, and a step while the detector runs counts for nothing, as the
time since its start is counted by a clock that nobody sets. Order is by number, never by time.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cloudedge.clocks import passed
from cloudedge.documents.line import Record
from cloudedge.errors import StoreFailed
from cloudedge.files import disk_errors
from edge.database import connect, disk_trouble, transaction

_log = logging.getLogger(__name__)

ALWAYS_KEPT = 100
"""Newest images that stay whatever the clock says."""

ROW_BYTES = 600
"""What a record is taken to need in the database, beside its heat map."""

_SCHEMA = """
CREATE TABLE images (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  worth INTEGER NOT NULL,
  sent INTEGER NOT NULL DEFAULT 0,
  taken REAL NOT NULL,
  size INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  record TEXT NOT NULL,
  heat BLOB NOT NULL
);
CREATE INDEX by_worth ON images (worth, sent DESC, id);
CREATE INDEX unsent ON images (id) WHERE sent = 0
"""
_VERSION = 1

_ORDINARY, _REMARKABLE, _TAUGHT = range(3)

_SHARE_FREED = 0.02
"""Of all bytes, at a full disk."""

_MOST_AT_ONCE = 500
_RESERVE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Spooled:
    """An image that is kept.

    Attributes:
        id: Its number.
        record: What is known of it.
        image: Its PNG file.
        heat: Its heat map's PNG file; empty: it has none.
    """

    id: int
    record: Record
    image: Path
    heat: bytes


class Fresh(NamedTuple):
    """An image to be kept.

    Attributes:
        record: What is known of it; its number is given by the spool.
        image: Its PNG file.
        heat: Its heat map's PNG file; empty: it has none.
        remarkable: Whether it is a reject or could not be judged.
    """

    record: Record
    image: bytes
    heat: bytes = b""
    remarkable: bool = False


class Spool:
    """The images of one detector. All of it may be called from any thread."""

    def __init__(self, folder: Path, most_bytes: int, most_hours: float) -> None:
        """Open it and tidy up what a crash left.

        Args:
            folder: Where it is; it is made.
            most_bytes: What it may take.
            most_hours: How old an image may become.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: another version wrote it.
        """
        self._folder = folder
        self._images = folder / "images"
        self._most_bytes = most_bytes
        self._most_seconds = most_hours * 3600
        self._lock = threading.Lock()
        self._began = time.time() - passed()
        self._bytes = 0
        self._unsent = 0
        with disk_errors(self._images):
            self._images.mkdir(parents=True, exist_ok=True)
        self._path = folder / "spool.db"
        self._reserve = folder / "reserve"
        try:
            self._database = self._opened()
        except StoreFailed:  # A disk that is full, perhaps by what is here: the database needs a little of it to be opened.
            self._reserve.unlink(missing_ok=True)
            self._database = self._opened()
            self._free_some()
        try:
            self._let_go()  # A crash between keeping an image and letting go of others, or another bound than before.
        except StoreFailed as error:
            _log.warning("no room could be made: %s", error)
        self._keep_reserve()

    def _opened(self) -> sqlite3.Connection:
        connect(self._path, _SCHEMA, _VERSION).close()
        # One connection for all threads, one after the other; an image that a power cut takes is worth no wait for the disk.
        with disk_trouble(self._path):
            database = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
            try:
                database.row_factory = sqlite3.Row
                database.execute("PRAGMA synchronous = NORMAL")
                self._tidy(database)
                self._bytes, self._unsent = database.execute(
                    "SELECT COALESCE(SUM(bytes), 0), COUNT(*) - COALESCE(SUM(sent), 0) FROM images"
                ).fetchone()
            except BaseException:
                database.close()
                raise
        return database

    def _keep_reserve(self) -> None:
        """Hold some of the disk, for the day when it is full."""
        if self._reserve.exists():
            return
        try:
            with self._reserve.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, _RESERVE_BYTES)
        except OSError:
            self._reserve.unlink(missing_ok=True)

    def close(self) -> None:
        """Write what is not written, and close."""
        with self._lock:
            self._database.close()

    def add(self, images: Sequence[Fresh]) -> list[int]:
        """Keep images, in their order; what there is no room for any more then is let go.

        Returns:
            Their numbers.

        Raises:
            StoreFailed: the disk refuses; some older ones were let go, and of these images none is kept.
        """
        with self._lock:
            try:
                numbers = self._add(images)
            except StoreFailed:
                self._free_some()
                raise
            self._let_go()
            self._keep_reserve()
            return numbers

    def unsent(self, most: int) -> list[Spooled]:
        """What the edge server does not have, oldest first.

        Args:
            most: At most so many.

        Raises:
            StoreFailed: the disk refuses.
        """
        with self._lock, disk_trouble(self._path):
            rows = self._database.execute(
                "SELECT id, record, heat FROM images WHERE sent = 0 ORDER BY id LIMIT ?", (most,)
            ).fetchall()
        found = []
        for row in rows:
            record = Record.model_validate_json(row["record"]).model_copy(update={"id": row["id"]})
            found.append(Spooled(row["id"], record, self._image(row["id"]), row["heat"]))
        return found

    def sent(self, ids: Collection[int]) -> None:
        """Take note that the edge server has these, and need not get them again; unknown ones were let go meanwhile.

        Raises:
            StoreFailed: the disk refuses.
        """
        with self._lock, disk_trouble(self._path):
            with transaction(self._database):
                done = self._database.executemany(
                    "UPDATE images SET sent = 1 WHERE id = ? AND sent = 0", [(each,) for each in ids]
                )
            self._unsent -= max(0, done.rowcount)

    def backlog(self) -> int:
        """How many the edge server does not have."""
        return self._unsent

    @property
    def bytes(self) -> int:
        """What it all takes."""
        return self._bytes

    def let_go_of_old(self) -> None:
        """Let go of what is older than it may be.

        Raises:
            StoreFailed: the disk refuses.
        """
        oldest = self._began + passed() - self._most_seconds
        with self._lock, disk_trouble(self._path):
            rows = self._database.execute(
                "SELECT id, sent, bytes FROM images WHERE taken < ? AND NOT (worth = ? AND sent = 0) "
                "AND id NOT IN (SELECT id FROM images ORDER BY id DESC LIMIT ?) ORDER BY id",
                (oldest, _TAUGHT, ALWAYS_KEPT),
            ).fetchall()
            self._remove(rows)

    def _add(self, images: Sequence[Fresh]) -> list[int]:
        written: list[Path] = []
        numbers: list[int] = []
        try:
            with disk_trouble(self._path), transaction(self._database):
                for fresh in images:
                    number = self._insert(fresh)
                    path = self._image(number)
                    written.append(path)
                    with disk_errors(path):
                        path.write_bytes(fresh.image)
                    numbers.append(number)
        except BaseException:
            for path in written:
                path.unlink(missing_ok=True)
            raise
        self._bytes += sum(_bytes(fresh) for fresh in images)
        self._unsent += len(images)
        return numbers

    def _insert(self, fresh: Fresh) -> int:
        worth = _TAUGHT if fresh.record.label else _REMARKABLE if fresh.remarkable else _ORDINARY
        row = (
            worth,
            self._began + passed(),
            len(fresh.image),
            _bytes(fresh),
            fresh.record.model_dump_json(),
            fresh.heat,
        )
        done = self._database.execute(
            "INSERT INTO images (worth, taken, size, bytes, record, heat) VALUES (?, ?, ?, ?, ?, ?)", row
        )
        return int(done.lastrowid or 0)

    def _let_go(self) -> None:
        while self._bytes > self._most_bytes:
            if not self._free(self._bytes - self._most_bytes):
                return

    def _free_some(self) -> None:
        """Make room on a full disk, where it is ours to make."""
        try:
            self._free(max(1, int(self._bytes * _SHARE_FREED)))
        except StoreFailed as error:
            _log.warning("no room could be made: %s", error)

    def _free(self, wanted: int) -> int:
        """Let go of what matters least, at most so many at once; returns how many were."""
        with disk_trouble(self._path):
            rows = self._database.execute(
                "SELECT id, sent, bytes FROM images ORDER BY worth, sent DESC, id LIMIT ?", (_MOST_AT_ONCE,)
            ).fetchall()
        chosen, freed = [], 0
        for row in rows:
            if freed >= wanted:
                break
            chosen.append(row)
            freed += row["bytes"]
        self._remove(chosen)
        return len(chosen)

    def _remove(self, rows: Sequence[sqlite3.Row]) -> None:
        if not rows:
            return
        for row in rows:  # On a full disk, the database can only change once there is room.
            self._image(row["id"]).unlink(missing_ok=True)
        with disk_trouble(self._path), transaction(self._database):
            self._database.executemany("DELETE FROM images WHERE id = ?", [(row["id"],) for row in rows])
        self._bytes -= sum(row["bytes"] for row in rows)
        self._unsent -= sum(not row["sent"] for row in rows)

    def _tidy(self, database: sqlite3.Connection) -> None:
        """Remove files without a record, and records without their file, whole."""
        with disk_errors(self._images):
            sizes = {path.name: path.stat().st_size for path in self._images.iterdir()}
            rows = database.execute("SELECT id, size FROM images").fetchall()
            lost = [row for row in rows if sizes.get(self._image(row["id"]).name) != row["size"]]
            known = {self._image(row["id"]).name for row in rows}
            for name in sizes.keys() - known:
                (self._images / name).unlink(missing_ok=True)
            for row in lost:
                self._image(row["id"]).unlink(missing_ok=True)
            if lost:
                with transaction(database):
                    database.executemany("DELETE FROM images WHERE id = ?", [(row["id"],) for row in lost])
        if lost:
            _log.warning("%d images were not written whole before the detector ended, and are let go", len(lost))

    def _image(self, number: int) -> Path:
        return self._images / f"{number}.png"


def _bytes(fresh: Fresh) -> int:
    return len(fresh.image) + len(fresh.heat) + ROW_BYTES
