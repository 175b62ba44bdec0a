"""What detectors recorded: images as files by their digest, and an index of what is known of each.

A record is kept before it is acknowledged, image and index both, so that it survives a power cut; the same one again changes
nothing. What takes more room, or is older, than is allowed is removed: accepted images first, the oldest of them; rejected ones
and those that a person labelled last. Detectors' clocks may be wrong and this one may jump: so age counts from the arrival
here, the oldest is what arrived first, and the newest records stay whatever the clock says.
"""

import contextlib
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from cloudedge.documents.line import Record
from cloudedge.errors import InvalidInput
from cloudedge.files import TEMPORARY, disk_errors, sync_folder
from edge.database import connect, disk_trouble, transaction

_VERSION = 1
_SCHEMA = """
CREATE TABLE records (
    number INTEGER PRIMARY KEY, detector TEXT NOT NULL, id INTEGER NOT NULL, taken_at TEXT NOT NULL, brand TEXT NOT NULL,
    label TEXT NOT NULL, accepted INTEGER, image TEXT NOT NULL, bytes INTEGER NOT NULL, heat INTEGER NOT NULL,
    arrived TEXT NOT NULL, record TEXT NOT NULL, UNIQUE (detector, id, taken_at)
) STRICT;
CREATE INDEX records_of_brands ON records (brand, taken_at);
CREATE INDEX records_to_remove ON records (label != '' OR accepted IS 0, number);
CREATE INDEX rejects ON records (number) WHERE accepted IS 0;
CREATE INDEX records_of_images ON records (image)
"""

ALWAYS_KEPT = 1000
"""Newest records that no clock makes too old."""

_REMOVED_AT_ONCE = 200


@dataclass(frozen=True)
class Recorded:
    """An image that a detector recorded.

    Attributes:
        path: PNG, the image as it was inspected, before any resizing.
        detector: Who recorded it.
        taken_at: When, UTC by the detector's clock.
        brand: Product variety that ran; '' none was said.
        label: What a person said that it shows: 'normal', or a defect's name; '' nobody did.
        accepted: What the model in use judged; None: nothing did.
        sha256: Of the file.
    """

    path: Path
    detector: str
    taken_at: datetime
    brand: str
    label: str
    accepted: bool | None
    sha256: str


@dataclass(frozen=True)
class Arrived:
    """A record as a detector sent it.

    Attributes:
        record: What is known of the image.
        image: Its PNG file.
        heat: A PNG file of its heat map; empty: it has none.
    """

    record: Record
    image: bytes
    heat: bytes = b""


class _Total(NamedTuple):
    """How many records there are, and what they take in bytes."""

    records: int
    bytes: int


