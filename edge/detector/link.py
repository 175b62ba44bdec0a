"""The detector's way to its line's edge server: what is wanted comes in, how it stands and what it recorded goes out.

The detector inspects whether or not anybody is there. All of this goes on in threads of its own, tries again for as long as it
takes, and begins with the whole of what is wanted each time; so it does not matter what was missed while the network was away.
"""

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from cloudedge import __version__
from cloudedge.channel.client import Client, Following
from cloudedge.channel.identity import Identity, identity
from cloudedge.channel.joining import Token
from cloudedge.channel.joining import join as join_by
from cloudedge.documents.base import Document, parse
from cloudedge.documents.line import (
    DEPLOYMENTS_TOLD,
    MAX_IMAGE_BYTES,
    Deployment,
    DeploymentState,
    Fetch,
    Heard,
    Hello,
    Kept,
    Record,
    Records,
    Said,
    Sent,
    Status,
    Teach,
    Wanted,
)
from cloudedge.errors import CloudedgeError, Conflict, InvalidDocument, NotFound, StoreFailed
from cloudedge.files import atomic_write, disk_errors
from cloudedge.names import NAME
from edge.backoff import pause_seconds
from edge.signals import Signal

_log = logging.getLogger(__name__)

STATUS_SECONDS = 2.0
"""Between two statuses, when nothing remarkable happens."""

_LIVELY_SECONDS, _QUIET_SECONDS = 0.25, 1.0
"""Between two looks at how deployments stand: while one is under way, and otherwise; the inspection needs the processor."""

_KEEP_SECONDS = 60.0
"""What the edge server may take to write some records."""

_MOST_DOUBLINGS = 3
"""Of the pause before another try: four seconds on the line's own network are long, and a hundred detectors no load."""

_BATCH_BYTES, _BATCH_RECORDS = 4 * 1024 * 1024, 64
_LOOK_SECONDS = 0.5
_REMEMBERED = 200


class ModelsOfDetector(Protocol):
    """Its models, by brand."""

    def current(self, name: str) -> Any:
        """What is in use now, with its `deployable`; None: nothing is."""


class SpooledRecord(Protocol):
    """An image that is kept."""

    @property
    def id(self) -> int:
        """Its number."""

    @property
    def record(self) -> Record:
        """What is known of it."""

    @property
    def image(self) -> Path:
        """Its PNG file."""

    @property
    def heat(self) -> bytes:
        """Its heat map's PNG file; empty: it has none."""


class SpoolOfDetector(Protocol):
    """What it keeps for the edge server."""

    def unsent(self, most: int) -> Sequence[SpooledRecord]:
        """What the edge server does not have, oldest first."""

    def sent(self, ids: Collection[int]) -> None:
        """The edge server has these."""

    def backlog(self) -> int:
        """How many it does not have."""


class Linked(Protocol):
    """A detector, as far as the link knows it. All of it may be called from any thread."""

    @property
    def models(self) -> ModelsOfDetector:
        """Its models, by brand."""

    @property
    def spool(self) -> SpoolOfDetector:
        """What it keeps for the edge server."""

    def status(self) -> Status:
        """How it stands."""

    def use_brand(self, brand: str) -> None:
        """Judge by the model of this brand from now on."""

    def teach(self, asked: Teach) -> None:
        """Have the next images of a brand be examples."""

    def deploy(self, asked: Deployment, file: Path) -> None:
        """Deploy a model, beside the inspection."""

    def rollback(self, brand: str) -> None:
        """Judge a brand by the model before."""


class Membership(Document):
    """Which line a detector has joined."""

    name: str = Field(pattern=NAME, description="Name of the detector in its line.")
    address: str = Field(description="host:port of the edge server.")
    certificate: str = Field(description="The only certificate that is believed there, PEM.")


class _Memory(Document):
    """What the link must not forget.

    A deployment's end is remembered here as long as it is wanted, whatever else the detector forgets.
    """

    generation: int = Field(default=0, description="Of what was last wanted.")
    ended: tuple[DeploymentState, ...] = Field(default=(), description="Deployments that nothing more comes of.")
    rollbacks: tuple[str, ...] = Field(default=(), description="Those that were done.")


