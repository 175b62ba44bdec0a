"""What the runner has promised and done: every order that it accepted, and what of it the cloud does not know yet.

Only the runner's main thread writes here (and `cloudedge-edge models delete`). Each method is one transaction, on disk when
it returns; after kill -9 or a power cut the runner goes on from here. An order stands here once and for ever, so the same
work is never done twice; only where the cloud issues it again, having lost what came of it, the later one takes its place.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from cloudedge.documents import Envelope, EpochRecord, Manifest, Order, Phase, Trained, WorkError
from cloudedge.documents.base import STORED
from edge.database import connect, disk_trouble, transaction
from edge.messages import Progress
from edge.runner.clock import Moment

_VERSION = 2
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE orders (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL,
    phase TEXT NOT NULL,
    boot TEXT NOT NULL, up REAL NOT NULL, wall REAL NOT NULL,
    crashes INTEGER NOT NULL DEFAULT 0,
    samples INTEGER NOT NULL DEFAULT 0,
    recollections INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    closed INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE epochs (
    order_id TEXT NOT NULL, epoch INTEGER NOT NULL, record TEXT NOT NULL, PRIMARY KEY (order_id, epoch)
) WITHOUT ROWID;
CREATE TABLE uploads (
    position INTEGER PRIMARY KEY, order_id TEXT NOT NULL, name TEXT NOT NULL, path TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0, trouble TEXT, UNIQUE (order_id, name)
);
CREATE TABLE models (
    order_id TEXT PRIMARY KEY, path TEXT, sha256 TEXT NOT NULL, size INTEGER NOT NULL, samples INTEGER NOT NULL,
    accuracy REAL NOT NULL, recall REAL NOT NULL, loss REAL NOT NULL, target_met INTEGER NOT NULL, created_at TEXT NOT NULL
) WITHOUT ROWID
"""

_UPGRADES = {1: ("UPDATE uploads SET name = 'model' WHERE name = 'result'",)}
"""From a version to the next: a result has as many files as its kind of work makes, each with its name."""

_PUTTING_AWAY = (
    "DELETE FROM orders WHERE id = ?",
    "DELETE FROM epochs WHERE order_id = ?",
    "DELETE FROM uploads WHERE order_id = ?",
    "DELETE FROM models WHERE order_id = ?",
)
"""All that stands of an order."""

_Write = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Entry:
    """An order as it stands in the ledger.

    Attributes:
        order: The order, with the newest URLs; of one that was refused what could be read of it.
        phase: Where it stands.
        accepted: When it was accepted.
        crashes: How often in a row its work died without finishing another epoch.
        samples: Samples that it trains on; until they are counted, as many as the latest order that counted them had.
        recollections: Collections of further samples.
        error: Why it failed.
        history: Its finished epochs.
        progress: The batch at work; of the moment, not kept in the ledger.
        trouble: What holds the work up; of the moment, not kept in the ledger.
    """

    order: Order | Envelope
    phase: Phase
    accepted: Moment
    crashes: int
    samples: int
    recollections: int
    error: WorkError | None
    history: tuple[EpochRecord, ...]
    progress: Progress | None = None
    trouble: WorkError | None = None


