"""The sample store: what this edge has collected, converted to the task's format and kept in its own database.

Each sample of each file counts, whether or not another one is equal, as it does in the cloud. A sample is known by its file,
the digest of its content, and how many equal ones stand before it in the file. So a file that is read again adds only what it
did not have before, and what was deleted stays deleted. A file that was renamed is the same file; a copy is another one. Of
files that are added by hand a renamed one is another one, too.

Samples keep the order of their arrival, and their number within their class decides for good whether they are held out.
"""

import hashlib
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cloudedge.data import Record, files_at, is_held_out, pack, read_file, unpack
from cloudedge.documents import DataFormat
from cloudedge.documents.base import STORED
from cloudedge.errors import NotFound
from cloudedge.names import folded
from cloudedge.places import Found, whole
from edge.database import connect, disk_trouble, transaction
from edge.samples import tables
from edge.samples.files import SampleFile, form_of, look, read, reading_of

_log = logging.getLogger(__name__)

_SAMPLES_PER_TRANSACTION = 1000

_NO_CHANCE = 8
"""Different samples that a file and another one do not both hold by chance."""

_TO_BE_READ_AGAIN = -1
"""When a file was last changed that the disk did not give."""


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
        self._database = connect(path, tables.SCHEMA, tables.VERSION, tables.UPGRADES)

    def add(self, path: Path, data: DataFormat) -> int:
        """Take the samples of a file or folder; ones deleted before come back.

        Returns:
            How many were not there before.

        Raises:
            InvalidSamples: something does not fit the format; nothing was added.
            NotFound: there is no such file.
            StoreFailed: the disk refuses.
        """
        place = whole(path)
        root = place.parent if place.is_dir() else place.parent.parent
        files = [(str(file), list(read_file(file, data, root))) for file in files_at(place, data)]
        with disk_trouble(self._path), transaction(self._database):
            return sum(self._insert(records, data, source, by_hand=True) for source, records in files)

    def collect(self, directory: Path, data: DataFormat) -> int:
        """Take what is new in a directory of samples, file by file in sorted order; a bad file is noted and passed over.

        Returns:
            How many samples were not there before.

        Raises:
            StoreFailed: the disk refuses.
        """
        places = look(directory, data)
        self._follow_renamed(places, data)
        known = {row["path"]: row for row in self._files(data) if row["reading"] == reading_of(data)}
        bad = {path for path, row in known.items() if row["fault"] is not None}
        gone = [(form_of(data), reading_of(data), path) for path in bad.difference(place.key for place in places)]
        with disk_trouble(self._path):
            self._database.executemany("DELETE FROM files WHERE form = ? AND reading = ? AND path = ?", gone)
        changed = [place for place in places if place.key not in known or not _as_read(known[place.key], place)]
        return self._read(changed, known, data)

    def mirror(self, directory: Path, data: DataFormat) -> int:
        """Take what a directory holds as if nothing had been collected before, unless what was is just what it holds.

        Samples that were added by hand stay, and deleted ones stay deleted.

        Returns:
            How many samples were not there before.

        Raises:
            StoreFailed: the disk refuses.
        """
        places = look(directory, data)
        renamed = self._follow_renamed(places, data)
        former = {row["path"]: row for row in self._files(data)}
        if renamed or self._outdated(places, data):
            _log.info("%s is not what it was: all of its files are read anew", directory)
            with disk_trouble(self._path), transaction(self._database):
                for statement in (
                    "DELETE FROM samples WHERE form = ? AND content IS NOT NULL AND NOT by_hand",
                    "DELETE FROM files WHERE form = ?",
                ):
                    self._database.execute(statement, (form_of(data),))
        known = {row["path"] for row in self._files(data)}
        # A file that changes right now is left as it was read, and found to be outdated the next time.
        unread = [place for place in places if place.key not in known]
        return self._read(unread, {path: row for path, row in former.items() if _of_version_2(row)}, data, again=False)

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
            return self._database.execute(statement, (form_of(data), collection.last_sample)).fetchone() is not None

    def records(self, data: DataFormat, collection: Collection, *, held_out: bool) -> Iterator[Record]:
        """The samples of a collection in order of arrival: those to measure on, or those to train on."""
        statement = "SELECT ordinal, content FROM samples WHERE form = ? AND id <= ? AND content IS NOT NULL ORDER BY id"
        with disk_trouble(self._path):
            for row in self._database.execute(statement, (form_of(data), collection.last_sample)):
                if is_held_out(row["ordinal"], data.held_out) is held_out:
                    yield unpack(row["content"], data)

    def fingerprint(self, data: DataFormat, collection: Collection) -> str:
        """Digest over the digests of a collection's samples, in order of arrival."""
        statement = "SELECT digest FROM samples WHERE form = ? AND id <= ? AND content IS NOT NULL ORDER BY id"
        digest = hashlib.sha256()
        with disk_trouble(self._path):
            for row in self._database.execute(statement, (form_of(data), collection.last_sample)):
                digest.update(bytes.fromhex(row["digest"]))
        return digest.hexdigest()

    def query(self, label: str | None = None, source: str | None = None) -> Iterator[StoredSample]:
        """Samples in order of arrival, of one class, or from one file or folder, if given."""
        with disk_trouble(self._path):
            forms = self._database.execute("SELECT id, data FROM forms").fetchall()
            classes = {row["id"]: DataFormat.model_validate_json(row["data"], context=STORED).classes for row in forms}
            rows = self._database.execute(
                "SELECT id, form, label, ordinal, digest, source, added_at FROM samples WHERE content IS NOT NULL AND "
                "(:source IS NULL OR source IN (:source, :whole) OR substr(source, 1, length(:whole) + 1) = :whole || '/') "
                "ORDER BY id",
                {
                    "source": None if source is None else Found(Path(source)).key,
                    "whole": None if source is None else Found(whole(Path(source))).key,
                },
            )
            for row in rows:
                name = classes[row["form"]][row["label"]]
                if label is None or folded(label) == folded(name):
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
            rows = self._database.execute(statement, {"reading": reading_of(data) if data else None}).fetchall()
        return [BadFile(row["path"], row["fault"]) for row in rows]

    def _files(self, data: DataFormat) -> list[sqlite3.Row]:
        """The files that gave samples of this form, however they were read."""
        with disk_trouble(self._path):
            return self._database.execute("SELECT * FROM files WHERE form = ?", (form_of(data),)).fetchall()

    def _follow_renamed(self, places: list["SampleFile"], data: DataFormat) -> bool:
        """Let samples go with files that have other names now; whether there were any.

        A file was renamed if its former name is gone or another file's, if it still holds all that was taken of it, and if it
        is as it was, or the same inode has grown. Inodes are used again, so the latter needs more: a successor under the former
        name, or too many different samples to be there by chance.
        """
        standing = {place.key: place for place in places if place.found.fault is None}
        known = {row["path"]: row for row in self._files(data) if row["fault"] is None and not _of_version_2(row)}

        def is_another(path: str) -> bool:
            return path not in standing or path not in known or standing[path].inode != known[path]["inode"]

        left = [row for path, row in known.items() if is_another(path)]
        as_they_were = {(row["size"], row["changed"]): row["path"] for row in left}
        grown = {row["inode"]: row["path"] for row in left}
        moves: dict[str, str] = {}
        for path, place in standing.items() if left else ():
            if is_another(path):
                former, least = as_they_were.get((place.size, place.changed)), 1
                if former is None:
                    former = grown.get(place.inode)
                    least = 1 if former in standing else _NO_CHANCE
                if former is not None and former not in moves and self._holds(place, former, least, data):
                    moves[former] = path
        with disk_trouble(self._path), transaction(self._database):
            # All at once, since of two files one may have the other's former name.
            for number, (former, path) in enumerate(moves.items()):
                if path not in moves:
                    self._rename(data, path, f"{path} (before {datetime.now(UTC).isoformat()})")
                self._rename(data, former, f"moving {number}")
            for number, path in enumerate(moves.values()):
                self._rename(data, f"moving {number}", path)
        return bool(moves)

    def _rename(self, data: DataFormat, former: str, path: str) -> None:
        for statement in (
            "UPDATE samples SET source = :path WHERE form = :form AND source = :former",
            "UPDATE OR REPLACE files SET path = :path WHERE form = :form AND path = :former",
        ):
            self._database.execute(statement, {"form": form_of(data), "path": path, "former": former})

    def _holds(self, place: "SampleFile", source: str, least: int, data: DataFormat) -> bool:
        """Whether a file has all that was taken of one under another name, which is at least so many different samples."""
        records, fault, _ = read(place, data)
        if fault is not None:
            return False
        counts = Counter(_digest(pack(record, data)) for record in records)
        statement = "SELECT digest, occurrence FROM samples WHERE form = ? AND source = ?"
        with disk_trouble(self._path):
            taken = self._database.execute(statement, (form_of(data), source)).fetchall()
        different = len({row["digest"] for row in taken})
        return different >= least and all(row["occurrence"] < counts[row["digest"]] for row in taken)

    def _outdated(self, places: list["SampleFile"], data: DataFormat) -> bool:
        """Whether reading the first of these files would give other samples than were collected, or in another order."""
        rows, reading = self._files(data), reading_of(data)
        if not rows:
            statement = "SELECT 1 FROM samples WHERE form = ? AND content IS NOT NULL AND NOT by_hand LIMIT 1"
            with disk_trouble(self._path):
                return self._database.execute(statement, (form_of(data),)).fetchone() is not None
        standing = {place.key: place for place in places[: len(rows)]}
        if {row["path"] for row in rows} != set(standing):
            return True
        return any(row["reading"] != reading or row["again"] or not _as_read(row, standing[row["path"]]) for row in rows)

    def _read(
        self, places: Iterable["SampleFile"], known: Mapping[str, sqlite3.Row], data: DataFormat, *, again: bool = True
    ) -> int:
        """Take the samples of files; returns how many were not there before.

        Args:
            places: The files.
            known: Those that were read before.
            data: The samples' format.
            again: Whether what was known of them is still there.
        """
        added, batch = 0, list[_ReadFile]()
        for place in places:
            records, fault, lasting = read(place, data)
            if fault is not None:
                _log.warning("passed over %s", fault)
            row = known.get(place.key)
            legacy = row is not None and _of_version_2(row)
            changed = place.changed if lasting else _TO_BE_READ_AGAIN
            batch.append(_ReadFile(place, changed, records, fault, again and row is not None and not legacy, legacy))
            if sum(len(file.records) + 1 for file in batch) >= _SAMPLES_PER_TRANSACTION:
                added += self._take(batch, data)
                batch = []
        return added + self._take(batch, data)

    def _take(self, files: list["_ReadFile"], data: DataFormat) -> int:
        added = 0
        with disk_trouble(self._path), transaction(self._database):
            for file in files:
                place = file.place
                added += self._insert(file.records, data, place.key, by_hand=False, known=file.legacy)
                values = (
                    form_of(data),
                    reading_of(data),
                    place.key,
                    place.size,
                    file.changed,
                    file.fault,
                    file.again,
                    place.inode,
                )
                self._database.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        return added

    def _insert(self, records: list[Record], data: DataFormat, source: str, *, by_hand: bool, known: bool = False) -> int:
        form, now, added = form_of(data), datetime.now(UTC).isoformat(timespec="seconds"), 0
        self._database.execute("INSERT OR IGNORE INTO forms VALUES (?, ?)", (form, data.model_dump_json()))
        common = {"form": form, "source": source, "now": now, "by_hand": by_hand, "known": known}
        former = self._database.execute("SELECT 1 FROM samples WHERE form = ? AND occurrence < 0 LIMIT 1", (form,)).fetchone()
        seen = Counter[str]()
        for record in records:
            content = pack(record, data)
            digest = _digest(content)
            sample = {"digest": digest, "label": record.label, "content": content, "occurrence": seen[digest]} | common
            seen[digest] += 1
            if former:
                self._database.execute(tables.TAKE_OVER, sample)
            added += self._database.execute(tables.INSERT, sample).rowcount
            if by_hand:
                self._database.execute(
                    "UPDATE samples SET by_hand = 1 WHERE form = :form AND digest = :digest AND source = :source "
                    "AND occurrence = :occurrence",
                    sample,
                )
        return added


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class _ReadFile:
    place: SampleFile
    changed: int
    records: list[Record]
    fault: str | None
    again: bool
    """Whether it was another one when it was read before."""
    legacy: bool
    """Whether it was read before by a version that kept one of equal samples."""


def _as_read(known: sqlite3.Row, place: SampleFile) -> bool:
    return (known["size"], known["changed"]) == (place.size, place.changed)


def _of_version_2(known: sqlite3.Row) -> bool:
    return bool(known["size"] < 0)