def join(text: str, folder: Path) -> Membership:
    """Join a line.

    Args:
        text: The token that `cloudedge-edge detectors add` printed.
        folder: Where the link keeps what is its own.

    Returns:
        What was joined. It holds from the next start of the detector on.

    Raises:
        InvalidInput: the token is none, or not good any more, or somebody else answers.
        StoreFailed: nobody answers, or the disk refuses.
    """
    token = Token.read(text)
    address, certificate = join_by(token, identity(folder, token.name))
    membership = Membership(name=token.name, address=address, certificate=certificate)
    atomic_write(folder / "line.json", membership.to_json())
    return membership


def membership(folder: Path) -> Membership | None:
    """Which line was joined; none: none was.

    Raises:
        InvalidDocument: the file is damaged.
        StoreFailed: it cannot be read.
    """
    path = folder / "line.json"
    if not path.exists():
        return None
    with disk_errors(path):
        return parse(Membership, path.read_bytes(), str(path), stored=True)


class Link:
    """The link of one detector, from its start until it is closed."""

    def __init__(self, detector: Linked, folder: Path) -> None:
        """Take up what was left; nothing is sent before `start`.

        Args:
            detector: Whose link it is.
            folder: Where the link keeps what is its own.

        Raises:
            NotFound: no line was joined.
            InvalidDocument: a file there is damaged.
            StoreFailed: the disk refuses.
        """
        found = membership(folder)
        if found is None:
            raise NotFound("This detector has joined no line. Have a token printed at the edge server, and join with it.")
        self._detector = detector
        self._folder = folder
        self._membership = found
        self._own: Identity = identity(folder, found.name)
        self._client = self._connected()
        self._lock = threading.RLock()
        self._memory = self._remembered()
        self._closing = threading.Event()
        self._changed = threading.Event()
        """There is something to tell at once."""
        self._new = threading.Event()
        """There is something new that is wanted."""
        self._wanted: Wanted | None = None
        self._following: Following[Wanted] | None = None
        self._back = Signal()
        """The edge server was away, and has said something again."""
        self._transfers: dict[str, DeploymentState] = {}
        self._handed_over: set[str] = set()
        self._flushes = _Flushes()
        self._troubles: dict[str, str] = {}
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("hear", self._hear), ("tell", self._tell), ("obey", self._obey), ("send", self._send))
        ]

    @property
    def name(self) -> str:
        """The detector's name in its line."""
        return self._membership.name

    @property
    def trouble(self) -> str:
        """What a person should look after; empty: nothing."""
        with self._lock:
            return " ".join(dict.fromkeys(filter(None, self._troubles.values())))

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End."""
        self._closing.set()
        self._changed.set()
        self._new.set()
        self._back.give()
        following = self._following
        if following is not None:
            following.end()
        self._client.close()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def status(self) -> Status:
        """How the detector stands, and what is on its way to it."""
        status = self._detector.status()
        with self._lock:
            told = {state.id: state for state in status.deployments}
            for state in self._memory.ended:
                told.setdefault(state.id, state)
            for number, transfer in self._transfers.items():
                known = told.get(number)
                told[number] = transfer if known is None else _with_transfer(known, transfer)
            trouble = " ".join(filter(None, [status.trouble, self.trouble]))
        return status.model_copy(
            update={"deployments": _newest(told.values(), self._wanted), "trouble": trouble[:2000]},
        )

    # What is wanted.

    def _hear(self) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                hello = Hello(generation=self._memory.generation, software=__version__, status=self.status())
                self._following = self._client.follow("/cloudedge.line/follow", hello, Wanted)
                if self._closing.is_set():
                    self._following.end()
                for wanted in self._following:
                    failures = 0
                    self._trouble("link")
                    self._take(wanted)
                    self._back.give()
                self._trouble("link", "The edge server has ended the connection.")
            except CloudedgeError as error:
                self._trouble("link", str(error))
            except ValueError:  # The client was closed.
                continue
            self._closing.wait(_pause_seconds(failures))
            failures += 1

    def _take(self, wanted: Wanted) -> None:
        with self._lock:
            self._wanted = wanted
        self._flushes.ask(wanted.flush, self._detector.spool.backlog)
        self._flushes.sent(0, self._detector.spool.backlog())  # There may have been none.
        self._new.set()
        self._changed.set()

    def _obey(self) -> None:
        failures = 0
        while not self._closing.is_set():
            self._new.clear()
            with self._lock:
                wanted = self._wanted
            try:
                if wanted is not None:
                    self._follow(wanted)
                    self._trouble("wanted")
                failures = 0
                self._new.wait(_QUIET_SECONDS)
            except CloudedgeError as error:
                self._trouble("wanted", str(error))
                if not self._new.is_set():
                    self._pause(failures)
                failures += 1
            except Exception:
                _log.exception("what is wanted cannot be done")
                self._pause(failures)
                failures += 1

    def _follow(self, wanted: Wanted) -> None:
        """Do what is wanted and was not done yet. Called again and again, so it may be left at any error."""
        status = self._detector.status()
        if wanted.brand is not None and wanted.brand != status.brand:
            self._detector.use_brand(wanted.brand)
        if wanted.teach is not None:
            self._detector.teach(wanted.teach)  # The same one twice is one.
        for rollback in wanted.rollbacks:
            self._roll_back(rollback.id, rollback.brand, rollback.sha256)
        self._take_note_of_ends(status, wanted)
        states = {state.id: state for state in status.deployments}
        for asked in wanted.deployments:
            self._deploy(asked, states.get(asked.id))
        with self._lock:
            # A transfer that is not wanted any more is forgotten, and what came of it stays for when it is wanted again.
            ids = {asked.id for asked in wanted.deployments}
            self._transfers = {number: state for number, state in self._transfers.items() if number in ids}
            if self._memory.generation != wanted.generation:
                self._remember(generation=wanted.generation)
                self._changed.set()
        self._remove_files(wanted, states)

    def _roll_back(self, number: str, brand: str, only_from: str) -> None:
        if number in self._memory.rollbacks:
            return
        current = self._detector.models.current(brand)
        if current is not None and only_from in ("", current.deployable.sha256):
            try:
                self._detector.rollback(brand)
                _log.info("parts of %s are judged by the model before", brand)
            except NotFound as error:
                _log.warning("%s", error)
        self._remember(rollbacks=(*self._memory.rollbacks, number)[-_REMEMBERED:])
        self._changed.set()

    def _deploy(self, asked: Deployment, known: DeploymentState | None) -> None:
        ended = any(state.id == asked.id for state in self._memory.ended)
        if ended or asked.id in self._handed_over or (known is not None and (known.judges or known.over)):
            return
        path = self._fetched(asked)
        if path is None:
            return
        self._detector.deploy(asked, path)
        self._handed_over.add(asked.id)
        self._changed.set()

    def _take_note_of_ends(self, status: Status, wanted: Wanted) -> None:
        """Remember how deployments ended, before the detector forgets it."""
        ids = {asked.id for asked in wanted.deployments}
        with self._lock:
            ended = {state.id: state for state in self._memory.ended}
            for state in status.deployments:
                if state.over:
                    transfer = self._transfers.get(state.id)
                    ended[state.id] = state if transfer is None else _with_transfer(state, transfer)
            spare = [number for number in ended if number not in ids][:-_REMEMBERED]
            kept = tuple(state for number, state in ended.items() if number not in spare)
            if kept != self._memory.ended:
                self._remember(ended=kept)
                self._changed.set()

    # Models in.

    def _fetched(self, asked: Deployment) -> Path | None:
        """The model's file, complete and verified; none: it is not wanted any more, or it is not what it should be."""
        deployable = asked.deployable
        path = self._models / f"{deployable.sha256}.onnx"
        part = self._models / f"{deployable.sha256}.part"
        with disk_errors(self._models):
            self._models.mkdir(parents=True, exist_ok=True)
            state = DeploymentState(
                id=asked.id, brand=asked.brand, sha256=deployable.sha256, phase="transferring", transfer_total=deployable.size
            )
            begun = time.monotonic()
            if not path.exists():
                resumed = part.exists()
                if not self._transfer(part, state, begun):
                    return None
                if (fault := _fault(part, asked)) is not None:
                    part.unlink()
                    if resumed:  # A power cut may have left something else than what had come.
                        raise StoreFailed(f"{fault} It is fetched anew.")
                    self._fail(state, f"{fault} Deploy it again.")
                    return None
                part.replace(path)
        self._say(state, transferred=deployable.size, transfer_seconds=time.monotonic() - begun)
        return path

    def _transfer(self, part: Path, state: DeploymentState, begun: float) -> bool:
        """Bring what is missing of a file; whether all of it is there now.

        Raises:
            StoreFailed: the connection broke, or the disk refuses; another try goes on from here.
        """
        with part.open("ab") as file:
            size = file.tell()
            if size > state.transfer_total:
                file.truncate(0)
                size = 0
            self._say(state, transferred=size)
            if size == state.transfer_total:
                return True
            chunks = self._client.chunks("/cloudedge.line/fetch", Fetch(sha256=state.sha256, offset=size))
            try:
                for chunk in chunks:
                    file.write(chunk[: state.transfer_total - size])
                    size = min(size + len(chunk), state.transfer_total)
                    self._say(state, transferred=size, transfer_seconds=time.monotonic() - begun)
                    if self._closing.is_set() or not self._is_wanted(state.id):
                        return False
            except NotFound as error:
                self._fail(state, str(error))
                return False
            except Conflict:  # It is not wanted now, and what is comes soon; it may well be this one again.
                return False
            except ValueError:  # The client was closed.
                return False
            finally:
                file.flush()
                os.fsync(file.fileno())
                chunks.close()
        if size < state.transfer_total:
            raise StoreFailed(
                f"The edge server ended the transfer of {state.sha256[:12]} at {size:,} bytes. It is tried again."
            )
        return True

    def _is_wanted(self, number: str) -> bool:
        with self._lock:
            return self._wanted is not None and number in {asked.id for asked in self._wanted.deployments}

    def _say(self, state: DeploymentState, **changed: object) -> None:
        with self._lock:
            self._transfers[state.id] = state.model_copy(update=changed)

    def _fail(self, state: DeploymentState, reason: str) -> None:
        """A deployment that the detector never sees, as there is nothing to load."""
        _log.error("deployment %s failed: %s", state.id, reason)
        failed = state.model_copy(update={"phase": "failed", "reason": reason[:2000]})
        with self._lock:
            self._transfers.pop(state.id, None)
            self._remember(ended=(*self._memory.ended, failed))
        self._changed.set()

    def _remove_files(self, wanted: Wanted, states: Mapping[str, DeploymentState]) -> None:
        """Of models that nothing more needs to be loaded of."""
        if not self._models.is_dir():
            return
        over = {state.id for state in states.values() if state.judges or state.over}
        over |= {state.id for state in self._memory.ended}
        needed = {asked.deployable.sha256 for asked in wanted.deployments if asked.id not in over}
        with disk_errors(self._models):
            for path in self._models.iterdir():
                if path.stem not in needed:
                    path.unlink(missing_ok=True)

    # Status out.

    def _tell(self) -> None:
        failures, last, due = 0, "", 0.0
        told: tuple[DeploymentState, ...] = ()
        while not self._closing.is_set():
            status = self.status()
            states, trouble = status.deployments, status.trouble
            said = Said(status=status, generation=self._memory.generation, flushed=self._flushes.done)
            pause = _QUIET_SECONDS if all(state.over for state in states) else _LIVELY_SECONDS
            now = time.monotonic()
            if not (self._changed.is_set() or states != told or trouble != last or now >= due):
                self._changed.wait(pause)
                continue
            self._changed.clear()
            try:
                self._client.ask("/cloudedge.line/tell", said, Heard)
                failures, told, last, due = 0, states, trouble, now + STATUS_SECONDS
                self._changed.wait(pause)
            except CloudedgeError:  # The one that hears says so.
                told = ()
                self._pause(failures)
                failures += 1
            except ValueError:  # The client was closed.
                continue

    # History out.

    def _send(self) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                sent = self._send_some()
                self._trouble("history")
                failures = 0
                if not sent:
                    self._closing.wait(_LOOK_SECONDS)
            except CloudedgeError as error:
                self._trouble("history", f"Records stay here for now: {error}")
                self._pause(failures)
                failures += 1
            except ValueError:  # The client was closed.
                continue

    def _send_some(self) -> bool:
        """Send the oldest records; whether there were any.

        Raises:
            StoreFailed: they could not be sent, or are not kept there: they stay here.
        """
        heads: list[Sent] = []
        bodies: list[bytes] = []
        done: list[int] = []
        size = 0
        for spooled in self._detector.spool.unsent(_BATCH_RECORDS):
            try:
                image = spooled.image.read_bytes()
            except OSError:  # It was let go meanwhile.
                done.append(spooled.id)
                continue
            if not 0 < len(image) <= MAX_IMAGE_BYTES or sha256(image).hexdigest() != spooled.record.image_sha256:
                _log.error(
                    "record %d is passed over: its image is damaged, or larger than %d bytes", spooled.id, MAX_IMAGE_BYTES
                )
                done.append(spooled.id)
                continue
            length = len(image) + len(spooled.heat)
            if heads and size + length > _BATCH_BYTES:
                break
            record = spooled.record.model_copy(update={"id": spooled.id})
            heads.append(Sent(record=record, image_bytes=len(image), heat_bytes=len(spooled.heat)))
            bodies += [image, spooled.heat]
            size += length
        if heads:
            kept = self._client.ask(
                "/cloudedge.line/keep", Records(records=tuple(heads)), Kept, b"".join(bodies), seconds=_KEEP_SECONDS
            )
            done += kept.ids
        if done:
            self._detector.spool.sent(done)
        if self._flushes.sent(len(done), self._detector.spool.backlog()):
            self._changed.set()
        return bool(done)

    # All else.

    @property
    def _models(self) -> Path:
        return self._folder / "models"

    def _connected(self) -> Client:
        return Client(self._membership.address, self._membership.certificate, self._own)

    def _trouble(self, where: str, what: str = "") -> None:
        with self._lock:
            if self._troubles.get(where, "") != what:
                self._troubles[where] = what
                _log.info("%s: %s", where, what or "all is well")

    def _pause(self, failures: int) -> None:
        """Wait before another try; no longer than until the edge server is back."""
        self._back.wait(self._back.count, _pause_seconds(failures), self._closing.is_set)

    def _remembered(self) -> _Memory:
        path = self._folder / "memory.json"
        if not path.exists():
            return _Memory()
        try:
            with disk_errors(path):
                return parse(_Memory, path.read_bytes(), str(path), stored=True)
        except InvalidDocument as error:
            _log.warning("what the link had done is lost, and done again where it is still wanted: %s", error)
            return _Memory()

    def _remember(self, **changed: object) -> None:
        """Keep what must not be forgotten.

        Raises:
            StoreFailed: the disk refuses; it is known for now, and kept with the next change.
        """
        with self._lock:
            self._memory = self._memory.model_copy(update=changed)
            atomic_write(self._folder / "memory.json", self._memory.to_json())


