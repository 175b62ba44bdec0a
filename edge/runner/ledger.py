"""What the runner has promised and done: every order that it accepted, and what of it the cloud does not know yet.

Only the runner's main thread writes here (and `cloudedge-edge models delete`). Each method is one transaction, on disk when
it returns; after kill -9 or a power cut the runner goes on from here. An order stands here once and for ever, so the same
work is never done twice; only where the cloud issues it again, having lost what came of it, the later one takes its place.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import ConfigDict, TypeAdapter, ValidationError

from cloudedge.documents import Envelope, EpochRecord, Manifest, Order, Phase, Point, Stream, Trained, WorkError
from cloudedge.documents.base import STORED
from cloudedge.documents.report import MAX_HISTORY_BYTES, MOST_COUNT, MOST_POINTS_KEPT, points_of
from cloudedge.errors import StoreFailed
from edge.clock import Moment, now
from edge.database import connect, disk_trouble, transaction
from edge.runner.points import WINDOW, told_of

_VERSION = 4
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE orders (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL,
    phase TEXT NOT NULL,
    boot TEXT NOT NULL, up REAL NOT NULL, wall REAL NOT NULL,
    crashes INTEGER NOT NULL DEFAULT 0,
    gauges TEXT NOT NULL DEFAULT '{}',
    progress TEXT NOT NULL DEFAULT '[]',
    error TEXT,
    since TEXT,
    closed INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE holdups (
    order_id TEXT PRIMARY KEY, since TEXT NOT NULL, trouble TEXT NOT NULL, tries INTEGER NOT NULL, again_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE points (
    order_id TEXT NOT NULL, sequence INTEGER NOT NULL, point TEXT NOT NULL, PRIMARY KEY (order_id, sequence)
) WITHOUT ROWID;
CREATE TABLE uploads (
    position INTEGER PRIMARY KEY, order_id TEXT NOT NULL, name TEXT NOT NULL, path TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0, trouble TEXT, again_at TEXT, UNIQUE (order_id, name)
);
CREATE TABLE models (
    order_id TEXT PRIMARY KEY, path TEXT, sha256 TEXT NOT NULL, size INTEGER NOT NULL, samples INTEGER NOT NULL,
    accuracy REAL NOT NULL, recall REAL NOT NULL, loss REAL NOT NULL, target_met INTEGER NOT NULL, created_at TEXT NOT NULL
) WITHOUT ROWID
"""

_UPGRADES = {
    # A result has as many files as its kind of work makes, each with its name.
    1: ("UPDATE uploads SET name = 'model' WHERE name = 'result'",),
    # What is told of work has the shape of no kind. What stands in the shape of training is put into it by `_adopt`.
    2: (
        "ALTER TABLE orders ADD COLUMN gauges TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE orders ADD COLUMN progress TEXT NOT NULL DEFAULT '[]'",
        "CREATE TABLE points (order_id TEXT NOT NULL, sequence INTEGER NOT NULL, point TEXT NOT NULL, "
        "PRIMARY KEY (order_id, sequence)) WITHOUT ROWID",
    ),
    # Whoever looks after an edge sees what holds an order up.
    3: (
        "ALTER TABLE orders ADD COLUMN since TEXT",
        "ALTER TABLE uploads ADD COLUMN again_at TEXT",
        "CREATE TABLE holdups (order_id TEXT PRIMARY KEY, since TEXT NOT NULL, trouble TEXT NOT NULL, tries INTEGER NOT NULL, "
        "again_at TEXT NOT NULL) WITHOUT ROWID",
    ),
}
"""From a version to the next."""

_FIRST_POINT_BYTES = 128 * 1024
"""Room in a history for its first point and what stands around the points."""

_ADD_POINT = "INSERT OR IGNORE INTO points VALUES (?, ?, ?)"

_GAUGES = TypeAdapter(dict[str, float], config=ConfigDict(ser_json_inf_nan="strings"))
_PROGRESS = TypeAdapter(tuple[Stream, ...])

