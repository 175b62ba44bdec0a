"""The sample store: what this edge has collected, converted to the task's format and kept in its own database.

A sample is known by the digest of its content, so the same sample is kept once however often it arrives; a deleted one
stays deleted when its file is read again. Samples keep the order of their arrival, and their number within their class
decides for good whether they are held out.
"""

import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cloudedge.data import Record, is_held_out, pack, read_records, sample_files, unpack
from cloudedge.documents import DataFormat, canonical_json
from cloudedge.errors import CloudedgeError, NotFound, StoreFailed
from edge.database import connect, disk_trouble, transaction

_log = logging.getLogger(__name__)

_VERSION = 2
_FILES = """
CREATE TABLE files (
    form TEXT NOT NULL, reading TEXT NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, changed INTEGER NOT NULL, fault TEXT,
    again INTEGER NOT NULL, PRIMARY KEY (form, reading, path)
) WITHOUT ROWID
"""
_SCHEMA = f"""
CREATE TABLE forms (id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE samples (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    form TEXT NOT NULL, digest TEXT NOT NULL, label INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    content BLOB, source TEXT NOT NULL, added_at TEXT NOT NULL, by_hand INTEGER NOT NULL DEFAULT 0,
    UNIQUE (form, digest)
);
CREATE INDEX samples_by_class ON samples (form, label, ordinal);
{_FILES};
CREATE TABLE collections (
    order_id TEXT NOT NULL, number INTEGER NOT NULL, last_sample INTEGER NOT NULL, PRIMARY KEY (order_id, number)
) WITHOUT ROWID
"""
_UPGRADES = {1: ("DROP TABLE files", _FILES, "ALTER TABLE samples ADD COLUMN by_hand INTEGER NOT NULL DEFAULT 0")}
"""From a version to the next: files are read once more, which brings no sample twice."""

_INSERT = """
INSERT INTO samples (form, digest, label, ordinal, content, source, added_at, by_hand)
VALUES (
  :form, :digest, :label, (SELECT ifnull(max(ordinal) + 1, 0) FROM samples WHERE form = :form AND label = :label),
  :content, :source, :now, :by_hand
)
ON CONFLICT (form, digest) DO UPDATE SET content = excluded.content WHERE content IS NULL AND :by_hand
"""
_SAMPLES_PER_TRANSACTION = 1000


@dataclass(frozen=True)
class StoredSample:
    """A sample in the store, without its values; `number` counts within its class from 0, in order of arrival."""

    id: int
    label: str
    number: int
    digest: str
    source: str
    added_at: str


@dataclass(frozen=True)
class BadFile:
    """A file that gave no samples, and why."""

    path: str
    fault: str


@dataclass(frozen=True)
class Collection:
    """The samples that a piece of work uses: those up to one of them, and how many collections after the first it took."""

    number: int
    last_sample: int