class History:
    """What is kept in one folder. Safe for threads, and for other processes that read it beside the line's service."""

    def __init__(self, folder: Path) -> None:
        """Open the index, or begin an empty one.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: another version wrote it.
        """
        self._folder = folder
        self._path = folder / "index.db"
        self._lock = threading.RLock()
        self._database = connect(self._path, _SCHEMA, _VERSION, shared=True)
        self._totals: dict[str, _Total] = {}
        self._counted = False

    def close(self) -> None:
        """Close the index."""
        with self._lock:
            self._database.close()

    def recorded(self, brand: str, detectors: Collection[str] = (), since: datetime | None = None) -> list[Recorded]:
        """Images of a brand, oldest first.

        Args:
            brand: Product variety.
            detectors: Who recorded them; empty: anybody.
            since: Only those taken from then on.

        Raises:
            StoreFailed: the disk refuses.
        """
        since_text = _text(since) if since else ""
        with self._using():
            rows = self._database.execute(
                "SELECT detector, taken_at, brand, label, accepted, image FROM records WHERE brand = ? AND taken_at >= ? "
                "ORDER BY taken_at, number",
                (brand, since_text),
            ).fetchall()
        return [
            Recorded(
                self._image(row["detector"], row["image"]),
                row["detector"],
                datetime.fromisoformat(row["taken_at"]),
                row["brand"],
                row["label"],
                None if row["accepted"] is None else bool(row["accepted"]),
                row["image"],
            )
            for row in rows
            if not detectors or row["detector"] in detectors
        ]

    def rejects(self, detector: str = "", limit: int = 50) -> list[tuple[str, Record, bool]]:
        """The newest rejected parts, newest first.

        Args:
            detector: Who rejected them; empty: anybody.
            limit: How many.

        Returns:
            Detector, record, and whether there is a heat map.
        """
        with self._using():
            rows = self._database.execute(
                "SELECT detector, record, heat FROM records WHERE accepted IS 0 AND (? = '' OR detector = ?) "
                "ORDER BY number DESC LIMIT ?",
                (detector, detector, limit),
            ).fetchall()
        return [(row["detector"], Record.model_validate_json(row["record"]), bool(row["heat"])) for row in rows]

    def keep(self, detector: str, arrived: Collection[Arrived]) -> None:
        """Have records on the disk, for good once this returns.

        Args:
            detector: Who sent them.
            arrived: The records.

        Raises:
            InvalidInput: an image is not the one that its record tells of; nothing was kept.
            StoreFailed: the disk refuses; the records are to be sent again.
        """
        for new in arrived:
            if sha256(new.image).hexdigest() != new.record.image_sha256:
                raise InvalidInput(f"The image of record {new.record.id} of {detector} is damaged. Send it again.")
        with self._lock:  # Nothing is tidied away between a file and its place in the index.
            files = {self._image(detector, new.record.image_sha256): new.image for new in arrived}
            files |= {self._heat(detector, new.record.image_sha256, new.record.model): new.heat for new in arrived if new.heat}
            _write({path: content for path, content in files.items() if not path.exists()})
            with self._using(), transaction(self._database):
                fresh = []
                for new in arrived:
                    record = new.record
                    done = self._database.execute(
                        "INSERT OR IGNORE INTO records (detector, id, taken_at, brand, label, accepted, image, bytes, heat, "
                        "arrived, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        (
                            detector,
                            record.id,
                            _text(record.taken_at),
                            record.brand,
                            record.label,
                            record.accepted,
                            record.image_sha256,
                            len(new.image) + len(new.heat),
                            bool(new.heat),
                            _text(datetime.now(UTC)),
                            record.model_dump_json(),
                        ),
                    )
                    if done.rowcount:
                        fresh.append(new)
            self._count(detector, len(fresh), sum(len(new.image) + len(new.heat) for new in fresh))

    def tidy(self, most_bytes: float, most_days: float) -> int:
        """Remove what is too much or too old; returns the number of records removed.

        Args:
            most_bytes: What all images may take.
            most_days: How old they may be.

        Raises:
            StoreFailed: the disk refuses.
        """
        removed = 0
        oldest = _text(datetime.now(UTC) - timedelta(days=min(most_days, 36_500)))
        while True:
            with self._using():
                rows = self._database.execute(
                    "SELECT number, detector, image, bytes FROM records WHERE arrived < ? "
                    "AND number <= (SELECT max(number) FROM records) - ? LIMIT ?",
                    (oldest, ALWAYS_KEPT, _REMOVED_AT_ONCE),
                ).fetchall()
                over = self.bytes() - most_bytes
                if not rows and over > 0:
                    for row in self._database.execute(
                        "SELECT number, detector, image, bytes FROM records "
                        "ORDER BY label != '' OR accepted IS 0, number LIMIT ?",
                        (_REMOVED_AT_ONCE,),
                    ).fetchall():
                        if over <= 0:
                            break
                        rows.append(row)
                        over -= row["bytes"]
                if not rows:
                    return removed
                # First from the index: a file that nobody knows of is found no more, a record without its file is a lie.
                with transaction(self._database):
                    self._database.executemany("DELETE FROM records WHERE number = ?", [(row["number"],) for row in rows])
                for row in rows:
                    self._count(row["detector"], -1, -row["bytes"])
                for row in rows:
                    self._remove_file(row["detector"], row["image"])
            removed += len(rows)

    def bytes(self) -> int:
        """What all images take; what another process keeps meanwhile is not counted."""
        return sum(total.bytes for total in self._all_totals().values())

    def counts(self) -> dict[str, int]:
        """Number of records of each detector that has any; what another process keeps meanwhile is not counted."""
        return {detector: total.records for detector, total in self._all_totals().items() if total.records}

    def image(self, digest: str) -> Path | None:
        """Where an image is that somebody recorded; none: there is none."""
        with self._using():
            row = self._database.execute("SELECT detector FROM records WHERE image = ?", (digest,)).fetchone()
        return self._image(row["detector"], digest) if row else None

    def heat(self, digest: str, model: str) -> Path | None:
        """Where an image's heat map by a model is; none: there is none."""
        with self._using():
            rows = self._database.execute(
                "SELECT DISTINCT detector FROM records WHERE image = ? AND heat", (digest,)
            ).fetchall()
        return next(filter(Path.exists, (self._heat(row["detector"], digest, model) for row in rows)), None)

    def _image(self, detector: str, digest: str) -> Path:
        return self._folder / detector / digest[:1] / f"{digest}.png"

    def _heat(self, detector: str, digest: str, model: str) -> Path:
        """The same image may come again, and be judged by another model."""
        return self._folder / detector / digest[:1] / f"{digest}.{model[:16]}.heat.png"

    def _all_totals(self) -> "dict[str, _Total]":
        """Of each detector: counted once, and then as records come and go, as it takes long to count a million."""
        with self._using():
            if not self._counted:
                rows = self._database.execute(
                    "SELECT detector, count(*) AS records, sum(bytes) AS bytes FROM records GROUP BY detector"
                ).fetchall()
                self._totals = {row["detector"]: _Total(row["records"], row["bytes"]) for row in rows}
                self._counted = True
            return dict(self._totals)

    def _count(self, detector: str, records: int, size: int) -> None:
        if self._counted:
            total = self._totals.get(detector, _Total(0, 0))
            self._totals[detector] = _Total(total.records + records, total.bytes + size)

    def _remove_file(self, detector: str, digest: str) -> None:
        still = "SELECT 1 FROM records WHERE image = ? AND detector = ?"
        if self._database.execute(still, (digest, detector)).fetchone() is None:
            image = self._image(detector, digest)
            with disk_errors(image):
                for path in (image, *image.parent.glob(f"{digest}.*.heat.png")):
                    path.unlink(missing_ok=True)

    @contextmanager
    def _using(self) -> Iterator[None]:
        with self._lock, disk_trouble(self._path):
            yield


def _write(files: Mapping[Path, bytes]) -> None:
    """Write files as `cloudedge.files.atomic_write` does, all of them before the disk is waited for, and each folder once.

    Raises:
        StoreFailed: the disk refuses; some of them may be there.
    """
    parts = {path: path.with_name(f"{TEMPORARY}{path.name}") for path in files}
    try:
        for path, part in parts.items():
            with disk_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                part.write_bytes(files[path])
        for path, part in parts.items():
            with disk_errors(path):
                sync_folder(part)
                part.replace(path)
        for folder in {above for path in files for above in (path.parent, path.parent.parent, path.parent.parent.parent)}:
            with disk_errors(folder):
                sync_folder(folder)
    finally:
        for part in parts.values():
            with contextlib.suppress(OSError):
                part.unlink()


def _text(moment: datetime) -> str:
    """A point in time so that texts are in the order of time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
