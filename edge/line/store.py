"""What a line's service must not forget: its members, what is wanted of each, and its deployments.

All of it is in SQLite before it has an effect anywhere else, so that the service may be killed at any moment.
"""

import json
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from cloudedge.channel.identity import fingerprint, subject_of
from cloudedge.channel.joining import TOKEN_SECONDS
from cloudedge.documents.base import STORED
from cloudedge.documents.inspection import Rollout
from cloudedge.documents.kinds.deploy import Outcome
from cloudedge.documents.line import SERVER, Deployment, DeploymentState, Rollback, Teach, Wanted
from cloudedge.errors import Conflict, NotFound
from edge.clock import Moment, now
from edge.database import connect, disk_trouble, transaction
from edge.folders import Folders
from edge.line.rollout import FOR_NOW, told

_VERSION = 1
_SCHEMA = """
CREATE TABLE members (
    name TEXT PRIMARY KEY, certificate TEXT NOT NULL, fingerprint TEXT NOT NULL UNIQUE, joined TEXT NOT NULL
) STRICT;
CREATE TABLE tokens (digest TEXT PRIMARY KEY, name TEXT NOT NULL, made TEXT NOT NULL) STRICT;
CREATE TABLE wants (
    detector TEXT PRIMARY KEY, generation INTEGER NOT NULL DEFAULT 0, brand TEXT, teach TEXT, flush INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE rollbacks (id TEXT PRIMARY KEY, detector TEXT NOT NULL, brand TEXT NOT NULL, sha256 TEXT NOT NULL) STRICT;
CREATE TABLE deployments (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, asked TEXT NOT NULL, rollout TEXT NOT NULL, begun TEXT NOT NULL,
    stopped INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE parts (
    deployment INTEGER NOT NULL REFERENCES deployments (number), place INTEGER NOT NULL, detector TEXT NOT NULL,
    brand TEXT NOT NULL, canary INTEGER NOT NULL DEFAULT 0, given TEXT, judging TEXT, state TEXT, outcome TEXT,
    withdrawn INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (deployment, detector)
) STRICT;
CREATE INDEX parts_of_detectors ON parts (detector, brand, deployment);
CREATE INDEX undecided ON parts (deployment) WHERE outcome IS NULL
"""

_RANKS = {"waiting": 0, "transferring": 1, "loading": 2, "watching": 3, "serving": 4, "failed": 5, "rolled-back": 5}

_KEPT_DEPLOYMENTS = 200
"""Deployments that are remembered beside those in use, the newest."""

_MODELS_KEPT = 3
"""Of each brand: so that a detector that lost its disk gets again what it had, a step back included."""


@dataclass(frozen=True)
class Member:
    """A detector that has joined.

    Attributes:
        name: Its name.
        certificate: PEM.
        fingerprint: Of the certificate.
        joined: When.
    """

    name: str
    certificate: str
    fingerprint: str
    joined: Moment


@dataclass(frozen=True)
class PartRow:
    """One detector in a deployment.

    Attributes:
        detector: Its name.
        canary: Whether others wait to see how it does.
        given: Since when it is told to get the model.
        judging: Since when it judges by it, as far as is known here.
        state: What it last said.
        outcome: What became of it.
    """

    detector: str
    canary: bool
    given: Moment | None
    judging: Moment | None
    state: DeploymentState | None
    outcome: Outcome | None


@dataclass(frozen=True)
class DeploymentRow:
    """A deployment.

    Attributes:
        number: Grows with each.
        asked: What each detector gets.
        rollout: In what order.
        begun: When it was asked for.
        stopped: Whether nobody else gets it.
        parts: Its detectors, in the order of their turns.
    """

    number: int
    asked: Deployment
    rollout: Rollout
    begun: Moment
    stopped: bool
    parts: tuple[PartRow, ...]

    @property
    def over(self) -> bool:
        """Whether it is known of each detector what became of it there."""
        return all(part.outcome is not None for part in self.parts)