class SampleStore:
    """The database of samples."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: it was written by another version.
        """
        self._path = path
        self._database = connect(path, _SCHEMA, _VERSION, _UPGRADES)

    def add(self, path: Path, data: DataFormat) -> int:
        """Take the samples of a file or folder; ones deleted before come back.

        Returns:
            How many were not there before.

        Raises:
            InvalidSamples: something does not fit the format; nothing was added.
            NotFound: there is no such file.
            StoreFailed: the disk refuses.
        """
        records = list(read_records(path, data))
        with disk_trouble(self._path), transaction(self._database):
            return self._insert(records, data, str(path), by_hand=True)

    def collect(self, directory: Path, data: DataFormat) -> int:
        """Take what is new in a directory of samples, file by file in sorted order; a bad file is noted and passed over.

        Returns:
            How many samples were not there before.

        Raises:
            StoreFailed: the disk refuses.
        """
        paths = sample_files(directory, data)
        known = {row["path"]: row for row in self._files(data) if row["reading"] == _reading(data)}
        bad = {path for path, row in known.items() if row["fault"] is not None}
        gone = [(_form(data), _reading(data), path) for path in bad.difference(map(str, paths))]
        with disk_trouble(self._path):
            self._database.executemany("DELETE FROM files WHERE form = ? AND reading = ? AND path = ?", gone)
        return self._read(paths, known, data)

    def mirror(self, directory: Path, data: DataFormat) -> int:
        """Take what a directory holds as if nothing had been collected before, unless what was is just what it holds.

        Samples that were added by hand stay, and deleted ones stay deleted.

        Returns:
            How many samples were not there before.

        Raises:
            StoreFailed: the disk refuses.
        """
        paths = sample_files(directory, data)
        if self._outdated(paths, data):
            _log.info("%s is not what it was: all of its files are read anew", directory)
            with disk_trouble(self._path), transaction(self._database):
                for statement in (
                    "DELETE FROM samples WHERE form = ? AND content IS NOT NULL AND NOT by_hand",
                    "DELETE FROM files WHERE form = ?",
                ):
                    self._database.execute(statement, (_form(data),))
        known = {row["path"] for row in self._files(data)}
        # A file that changes right now is left as it was read, and found to be outdated the next time.
        return self._read([path for path in paths if str(path) not in known], {}, data)

    def collection(self, order_id: str) -> Collection | None:
        """The samples that an order's work was last settled on, if it was."""
        with disk_trouble(self._path):
            statement = "SELECT number, last_sample FROM collections WHERE order_id = ? ORDER BY number DESC LIMIT 1"
            row = self._database.execute(statement, (order_id,)).fetchone()
        return Collection(row["number"], row["last_sample"]) if row else None

    def settle(self, order_id: str, number: int) -> Collection:
        """Settle an order's work on the samples that are here now, so that it uses the same ones after a crash."""
        with disk_trouble(self._path), transaction(self._database):
            last = self._database.execute("SELECT ifnull(max(id), 0) FROM samples").fetchone()[0]
            self._database.execute("INSERT INTO collections VALUES (?, ?, ?)", (order_id, number, last))
        return Collection(number, last)

    def unsettle(self, order_id: str) -> None:
        """Forget what an order's work was settled on: it begins anew."""
        with disk_trouble(self._path), transaction(self._database):
            self._database.execute("DELETE FROM collections WHERE order_id = ?", (order_id,))

    def has_more(self, data: DataFormat, collection: Collection) -> bool:
        """Whether samples came after a collection."""
        with disk_trouble(self._path):
            statement = "SELECT 1 FROM samples WHERE form = ? AND id > ? AND content IS NOT NULL LIMIT 1"
            return self._database.execute(statement, (_form(data), collection.last_sample)).fetchone() is not None

    def records(self, data: DataFormat, collection: Collection, *, held_out: bool) -> Iterator[Record]:
        """The samples of a collection in order of arrival: those to measure on, or those to train on."""
        statement = "SELECT ordinal, content FROM samples WHERE form = ? AND id <= ? AND content IS NOT NULL ORDER BY id"
        with disk_trouble(self._path):
            for row in self._database.execute(statement, (_form(data), collection.last_sample)):
                if is_held_out(row["ordinal"], data.held_out) is held_out:
                    yield unpack(row["content"], data)

    def fingerprint(self, data: DataFormat, collection: Collection) -> str:
        """Digest over the digests of a collection's samples, in order of arrival."""
        statement = "SELECT digest FROM samples WHERE form = ? AND id <= ? AND content IS NOT NULL ORDER BY id"
        digest = hashlib.sha256()
        with disk_trouble(self._path):
            for row in self._database.execute(statement, (_form(data), collection.last_sample)):
                digest.update(bytes.fromhex(row["digest"]))
        return digest.hexdigest()

    def query(self, label: str | None = None, source: str | None = None) -> Iterator[StoredSample]:
        """Samples in order of arrival, of one class or from one file if given."""
        with disk_trouble(self._path):
            forms = self._database.execute("SELECT id, data FROM forms").fetchall()
            classes = {row["id"]: DataFormat.model_validate_json(row["data"]).classes for row in forms}
            rows = self._database.execute(
                "SELECT id, form, label, ordinal, digest, source, added_at FROM samples WHERE content IS NOT NULL "
                "AND (:source IS NULL OR source = :source) ORDER BY id",
                {"source": source},
            )
            for row in rows:
                name = classes[row["form"]][row["label"]]
                if label is None or label == name:
                    yield StoredSample(row["id"], name, row["ordinal"], row["digest"], row["source"], row["added_at"])

    def count(self) -> int:
        """Number of samples."""
        with disk_trouble(self._path):
            return int(self._database.execute("SELECT count(*) FROM samples WHERE content IS NOT NULL").fetchone()[0])

    def delete(self, ids: Iterable[int]) -> int:
        """Remove samples; work that has settled on them goes on without them.

        Returns:
            How many were removed.

        Raises:
            NotFound: one of them is not there; none was removed.
        """
        removed = 0
        with disk_trouble(self._path), transaction(self._database):
            for sample in ids:
                # The row stays, so that reading its file again does not bring it back.
                statement = "UPDATE samples SET content = NULL WHERE id = ? AND content IS NOT NULL"
                if not self._database.execute(statement, (sample,)).rowcount:
                    raise NotFound(f"There is no sample {sample}. 'cloudedge-edge samples query' lists them.")
                removed += 1
        return removed

    def bad_files(self, data: DataFormat | None = None) -> list[BadFile]:
        """Files that gave no samples when they were last read, in this format if one is given."""
        statement = "SELECT path, fault FROM files WHERE fault IS NOT NULL AND ifnull(reading = :reading, true) ORDER BY path"
        with disk_trouble(self._path):
            rows = self._database.execute(statement, {"reading": _reading(data) if data else None}).fetchall()
        return [BadFile(row["path"], row["fault"]) for row in rows]

    def _files(self, data: DataFormat) -> list[sqlite3.Row]:
        """The files that gave samples of this form, however they were read."""
        with disk_trouble(self._path):
            return self._database.execute("SELECT * FROM files WHERE form = ?", (_form(data),)).fetchall()

    def _outdated(self, paths: list[Path], data: DataFormat) -> bool:
        """Whether reading the first of these files would give other samples than were collected, or in another order."""
        rows, reading = self._files(data), _reading(data)
        if not rows:
            statement = "SELECT 1 FROM samples WHERE form = ? AND content IS NOT NULL AND NOT by_hand LIMIT 1"
            with disk_trouble(self._path):
                return self._database.execute(statement, (_form(data),)).fetchone() is not None
        if {row["path"] for row in rows} != set(map(str, paths[: len(rows)])):
            return True
        return any(row["reading"] != reading or row["again"] or _has_changed(row) for row in rows)

    def _read(self, paths: Iterable[Path], known: Mapping[str, sqlite3.Row], data: DataFormat) -> int:
        """Take the samples of files, except of those that are as they are known; returns how many were not there before."""
        added, batch = 0, list[_ReadFile]()
        for path in paths:
            file = _read_if_new(path, known.get(str(path)), data)
            if file is not None:
                batch.append(file)
            if sum(len(file.records) + 1 for file in batch) >= _SAMPLES_PER_TRANSACTION:
                added += self._take(batch, data)
                batch = []
        return added + self._take(batch, data)

    def _take(self, files: list["_ReadFile"], data: DataFormat) -> int:
        added = 0
        with disk_trouble(self._path), transaction(self._database):
            for file in files:
                added += self._insert(file.records, data, str(file.path), by_hand=False)
                values = (_form(data), _reading(data), str(file.path), file.size, file.changed, file.fault, file.again)
                self._database.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        return added

    def _insert(self, records: list[Record], data: DataFormat, source: str, *, by_hand: bool) -> int:
        form, now, added = _form(data), datetime.now(UTC).isoformat(timespec="seconds"), 0
        self._database.execute("INSERT OR IGNORE INTO forms VALUES (?, ?)", (form, data.model_dump_json()))
        common = {"form": form, "source": source, "now": now, "by_hand": by_hand}
        for record in records:
            content = pack(record, data)
            sample = {"digest": hashlib.sha256(content).hexdigest(), "label": record.label, "content": content}
            added += self._database.execute(_INSERT, common | sample).rowcount
            if by_hand:
                statement = "UPDATE samples SET by_hand = 1 WHERE form = :form AND digest = :digest"
                self._database.execute(statement, {"form": form, "digest": sample["digest"]})
        return added