class _Flushes:
    """Counts the records that are to be sent before a flush is done: as many as there were when it was asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = 0
        self._left = 0
        self.done = 0

    def ask(self, number: int, backlog: Callable[[], int]) -> None:
        with self._lock:
            if number > self._asked:
                self._asked, self._left = number, backlog()

    def sent(self, count: int, backlog: int) -> bool:
        """Take note of records that were sent, or let go; whether a flush is done now that was not."""
        with self._lock:
            self._left = max(0, min(self._left - count, backlog))
            if self._left or self.done == self._asked:
                return False
            self.done = self._asked
            return True


def _pause_seconds(failures: int) -> float:
    return pause_seconds(min(failures, _MOST_DOUBLINGS), random.random())


def _fault(path: Path, asked: Deployment) -> str | None:
    """Why a file is not the model that it should be; none: it is."""
    with path.open("rb") as file:
        found = sha256()
        while chunk := file.read(1024 * 1024):
            found.update(chunk)
    if found.hexdigest() == asked.deployable.sha256:
        return None
    return f"What came has the digest {found.hexdigest()[:12]}, and the model {asked.deployable.sha256[:12]}."


def _with_transfer(state: DeploymentState, transfer: DeploymentState) -> DeploymentState:
    names = ("transferred", "transfer_total", "transfer_seconds")
    return state.model_copy(update={name: max(getattr(state, name), getattr(transfer, name)) for name in names})


def _newest(states: Collection[DeploymentState], wanted: Wanted | None) -> tuple[DeploymentState, ...]:
    """As many as are told of: those that are wanted, and that go on, before others."""
    ids = {asked.id for asked in wanted.deployments} if wanted is not None else set()
    ranked = sorted(enumerate(states), key=lambda item: (item[1].id in ids, not item[1].over, item[0]))
    return tuple(state for _, state in sorted(ranked[-DEPLOYMENTS_TOLD:]))