class LineStore:
    """The line's database. Safe for threads.

    Every method may raise StoreFailed, where the disk refuses; then nothing was changed.
    """

    def __init__(self, folders: Folders) -> None:
        """Open it.

        Raises:
            StoreFailed: the disk refuses.
            Conflict: another version wrote it.
        """
        self._path = folders.line_database
        self._lock = threading.RLock()
        self._database = connect(self._path, _SCHEMA, _VERSION, shared=True)
        self._members = self._read_members()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    # Members: asked by the channel at every connection and every call, so they are at hand.

    def certificates(self) -> list[str]:
        """Of all members, PEM."""
        return [member.certificate for member in self._members.values()]

    def name_of(self, fingerprint: str) -> str | None:
        """The member whose certificate has this digest."""
        return next((member.name for member in self._members.values() if member.fingerprint == fingerprint), None)

    def members(self) -> dict[str, Member]:
        """All members by name, sorted."""
        return self._members

    def add_token(self, digest: str, name: str) -> None:
        """Let one more node join: under this name, within an hour, with the secret of this digest. An earlier one is void."""
        with self._writing():
            self._database.execute("DELETE FROM tokens WHERE name = ?", (name,))
            self._database.execute("INSERT INTO tokens VALUES (?, ?, ?)", (digest, name, _written(now())))

    def admit(self, digest: str, name: str, certificate: str) -> bool:
        """Make a member, and void the token.

        Returns:
            Whether it takes the place of another one of this name.

        Raises:
            Conflict: the token is none, was used or has expired; all of that sounds the same to a stranger.
        """
        with self._members_changed(), self._writing():
            found = self._database.execute("SELECT * FROM tokens WHERE digest = ? AND name = ?", (digest, name)).fetchone()
            if found is None or _read(found["made"]).seconds_until(now()) >= TOKEN_SECONDS:
                raise Conflict(
                    f"The token to join as {name} is not good (any more): each is for one node, once, within an hour. Have "
                    f"another one printed: cloudedge-edge detectors add {name}."
                )
            mark = fingerprint(certificate)
            if self.name_of(mark) not in (None, name):
                raise Conflict(
                    f"This node has joined as {self.name_of(mark)} already. Remove that, or join from another folder."
                )
            others = self._database.execute("SELECT certificate FROM members WHERE name <> ?", (name,)).fetchall()
            if subject_of(certificate) in [subject_of(other["certificate"]) for other in others]:
                raise Conflict(
                    "This node shows a certificate whose subject is another member's. Join from a folder that is empty."
                )
            self._database.execute("DELETE FROM tokens WHERE digest = ?", (digest,))
            self._database.execute(
                "INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?)", (name, certificate, mark, _written(now()))
            )
            self._grow(name)
            return name in self._members

    def remove(self, name: str) -> None:
        """Make somebody a stranger.

        Raises:
            NotFound: nobody has this name.
        """
        self.require(name)
        with self._members_changed(), self._writing():
            self._database.execute("DELETE FROM members WHERE name = ?", (name,))
            self._database.execute("DELETE FROM tokens WHERE name = ?", (name,))
            self._database.execute("DELETE FROM rollbacks WHERE detector = ?", (name,))
            self._database.execute("UPDATE wants SET brand = NULL, teach = NULL WHERE detector = ?", (name,))
            gone = Outcome(state="unreachable", reason="it was removed from the line")
            for number, state in self._undecided(name):
                self._settle(number, {name: told(state, gone.state, gone.reason)})
            self._database.execute("UPDATE parts SET withdrawn = 1 WHERE detector = ?", (name,))

    # What is wanted of detectors.

    def wanted(self, name: str) -> Wanted:
        """All that is wanted of a detector now."""
        with self._reading():
            row = self._database.execute("SELECT * FROM wants WHERE detector = ?", (name,)).fetchone()
            rollbacks = self._database.execute("SELECT * FROM rollbacks WHERE detector = ? ORDER BY rowid", (name,)).fetchall()
            deployments = [self._deployment(number, canary) for number, canary in self._wanted_parts(name)]
        return Wanted(
            generation=row["generation"] if row else 0,
            brand=row["brand"] if row else None,
            deployments=tuple(deployments),
            rollbacks=tuple(Rollback(id=found["id"], brand=found["brand"], sha256=found["sha256"]) for found in rollbacks),
            teach=Teach.model_validate_json(row["teach"], context=STORED) if row and row["teach"] else None,
            flush=row["flush"] if row else 0,
        )

    def require(self, name: str) -> None:
        """Make sure that somebody is a member.

        Raises:
            NotFound: nobody has this name.
        """
        if name not in self._members:
            known = ", ".join(self._members) or "none"
            raise NotFound(f"There is no detector {name!r} on this line. Those that have joined: {known}.")

    def is_under_way(self, name: str, brand: str) -> bool:
        """Whether a model is wanted of a detector that it does not judge by yet."""
        with self._reading():
            return any(state is None or not state.judges for _, state in self._undecided(name, brand))

    def want_brand(self, name: str, brand: str) -> None:
        """Have a detector judge parts of a brand from now on.

        Raises:
            NotFound: nobody has this name.
        """
        self.require(name)
        with self._writing():
            self._grow(name)
            self._database.execute("UPDATE wants SET brand = ? WHERE detector = ?", (brand, name))

    def want_teach(self, name: str, teach: Teach) -> None:
        """Have a detector take its next images as examples.

        Raises:
            NotFound: nobody has this name.
        """
        self.require(name)
        with self._writing():
            self._grow(name)
            self._database.execute("UPDATE wants SET teach = ? WHERE detector = ?", (teach.model_dump_json(), name))

    def want_flush(self, name: str) -> int:
        """Have a detector send all that it holds back; returns the number of this flush.

        Raises:
            NotFound: nobody has this name.
        """
        self.require(name)
        with self._writing():
            self._grow(name)
            self._database.execute("UPDATE wants SET flush = flush + 1 WHERE detector = ?", (name,))
            found = self._database.execute("SELECT flush FROM wants WHERE detector = ?", (name,)).fetchone()
        return int(found["flush"])

    def want_rollback(self, name: str, brand: str, wish: str) -> None:
        """Have a detector judge a brand by the model before; the deployment of the one that it leaves is not wanted any more.

        Args:
            name: The detector.
            brand: The brand.
            wish: Id of this wish.

        Raises:
            NotFound: nobody has this name.
        """
        if name != SERVER:
            self.require(name)
        with self._writing():
            left = ""
            for number, _ in self._wanted_parts(name, brand):
                row = self._database.execute("SELECT state FROM parts WHERE deployment = ? AND detector = ?", (number, name))
                state = _state(row.fetchone()["state"])
                left = self._deployment(number).deployable.sha256 if state is not None and state.judges else ""
                self._database.execute("UPDATE parts SET withdrawn = 1 WHERE deployment = ? AND detector = ?", (number, name))
            for number, state in self._undecided(name, brand):
                if state is None or not state.judges:  # Nobody says any more what becomes of it.
                    self._settle(number, {name: told(state, "skipped", "a person had the model before brought back")})
            self._database.execute("DELETE FROM rollbacks WHERE detector = ? AND brand = ?", (name, brand))
            self._database.execute("INSERT OR IGNORE INTO rollbacks VALUES (?, ?, ?, ?)", (wish, name, brand, left))
            self._grow(name)

    # Deployments.

    def begin(self, asked: Deployment, rollout: Rollout, detectors: Sequence[str]) -> None:
        """Begin a deployment; one that was begun before goes on, stopped ones included.

        Args:
            asked: What each detector gets.
            rollout: In what order.
            detectors: Who gets it, in the order of their turns.
        """
        with self._writing():
            known = self._database.execute("SELECT number FROM deployments WHERE id = ?", (asked.id,)).fetchone()
            if known is not None:
                self._database.execute("UPDATE deployments SET stopped = 0 WHERE number = ?", (known["number"],))
                for part in self._parts(known["number"]):
                    if part.outcome is not None and part.outcome.reason in FOR_NOW:
                        where = (known["number"], part.detector)
                        self._database.execute("UPDATE parts SET outcome = NULL WHERE deployment = ? AND detector = ?", where)
                        self._grow(part.detector)
                return
            for name in detectors:
                for number, state in self._undecided(name, asked.brand):
                    outcome = "serving" if state is not None and state.judges else "skipped"
                    self._settle(number, {name: told(state, outcome, f"a newer deployment took its place: {asked.id}")})
            cursor = self._database.execute(
                "INSERT INTO deployments (id, asked, rollout, begun) VALUES (?, ?, ?, ?)",
                (asked.id, asked.model_dump_json(), rollout.model_dump_json(), _written(now())),
            )
            self._database.executemany(
                "INSERT INTO parts (deployment, place, detector, brand) VALUES (?, ?, ?, ?)",
                [(cursor.lastrowid, place, name, asked.brand) for place, name in enumerate(detectors)],
            )
            self._forget_old(cursor.lastrowid or 0)

    def stop(self, deployment: str) -> None:
        """Give a deployment to nobody else."""
        with self._writing():
            self._database.execute("UPDATE deployments SET stopped = 1 WHERE id = ?", (deployment,))

    def deployment(self, deployment: str) -> DeploymentRow:
        """A deployment.

        Raises:
            NotFound: there is none of this id.
        """
        with self._reading():
            row = self._database.execute("SELECT * FROM deployments WHERE id = ?", (deployment,)).fetchone()
            if row is None:
                raise NotFound(f"There is no deployment {deployment!r} on this line.")
            return self._row(row)

    def deployments(self, most: int = 0) -> list[DeploymentRow]:
        """Those that are not over, and the newest ones beside them.

        Args:
            most: Number of the newest ones.

        Returns:
            Oldest first.
        """
        with self._reading():
            rows = self._database.execute(
                "SELECT * FROM deployments WHERE number IN (SELECT deployment FROM parts WHERE outcome IS NULL) "
                "OR number IN (SELECT number FROM deployments ORDER BY number DESC LIMIT ?) ORDER BY number",
                (most,),
            ).fetchall()
            return [self._row(row) for row in rows]

    def give(self, number: int, detectors: Collection[str], canaries: Collection[str]) -> None:
        """Have detectors get a model."""
        with self._writing():
            for name in detectors:
                self._database.execute(
                    "UPDATE parts SET given = ?, canary = ? WHERE deployment = ? AND detector = ? AND given IS NULL",
                    (_written(now()), name in canaries, number, name),
                )
                # What was asked before is history: a newer model is wanted.
                brand = self._deployment(number).brand
                self._database.execute("DELETE FROM rollbacks WHERE detector = ? AND brand = ?", (name, brand))
                self._grow(name)

    def settle(self, number: int, outcomes: Mapping[str, Outcome]) -> None:
        """Keep what became of a deployment at some detectors; the first word on each holds."""
        with self._writing():
            self._settle(number, outcomes)

    def hear(self, name: str, states: Collection[DeploymentState]) -> list[DeploymentState]:
        """Take note of what a detector says of deployments that are its own; what is older than what is known is passed over.

        Returns:
            Those whose phase is another one now.
        """
        with self._lock:
            with self._reading():
                known = {
                    row["id"]: (row["number"], _state(row["state"]))
                    for row in self._database.execute(
                        "SELECT id, number, state FROM parts JOIN deployments ON number = deployment WHERE detector = ? "
                        "AND given IS NOT NULL ORDER BY number DESC LIMIT 100",
                        (name,),
                    )
                }
            changed = []
            for state in states:
                number, former = known.get(state.id, (0, None))
                if number and newer(state, former) is not former and (former is None or former.phase != state.phase):
                    changed.append(state)
            if not changed:
                return []
            with self._writing():
                for state in changed:
                    number, former = known[state.id]
                    self._hear(number, name, newer(state, former))
            return changed

    def models_in_use(self) -> set[str]:
        """Digests of the models that somebody may fetch."""
        with self._reading():
            rows = self._database.execute("SELECT number, asked FROM deployments ORDER BY number DESC").fetchall()
            wanted = {number for name in [*self._members, SERVER] for number, _ in self._wanted_parts(name)}
            open_ = {row["deployment"] for row in self._database.execute("SELECT deployment FROM parts WHERE outcome IS NULL")}
        found: set[str] = set()
        seen: dict[str, set[str]] = {}
        for row in rows:
            asked = Deployment.model_validate_json(row["asked"], context=STORED)
            newest = seen.setdefault(asked.brand, set())
            if row["number"] in wanted | open_ or len(newest) < _MODELS_KEPT:
                newest.add(asked.deployable.sha256)
                found.add(asked.deployable.sha256)
        return found

    def state(self, name: str, deployment: str) -> DeploymentState | None:
        """What a detector last said of a deployment."""
        with self._reading():
            row = self._database.execute(
                "SELECT state FROM parts JOIN deployments ON number = deployment WHERE id = ? AND detector = ?",
                (deployment, name),
            ).fetchone()
        return _state(row["state"]) if row else None

    def forget_rollbacks(self, name: str, rollbacks: Collection[str]) -> None:
        """These were done, and need not be wanted any more."""
        with self._writing():
            self._database.executemany(
                "DELETE FROM rollbacks WHERE id = ? AND detector = ?", [(rollback, name) for rollback in rollbacks]
            )

    # Within a transaction, or under the lock.

    def _hear(self, number: int, name: str, state: DeploymentState) -> None:
        """Keep how a deployment stands at a detector now, and what follows for what is wanted of it."""
        where = (number, name)
        over = state.phase in ("failed", "rolled-back")
        self._database.execute(
            "UPDATE parts SET state = ?, judging = coalesce(judging, ?), withdrawn = withdrawn OR ? "
            "WHERE deployment = ? AND detector = ?",
            (state.model_dump_json(), _written(now()) if state.judges else None, over, *where),
        )
        row = self._database.execute("SELECT outcome FROM parts WHERE deployment = ? AND detector = ?", where).fetchone()
        outcome = _outcome(row["outcome"])
        if state.judges and outcome is not None and outcome.state in ("unreachable", "skipped"):
            # It had all that it needed when the way to it broke: then that is what it judges by, and what is wanted of it.
            late = told(state, "serving", "it judged by it after the deployment had ended")
            self._database.execute(
                "UPDATE parts SET outcome = ? WHERE deployment = ? AND detector = ?", (late.model_dump_json(), *where)
            )
            self._grow(name)
        if state.phase == "rolled-back" and outcome is not None and outcome.state == "serving":
            # It judged by it, and left its bounds later, as it was watched longer than anybody waited.
            late = told(state, "rolled-back", state.reason)
            self._database.execute(
                "UPDATE parts SET outcome = ? WHERE deployment = ? AND detector = ?", (late.model_dump_json(), *where)
            )
        if over:
            self._grow(name)

    def _wanted_parts(self, name: str, brand: str | None = None) -> Iterator[tuple[int, bool]]:
        """Numbers of a detector's deployments that hold, one of each brand, and whether it is a canary of it."""
        rows = self._database.execute(
            "SELECT deployment, brand, canary, outcome FROM parts WHERE detector = ? AND given IS NOT NULL AND NOT withdrawn "
            "AND (? IS NULL OR brand = ?) ORDER BY deployment DESC",
            (name, brand, brand),
        ).fetchall()
        found = set()
        for row in rows:
            outcome = _outcome(row["outcome"])
            if row["brand"] not in found and (outcome is None or outcome.state == "serving"):
                found.add(row["brand"])
                yield row["deployment"], bool(row["canary"])

    def _deployment(self, number: int, canary: bool = False) -> Deployment:
        row = self._database.execute("SELECT asked FROM deployments WHERE number = ?", (number,)).fetchone()
        return Deployment.model_validate_json(row["asked"], context=STORED).model_copy(update={"canary": canary})

    def _undecided(self, name: str, brand: str | None = None) -> list[tuple[int, DeploymentState | None]]:
        rows = self._database.execute(
            "SELECT deployment, state FROM parts WHERE detector = ? AND outcome IS NULL AND (? IS NULL OR brand = ?)",
            (name, brand, brand),
        )
        return [(row["deployment"], _state(row["state"])) for row in rows.fetchall()]

    def _settle(self, number: int, outcomes: Mapping[str, Outcome]) -> None:
        for name, outcome in outcomes.items():
            changed = self._database.execute(
                "UPDATE parts SET outcome = ? WHERE deployment = ? AND detector = ? AND outcome IS NULL",
                (outcome.model_dump_json(), number, name),
            ).rowcount
            if changed and outcome.state != "serving":
                self._grow(name)

    def _row(self, row: Mapping[str, object]) -> DeploymentRow:
        number = int(str(row["number"]))
        return DeploymentRow(
            number,
            Deployment.model_validate_json(str(row["asked"]), context=STORED),
            Rollout.model_validate_json(str(row["rollout"]), context=STORED),
            _read(str(row["begun"])),
            bool(row["stopped"]),
            tuple(self._parts(number)),
        )

    def _parts(self, number: int) -> list[PartRow]:
        rows = self._database.execute("SELECT * FROM parts WHERE deployment = ? ORDER BY place", (number,)).fetchall()
        return [
            PartRow(
                row["detector"],
                bool(row["canary"]),
                _read(row["given"]) if row["given"] else None,
                _read(row["judging"]) if row["judging"] else None,
                _state(row["state"]),
                _outcome(row["outcome"]),
            )
            for row in rows
        ]

    def _forget_old(self, newest: int) -> None:
        old = "deployment <= ? AND deployment NOT IN (SELECT deployment FROM parts WHERE outcome IS NULL)"
        latest = "SELECT max(deployment) FROM parts GROUP BY detector, brand"
        limit = newest - _KEPT_DEPLOYMENTS
        self._database.execute(f"DELETE FROM parts WHERE {old} AND deployment NOT IN ({latest})", (limit,))  # noqa: S608
        self._database.execute(
            "DELETE FROM deployments WHERE number <= ? AND number NOT IN (SELECT deployment FROM parts)", (limit,)
        )

    def _grow(self, name: str) -> None:
        self._database.execute(
            "INSERT INTO wants (detector, generation) VALUES (?, 1) ON CONFLICT DO UPDATE SET generation = generation + 1",
            (name,),
        )

    def _read_members(self) -> dict[str, Member]:
        with self._reading():
            rows = self._database.execute("SELECT * FROM members ORDER BY name").fetchall()
        return {row["name"]: Member(row["name"], row["certificate"], row["fingerprint"], _read(row["joined"])) for row in rows}

    @contextmanager
    def _members_changed(self) -> Iterator[None]:
        """Know the members anew once they were changed, before anybody else changes them."""
        with self._lock:
            yield
            self._members = self._read_members()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock, disk_trouble(self._path), transaction(self._database):
            yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, disk_trouble(self._path):
            yield


def newer(state: DeploymentState, former: DeploymentState | None) -> DeploymentState:
    """What is known of a deployment at a detector after it said something: its way leads forward, even if it began again."""
    if former is None:
        return state
    if _RANKS[state.phase] < _RANKS[former.phase] or (
        former.phase in ("failed", "rolled-back") and state.phase != former.phase
    ):
        return former
    most = {
        name: max(getattr(state, name), getattr(former, name))
        for name in ("transferred", "transfer_total", "loaded", "load_total", "transfer_seconds", "load_seconds", "swap_gap_ms")
    }
    return state.model_copy(update=most)


def _written(moment: Moment) -> str:
    return json.dumps(asdict(moment))


def _read(text: str) -> Moment:
    return Moment(**json.loads(text))


def _state(text: str | None) -> DeploymentState | None:
    return DeploymentState.model_validate_json(text, context=STORED) if text else None


def _outcome(text: str | None) -> Outcome | None:
    return Outcome.model_validate_json(text, context=STORED) if text else None