_PUTTING_AWAY = (
    "DELETE FROM orders WHERE id = ?",
    "DELETE FROM points WHERE order_id = ?",
    "DELETE FROM uploads WHERE order_id = ?",
    "DELETE FROM holdups WHERE order_id = ?",
    "DELETE FROM models WHERE order_id = ?",
)
"""All that stands of an order."""

_CLOSING = "UPDATE orders SET closed = 1 WHERE id = ?"
_LETTING_POINTS_GO = """DELETE FROM points WHERE order_id = :order AND NOT EXISTS (SELECT 1 FROM models WHERE order_id = :order)
AND sequence NOT IN (SELECT sequence FROM points WHERE order_id = :order ORDER BY sequence DESC LIMIT :most)"""
"""Of a closed order, but for as many as a report tells; a model's points stay, to be looked up."""

_Write = tuple[str, tuple[Any, ...] | dict[str, Any]]


@dataclass(frozen=True)
class Entry:
    """An order as it stands in the ledger.

    Attributes:
        order: The order, with the newest URLs; of one that was refused what could be read of it.
        phase: Where it stands.
        accepted: When it was accepted.
        crashes: How often in a row its work died without another point.
        gauges: Figures of the moment; until samples are counted, as many as the latest order had that counted them.
        error: Why it failed.
        points: Its points, as many as its reports tell.
        progress: How far its work has come.
        trouble: What holds the work up, as its reports say; of the moment, and for people beside the machine a `Holdup`.
        since: Since when it is in its phase, by the wall clock; none: a former version did not say.
    """

    order: Order | Envelope
    phase: Phase
    accepted: Moment
    crashes: int = 0
    gauges: Mapping[str, float] = field(default_factory=dict)
    error: WorkError | None = None
    points: tuple[Point, ...] = ()
    progress: tuple[Stream, ...] = ()
    trouble: WorkError | None = None
    since: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Holdup:
    """What holds the work on an order up: it was interrupted, and is tried again.

    Attributes:
        since: When it was interrupted first, by the wall clock.
        trouble: By what, at last.
        tries: How often in a row.
        again_at: When it is tried again, by the wall clock.
    """

    since: str
    trouble: str
    tries: int
    again_at: str


@dataclass(frozen=True)
class Upload:
    """A file that the cloud does not have yet: `name` is an output's, or 'manifest'; `again_at` by the wall clock."""

    order_id: str
    name: str
    path: Path
    tries: int
    trouble: str | None
    again_at: str | None = None


@dataclass(frozen=True)
class TrainedModel:
    """A model trained here; `path` is None once its file is gone."""

    order_id: str
    path: str | None
    sha256: str
    size: int
    samples: int
    accuracy: float
    recall: float
    loss: float
    target_met: bool
    created_at: str