def _form(data: DataFormat) -> str:
    """Digest of what the stored bytes depend on.

    Scale, offset, held-out share and storage are not part of it, so samples serve every task that reads the same fields and
    classes.
    """
    fields = [(field.name, field.dtype, field.shape) for field in data.fields]
    return hashlib.sha256(canonical_json([fields, data.classes])).hexdigest()


def _reading(data: DataFormat) -> str:
    """Digest of what reading a file depends on: a file that is bad in one format may be good in another."""
    return hashlib.sha256(canonical_json([_form(data), data.storage, data.label])).hexdigest()


@dataclass(frozen=True)
class _ReadFile:
    path: Path
    size: int
    changed: int
    records: list[Record]
    fault: str | None
    again: bool
    """Whether it was another one when it was read before."""


def _read_if_new(path: Path, known: sqlite3.Row | None, data: DataFormat) -> _ReadFile | None:
    """Read a file unless it is as it was."""
    try:
        found = path.stat()
    except OSError:
        return None  # Gone again, or not readable yet: it is looked at next time.
    if known is not None and _as_read(known, found):
        return None
    records: list[Record] = []
    fault = None
    try:
        records = list(read_records(path, data))
    except StoreFailed:
        raise
    except CloudedgeError as error:
        fault = str(error)
        _log.warning("passed over %s: %s", path, fault)
    return _ReadFile(path, found.st_size, found.st_mtime_ns, records, fault, known is not None)


def _has_changed(known: sqlite3.Row) -> bool:
    try:
        return not _as_read(known, Path(known["path"]).stat())
    except OSError:
        return True


def _as_read(known: sqlite3.Row, found: os.stat_result) -> bool:
    return (known["size"], known["changed"]) == (found.st_size, found.st_mtime_ns)