@dataclass(frozen=True)
class Upload:
    """A file that the cloud does not have yet: `name` is an output's, or 'manifest'."""

    order_id: str
    name: str
    path: Path
    tries: int
    trouble: str | None


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
        return [
            Entry(
                order=_order(row["document"]),
                phase=Phase(row["phase"]),
                accepted=Moment(row["boot"], row["up"], row["wall"]),
                crashes=row["crashes"],
                samples=row["samples"],
                recollections=row["recollections"],
                error=WorkError.model_validate_json(row["error"]) if row["error"] else None,
                history=self.history(row["id"]),
            )
            for row in rows
        ]

    def issued_at(self, order_id: str) -> datetime | None:
        """When the order was issued, if it was ever accepted."""
        row = self._one("SELECT document FROM orders WHERE id = ?", order_id)
        return _order(row["document"]).issued_at if row else None

    def samples(self) -> int:
        """Samples that the latest order trains on that has counted them; 0 before the first."""
        row = self._one("SELECT samples FROM orders WHERE samples > 0 ORDER BY position DESC LIMIT 1")
        return int(row["samples"]) if row else 0

    def apply(
        self,
        generation: int,
        edge: str,
        accepted: Iterable[Entry],
        renewed: Iterable[Order],
        cancelled: Iterable[Entry],
        unasked: Iterable[str],
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
            values = (entry.order.id, entry.order.model_dump_json(), entry.phase, *clock, entry.samples, error)
            statement = (
                "INSERT INTO orders (id, document, phase, boot, up, wall, samples, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            )
            writes.append((statement, values))
        for order in renewed:
            writes.append(("UPDATE orders SET document = ? WHERE id = ?", (order.model_dump_json(), order.id)))
        for entry in cancelled:
            writes += self._standing(entry)
        for order_id in unasked:
            writes.append(_closing(order_id))
        self._write(writes)

    def stand(self, entry: Entry) -> None:
        """Keep where an order stands now; one that is over has its uploads dropped."""
        self._write(self._standing(entry))

    def add_epoch(self, order_id: str, record: EpochRecord) -> None:
        """Keep an epoch: accuracy, recall and loss; the parameters stand in the order's checkpoint."""
        self._write([("INSERT OR REPLACE INTO epochs VALUES (?, ?, ?)", (order_id, record.epoch, record.model_dump_json()))])

    def finish_work(self, entry: Entry, manifest: Manifest, uploads: Iterable[tuple[str, Path]]) -> None:
        """Keep that the work is done: its epochs, its model, and what is to be uploaded, in this order."""
        order_id = entry.order.id
        writes = self._standing(entry)
        for record in entry.history:
            writes.append(
                ("INSERT OR REPLACE INTO epochs VALUES (?, ?, ?)", (order_id, record.epoch, record.model_dump_json()))
            )
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
        return [Upload(row["order_id"], row["name"], Path(row["path"]), row["tries"], row["trouble"]) for row in rows]

    def upload_failed(self, order_id: str, name: str, trouble: str) -> None:
        """Keep that a try to upload failed, and why."""
        statement = "UPDATE uploads SET tries = tries + 1, trouble = ? WHERE order_id = ? AND name = ?"
        self._write([(statement, (trouble, order_id, name))])

    def uploaded(self, entry: Entry, name: str) -> None:
        """Keep that the cloud has a file, and where its order stands now."""
        delete = ("DELETE FROM uploads WHERE order_id = ? AND name = ?", (entry.order.id, name))
        self._write([delete, *self._standing(entry)])

    def close(self, order_id: str) -> None:
        """Keep that the cloud knows how an order ended, or does not ask any more."""
        self._write([_closing(order_id)])

    def history(self, order_id: str) -> tuple[EpochRecord, ...]:
        """The finished epochs of an order."""
        rows = self._all("SELECT record FROM epochs WHERE order_id = ? ORDER BY epoch", order_id)
        return tuple(EpochRecord.model_validate_json(row["record"]) for row in rows)

    def models(self, *, with_file: bool = False) -> list[TrainedModel]:
        """Models trained here, oldest first: all, or those whose files are kept."""
        rows = self._all("SELECT * FROM models WHERE path IS NOT NULL OR NOT ? ORDER BY created_at, order_id", with_file)
        return [TrainedModel(**{**dict(row), "target_met": bool(row["target_met"])}) for row in rows]

    def forget_model_file(self, order_id: str) -> None:
        """Keep that the file of a model is gone; its figures stay."""
        self._write([("UPDATE models SET path = NULL WHERE order_id = ?", (order_id,))])

    def delete_model(self, order_id: str) -> None:
        """Remove a model and its epochs from the books."""
        model = ("DELETE FROM models WHERE order_id = ?", (order_id,))
        epochs = ("DELETE FROM epochs WHERE order_id = ?", (order_id,))
        self._write([model, epochs])

    def _standing(self, entry: Entry) -> list[_Write]:
        error = entry.error.model_dump_json() if entry.error else None
        values = (entry.phase, entry.crashes, entry.samples, entry.recollections, error, entry.order.id)
        statement = "UPDATE orders SET phase = ?, crashes = ?, samples = ?, recollections = ?, error = ? WHERE id = ?"
        drop = ("DELETE FROM uploads WHERE order_id = ?", (entry.order.id,))
        return [(statement, values), *([drop] if entry.phase.over else [])]

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


def _closing(order_id: str) -> _Write:
    return "UPDATE orders SET closed = 1 WHERE id = ?", (order_id,)