class Ledger:
    """The runner's database."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: it was written by another version.
        """
        self._path = path
        self._database = connect(path, _SCHEMA, _VERSION, _UPGRADES)
        # A runner of the first version may have been at work when a tool of this one brought its ledger up to date.
        if self._one("SELECT 1 FROM uploads WHERE name = 'result'"):
            self._write([(statement, ()) for statement in _UPGRADES[1]])
        if self._has_epochs():
            self._adopt()

    def fact(self, name: str) -> str | None:
        """A single remembered value: edge, generation, incarnation, starts, inbox_fault."""
        row = self._one("SELECT value FROM facts WHERE name = ?", name)
        return row[0] if row else None

    def remember(self, name: str, value: str) -> None:
        """Keep a single value."""
        self._write([("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))])

    def incarnation(self) -> str:
        """What tells this ledger from one that was lost here, as 32 hexadecimal digits; made when it is first asked for.

        Raises:
            StoreFailed: the disk refuses.
        """
        found = self.fact("incarnation")
        if found is None:
            found = uuid4().hex
            self.remember("incarnation", found)
        return found

    def entries(self, *, latest: int = 0) -> list[Entry]:
        """Orders in order of acceptance: those with something left to do or to say, and the latest ones of any kind."""
        rows = self._all(
            "SELECT * FROM orders WHERE closed = 0 "
            "OR position IN (SELECT position FROM orders ORDER BY position DESC LIMIT ?) ORDER BY position",
            latest,
        )
        return [self._entry(row) for row in rows]

    def issued_at(self, order_id: str) -> datetime | None:
        """When the order was issued, if it was ever accepted."""
        row = self._one("SELECT document FROM orders WHERE id = ?", order_id)
        return _order(row["document"]).issued_at if row else None

    def samples(self) -> float:
        """Samples of the latest order that has counted them; 0 before the first."""
        row = self._one(
            "SELECT json_extract(gauges, '$.samples') AS counted FROM orders "
            "WHERE counted BETWEEN 1 AND ? ORDER BY position DESC LIMIT 1",  # What is no finite number is no count.
            MOST_COUNT,
        )
        return float(row["counted"]) if row else 0.0

    def apply(
        self,
        generation: int,
        edge: str,
        accepted: Iterable[Entry],
        renewed: Iterable[Order],
        cancelled: Iterable[Entry],
        unasked: Sequence[str],
        superseded: Iterable[str] = (),
    ) -> None:
        """Put a whole inbox into effect, or nothing of it; `edge.runner.reconciling.Changes` explains the parts."""
        writes: list[_Write] = [
            ("INSERT OR REPLACE INTO facts VALUES ('generation', ?)", (str(generation),)),
            ("INSERT OR REPLACE INTO facts VALUES ('edge', ?)", (edge,)),
            ("DELETE FROM facts WHERE name = 'inbox_fault'", ()),
        ]
        for order_id in superseded:
            writes += [(statement, (order_id,)) for statement in _PUTTING_AWAY]
        for entry in accepted:
            moment = entry.accepted
            clock = (moment.boot, moment.up, moment.wall)
            error = entry.error.model_dump_json() if entry.error else None
            values = (
                entry.order.id,
                entry.order.model_dump_json(),
                entry.phase,
                *clock,
                _gauges(entry.gauges),
                error,
                moment.iso(),
            )
            statement = (
                "INSERT INTO orders (id, document, phase, boot, up, wall, gauges, error, since) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            )
            writes.append((statement, values))
        for order in renewed:
            writes.append(("UPDATE orders SET document = ? WHERE id = ?", (order.model_dump_json(), order.id)))
        for entry in cancelled:
            writes += self._standing(entry)
        for order_id in unasked:
            writes.append((_CLOSING, (order_id,)))
        self._write(writes)
        self._let_points_go(unasked)

    def stand(self, entry: Entry) -> None:
        """Keep where an order stands now; one that is over has its uploads dropped.

        Nothing holds it up any more, unless it still is to fetch what was away.
        """
        self._write(self._standing(entry))

    def add_points(self, entry: Entry, points: Iterable[Point]) -> None:
        """Keep points of an order, and where it stands with them."""
        rows = [(entry.order.id, point.sequence, point.model_dump_json()) for point in points]
        self._write([*((_ADD_POINT, row) for row in rows), *self._standing(entry)])

    def finish_work(self, entry: Entry, manifest: Manifest, uploads: Iterable[tuple[str, Path]]) -> None:
        """Keep that the work is done: its model, and what is to be uploaded, in this order."""
        order_id = entry.order.id
        writes = self._standing(entry)
        for name, path in uploads:
            writes.append(
                ("INSERT OR IGNORE INTO uploads (order_id, name, path) VALUES (?, ?, ?)", (order_id, name, str(path)))
            )
            if name == "model" and isinstance(trained := manifest.result, Trained):
                scores, file = trained.scores["model"], manifest.outputs["model"]
                created = datetime.now(UTC).isoformat(timespec="seconds")
                figures = (trained.samples, scores.accuracy, scores.recall, scores.loss, trained.target_met, created)
                model = (order_id, str(path), file.sha256, file.size, *figures)
                writes.append(("INSERT OR REPLACE INTO models VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", model))
        self._write(writes)

    def uploads(self, order_id: str | None = None) -> list[Upload]:
        """What the cloud does not have yet, of one order if given, in the order to upload it."""
        statement = "SELECT * FROM uploads WHERE ifnull(?, order_id) = order_id ORDER BY position"
        rows = self._all(statement, order_id)
        return [
            Upload(row["order_id"], row["name"], Path(row["path"]), row["tries"], row["trouble"], row["again_at"])
            for row in rows
        ]

    def upload_failed(self, order_id: str, name: str, trouble: str, again_in: float = 0.0) -> None:
        """Keep that a try to upload failed, and why; it is tried again in so many seconds."""
        statement = "UPDATE uploads SET tries = tries + 1, trouble = ?, again_at = ? WHERE order_id = ? AND name = ?"
        self._write([(statement, (trouble, now().later(again_in).iso(), order_id, name))])

    def hold_up(self, order_id: str, trouble: str, tries: int, again_in: float) -> None:
        """Keep that the work on an order was interrupted, so often in a row, and is tried again in so many seconds."""
        moment = now()
        statement = (
            "INSERT INTO holdups VALUES (?, ?, ?, ?, ?) ON CONFLICT (order_id) DO UPDATE "
            "SET trouble = excluded.trouble, tries = excluded.tries, again_at = excluded.again_at"
        )
        self._write([(statement, (order_id, moment.iso(), trouble, tries, moment.later(again_in).iso()))])

    def holdups(self) -> dict[str, Holdup]:
        """What holds work up, by the ids of the orders."""
        rows = self._all("SELECT * FROM holdups")
        return {row["order_id"]: Holdup(row["since"], row["trouble"], row["tries"], row["again_at"]) for row in rows}

    def uploaded(self, entry: Entry, name: str) -> None:
        """Keep that the cloud has a file, and where its order stands now."""
        delete = ("DELETE FROM uploads WHERE order_id = ? AND name = ?", (entry.order.id, name))
        self._write([delete, *self._standing(entry)])

    def close(self, order_id: str) -> None:
        """Keep that the cloud knows how an order ended, or does not ask any more."""
        self._write([(_CLOSING, (order_id,))])
        self._let_points_go([order_id])

    def _let_points_go(self, order_ids: Iterable[str]) -> None:
        with suppress(StoreFailed):  # A disk that is full has no room for that either, and no order waits for it.
            self._write([(_LETTING_POINTS_GO, {"order": order_id, "most": WINDOW}) for order_id in order_ids])

    def points(self, order_id: str, most: int) -> tuple[Point, ...]:
        """The points of an order by sequence; of more than `most` the first one and the last ones."""
        rows = self._all("SELECT point FROM points WHERE order_id = ? ORDER BY sequence DESC LIMIT ?", order_id, most)
        if len(rows) == most:
            rows[-1] = self._one("SELECT point FROM points WHERE order_id = ? ORDER BY sequence LIMIT 1", order_id)
        return tuple(Point.model_validate_json(row["point"]) for row in reversed(rows))

    def history(self, order_id: str) -> Iterator[str]:
        """All points of an order by sequence, each as JSON; of more than a history may have the first one and the last ones."""
        found = self._one(
            "SELECT min(sequence) AS since FROM (SELECT sequence, row_number() OVER last AS place, "
            "sum(length(CAST(point AS BLOB)) + 2) OVER last AS bytes FROM points WHERE order_id = ? "
            "WINDOW last AS (ORDER BY sequence DESC)) WHERE place < ? AND bytes <= ?",
            order_id,
            MOST_POINTS_KEPT,
            MAX_HISTORY_BYTES - _FIRST_POINT_BYTES,
        )
        with disk_trouble(self._path):
            for row in self._database.execute(
                "SELECT point FROM points WHERE order_id = :order AND (sequence >= :since OR sequence = "
                "(SELECT min(sequence) FROM points WHERE order_id = :order)) ORDER BY sequence",
                {"order": order_id, "since": found["since"]},
            ):
                yield row["point"]

    def models(self, *, with_file: bool = False) -> list[TrainedModel]:
        """Models trained here, oldest first: all, or those whose files are kept."""
        rows = self._all("SELECT * FROM models WHERE path IS NOT NULL OR NOT ? ORDER BY created_at, order_id", with_file)
        return [TrainedModel(**{**dict(row), "target_met": bool(row["target_met"])}) for row in rows]

    def forget_model_file(self, order_id: str) -> None:
        """Keep that the file of a model is gone; its figures stay."""
        self._write([("UPDATE models SET path = NULL WHERE order_id = ?", (order_id,))])

    def delete_model(self, order_id: str) -> None:
        """Remove a model and its points from the books."""
        model = ("DELETE FROM models WHERE order_id = ?", (order_id,))
        points = ("DELETE FROM points WHERE order_id = ?", (order_id,))
        self._write([model, points])

    def put_away_epochs(self) -> None:
        """Let the tables of version 0.1 go, as only who runs alone here may: a runner of it would write on into them."""
        if self._has_epochs():
            self._write([("DROP TABLE epochs", ())])

    def _has_epochs(self) -> bool:
        return self._one("SELECT 1 FROM sqlite_master WHERE name = 'epochs'") is not None

    def _adopt(self) -> None:
        """Take over what a runner of version 0.1 wrote. It may be at work still when a tool brings its ledger up to date."""
        writes: list[_Write] = []
        for row in self._all("SELECT id, samples, recollections FROM orders WHERE gauges = '{}'"):
            gauges = _gauges({name: row[name] for name in ("samples", "recollections")})
            writes.append(("UPDATE orders SET gauges = ? WHERE id = ?", (gauges, row["id"])))
        for (order_id,) in self._all("SELECT DISTINCT order_id FROM epochs"):
            rows = self._all("SELECT record FROM epochs WHERE order_id = ? ORDER BY epoch", order_id)
            points = points_of(EpochRecord.model_validate_json(row["record"]) for row in rows)
            writes += [(_ADD_POINT, (order_id, point.sequence, point.model_dump_json())) for point in points]
        self._write(writes)

    def _entry(self, row: Any) -> Entry:
        order, phase = _order(row["document"]), Phase(row["phase"])
        return Entry(
            order=order,
            phase=phase,
            accepted=Moment(row["boot"], row["up"], row["wall"]),
            crashes=row["crashes"],
            gauges=_GAUGES.validate_json(row["gauges"]),
            error=WorkError.model_validate_json(row["error"]) if row["error"] else None,
            points=self.points(order.id, told_of(order, phase)),
            progress=_PROGRESS.validate_json(row["progress"]),
            since=row["since"],
        )

    def _standing(self, entry: Entry) -> list[_Write]:
        error = entry.error.model_dump_json() if entry.error else None
        progress = _PROGRESS.dump_json(entry.progress).decode()
        values = {
            "id": entry.order.id,
            "phase": entry.phase,
            "crashes": entry.crashes,
            "gauges": _gauges(entry.gauges),
            "progress": progress,
            "error": error,
            "now": now().iso(),
        }
        statement = (
            "UPDATE orders SET since = CASE WHEN phase = :phase THEN since ELSE :now END, phase = :phase, crashes = :crashes, "
            "gauges = :gauges, progress = :progress, error = :error WHERE id = :id"
        )
        writes: list[_Write] = [(statement, values)]
        if entry.phase is not Phase.FETCHING:
            writes.append(("DELETE FROM holdups WHERE order_id = ?", (entry.order.id,)))
        if entry.phase.over:
            writes.append(("DELETE FROM uploads WHERE order_id = ?", (entry.order.id,)))
        return writes

    def _all(self, statement: str, *values: object) -> list[Any]:
        with disk_trouble(self._path):
            return self._database.execute(statement, values).fetchall()

    def _one(self, statement: str, *values: object) -> Any:
        with disk_trouble(self._path):
            return self._database.execute(statement, values).fetchone()

    def _write(self, writes: list[_Write]) -> None:
        with disk_trouble(self._path), transaction(self._database):
            for statement, values in writes:
                self._database.execute(statement, values)


def _order(document: str) -> Order | Envelope:
    """An order as it was kept. Of one that was refused only what could be read was."""
    try:
        return Order.model_validate_json(document, context=STORED)
    except ValidationError:
        return Envelope.model_validate_json(document, context=STORED)


def _gauges(gauges: Mapping[str, float]) -> str:
    return _GAUGES.dump_json(dict(gauges)).decode()
