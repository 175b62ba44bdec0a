"""The line's service: what it answers to detectors, to the runner's work and the tools, and what it does by itself.

Whatever is decided is in the database first. A detector that connects is told all that is wanted of it, and told again at every
change; so it does not matter what it missed, nor whether this process was killed in between.
"""

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cloudedge.addresses import host_and_port, is_any, joined_address, own_address
from cloudedge.channel.identity import identity
from cloudedge.channel.joining import Joined, JoinServer, Token, digest_of
from cloudedge.channel.messages import CHUNK_BYTES
from cloudedge.channel.server import Call, Chunks, Following, Method, Server, Unary
from cloudedge.documents.deployable import Deployable
from cloudedge.documents.inspection import Bounds, Rollout
from cloudedge.documents.line import (
    SERVER,
    Deployment,
    DeploymentState,
    Fetch,
    Heard,
    Hello,
    Kept,
    Records,
    Said,
    Teach,
    Wanted,
)
from cloudedge.errors import Conflict, InvalidInput, InvalidModel, NotFound, StoreFailed
from cloudedge.files import atomic_copy, disk_errors
from cloudedge.names import checked_name, sha256_of
from edge.clock import Moment, now
from edge.folders import Folders
from edge.line.answering import Answering
from edge.line.attendance import Attendance
from edge.line.control import require_serving
from edge.line.history import Arrived, History
from edge.line.page import served
from edge.line.reports import DeploymentReport, DetectorReport, LineReport, PartReport, Trend
from edge.line.rollout import Standing, decide
from edge.line.settings import LineSettings
from edge.line.store import DeploymentRow, LineStore, PartRow, newer
from edge.signals import Signal

if TYPE_CHECKING:
    from edge.line.local import Local

_log = logging.getLogger(__name__)

SERVICE = "cloudedge.line"

FOLLOWED_SECONDS = 60.0
"""A deployment that nobody has asked after for so long goes to nobody else: its order is over, or its runner."""

_TURN_SECONDS = 0.5
_TIDY_SECONDS = 60.0
_LOOK_SECONDS = 30.0
_NAME = "edge-server"
_GIB = 1024**3


class Service:
    """A line's service at work."""

    def __init__(self, folders: Folders, settings: LineSettings) -> None:
        """Take up what was left, and listen.

        Raises:
            InvalidInput: an address cannot be listened at.
            StoreFailed: the disk refuses.
            Conflict: another version wrote the state.
        """
        self._folders = folders
        self._settings = settings
        self._closing = threading.Event()
        self._files = threading.Lock()
        self._turn = threading.Lock()
        self._followed: dict[str, float] = {}
        self._begun = time.monotonic()
        self._troubles: dict[str, str] = {}
        self.changed = Signal()
        """Something that people see has changed."""
        self._wants = Signal()
        self._due = Signal()
        self.attendance = Attendance()
        with contextlib.ExitStack() as stack:
            self.store = LineStore(folders)
            stack.callback(self.store.close)
            self.history = History(folders.line_history)
            stack.callback(self.history.close)
            self.local = self._serving(stack) if settings.serves else None
            self._own = identity(folders.line, _NAME)
            methods: dict[str, Method] = {
                "follow": Following(Hello, self._follow),
                "tell": Unary(Said, self._tell),
                "keep": Unary(Records, self._keep),
                "fetch": Chunks(Fetch, self._fetch),
            }
            self._server = Server(settings.listen, self._own, self.store, SERVICE, methods)
            stack.callback(self._server.close)
            self._joining = JoinServer(settings.join, self._own, self._admit)
            stack.callback(self._joining.close)
            self._threads = [
                threading.Thread(target=self._take_turns, name="line", daemon=True),
                threading.Thread(target=self._tidy_up, name="tidy", daemon=True),
            ]
            for thread in self._threads:
                thread.start()
            stack.callback(self._end_threads)
            self._answering = Answering(folders.line_socket, self._calls())
            stack.callback(self._answering.close)
            self._page = served(settings, self)
            stack.callback(self._page.close)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """End."""
        self._stack.close()

    def _serving(self, stack: contextlib.ExitStack) -> "Local":
        """The edge server as a place where models are deployed; what runs models is loaded only where models are run."""
        from cloudedge.serving.servers import serve
        from edge.line.local import Local

        local = Local(self._folders.line_serving, self._folders.line_model, self._due.give)
        stack.callback(local.close)
        stack.enter_context(serve(local.models, self._settings.models_http or None, self._settings.models_grpc or None))
        return local

    # What detectors ask.

    def _admit(self, name: str, digest: str, certificate: str) -> Joined:
        if self.store.admit(digest, name, certificate):
            self._server.end_calls(name)
        _log.info("%s has joined", name)
        self.changed.give()
        return Joined(port=self._server.port)

    def _follow(self, call: Call, hello: Hello) -> Iterator[Wanted]:
        name = call.member
        connection = self.attendance.arrive(name, hello)
        _log.info("%s is here", name)
        call.when_over(self._wants.give)
        with contextlib.suppress(StoreFailed):  # It says it again, and what is wanted of it can be read from a full disk.
            self._heard(name)
        try:
            told = -1
            while True:
                seen = self._wants.count
                wanted = self.store.wanted(name)
                if wanted.generation != told:
                    told = wanted.generation
                    yield wanted
                self._wants.wait(seen, _LOOK_SECONDS, lambda: call.over or self._closing.is_set())
                if call.over or self._closing.is_set() or not self.attendance.is_here(name, connection):
                    return
        finally:
            self.attendance.leave(name, connection)
            _log.info("%s is away", name)
            self.changed.give()

    def _tell(self, call: Call, said: Said, _: memoryview) -> Heard:
        self.attendance.hear(call.member, said)
        self._heard(call.member)
        return Heard()

    def _heard(self, name: str) -> None:
        """Act on what a detector said: what it said of its deployments' ends is on the disk when this returns."""
        states = list(self.attendance.seen(name).states.values())
        if self.store.hear(name, states):
            self._wants.give()
        self._due.give()
        self.changed.give()

    def _keep(self, call: Call, records: Records, body: memoryview) -> Kept:
        expected = sum(sent.image_bytes + sent.heat_bytes for sent in records.records)
        if expected != len(body):
            raise InvalidInput(f"Records of {expected:,} bytes came with {len(body):,}. Send them again.")
        arrived, place = [], 0
        for sent in records.records:
            middle, end = place + sent.image_bytes, place + sent.image_bytes + sent.heat_bytes
            arrived.append(Arrived(sent.record, bytes(body[place:middle]), bytes(body[middle:end])))
            place = end
        try:
            self.history.keep(call.member, arrived)
        except StoreFailed as error:
            self._say_trouble("history", str(error))
            raise
        self._say_trouble("history")
        if any(record.record.accepted is False for record in arrived):
            self.changed.give()
        return Kept(ids=tuple(record.record.id for record in arrived))

    def _fetch(self, call: Call, fetch: Fetch) -> Iterator[bytes]:
        wanted = self.store.wanted(call.member).deployments
        if fetch.sha256 not in {asked.deployable.sha256 for asked in wanted}:
            raise Conflict(f"The model {fetch.sha256[:12]} is not wanted of {call.member} now.")
        try:
            with self._folders.line_model(fetch.sha256).open("rb") as file:
                file.seek(fetch.offset)
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise NotFound(f"The model {fetch.sha256[:12]} cannot be read here: {error.strerror}. Deploy it again.") from None

    # What the runner's work and the tools ask.

    def add(self, name: str, host: str = "") -> str:
        """Let one more detector join, or one that is there join anew.

        Args:
            name: Its name.
            host: Under which it reaches this machine; empty: the one listened at, or this machine's address.

        Returns:
            The token for it.

        Raises:
            InvalidInput: the name is none, or reserved.
        """
        if checked_name(name, "a detector") == SERVER:
            raise InvalidInput(f"{SERVER!r} is the edge server itself. Choose another name for the detector.")
        own_host, port = host_and_port(self._settings.join)
        if not host:
            host = own_address() if is_any(own_host) else own_host
        token = Token.new(joined_address(host, port), name, self._own.certificate)
        self.store.add_token(digest_of(token.secret), name)
        return str(token)

    def remove(self, name: str) -> None:
        """Make a detector a stranger; what it recorded stays.

        Raises:
            NotFound: there is none of this name.
        """
        self.store.remove(name)
        self._server.end_calls(name)
        self.attendance.forget(name)
        self._changed_wants()

    def brand(self, name: str, brand: str) -> None:
        """Have a detector judge parts of a brand from now on; empty: of none.

        Raises:
            NotFound: there is none of this name.
        """
        self.store.want_brand(name, brand and checked_name(brand, "a brand"))
        self._changed_wants()

    def teach(self, name: str, brand: str, count: int, label: str) -> None:
        """Have a detector take its next images as examples.

        Raises:
            NotFound: there is none of this name.
        """
        self.store.want_teach(name, Teach(id=uuid.uuid4().hex, brand=brand, count=count, label=label))
        self._changed_wants()

    def rollback(self, name: str, brand: str = "") -> str:
        """Have a detector judge by the model before.

        Args:
            name: The detector.
            brand: Whose parts; empty: what it judges now.

        Returns:
            The brand.

        Raises:
            NotFound: there is none of this name, or no model before.
            InvalidInput: it judges no brand now, so say which.
        """
        if name != SERVER:
            self.store.require(name)
        status = self.attendance.seen(name).status
        brand = brand or (status.brand if status else "")
        if not brand:
            raise InvalidInput(f"{name} does not say which brand runs now. Name one with --brand.")
        if not self._can_go_back(name, checked_name(brand, "a brand")):
            raise NotFound(
                f"{name} has no model of {brand} before the one in use, and goes on as it does. Deploy the one that is wanted."
            )
        self.store.want_rollback(name, brand, uuid.uuid4().hex)
        self._changed_wants()
        return brand

    def _can_go_back(self, name: str, brand: str) -> bool:
        """Whether there is a model before, or one on its way that can be given up, as far as that is known."""
        if name == SERVER:
            return self.local is not None and self.local.models.former(brand) is not None
        live = self.attendance.seen(name)
        if not live.connection or live.status is None or live.status.former is None:
            return True
        under_way = any(state.brand == brand and not (state.judges or state.over) for state in live.states.values())
        return under_way or brand in live.status.former or self.store.is_under_way(name, brand)

    def gather(self, brand: str, detectors: Sequence[str], seconds: float) -> dict[str, str]:
        """Have detectors send all records that they hold back, once what is being taught of a brand is taken.

        Args:
            brand: The brand.
            detectors: Who; empty: all of the line.
            seconds: How long to wait at most.

        Returns:
            Who has not sent all, and why.

        Raises:
            NotFound: there is none of a name.
        """
        names = list(detectors or self.store.members())
        teaches = {name: self.store.wanted(name).teach for name in names}
        asked = {name: teach for name, teach in teaches.items() if teach is not None and teach.brand == brand}
        end = time.monotonic() + seconds
        missing = self._waited_for(
            lambda: {name: left for name, teach in asked.items() if (left := self._untaught(name, teach))}, end
        )
        flushes = {name: self.store.want_flush(name) for name in names}
        self._changed_wants()
        unsent = self._waited_for(
            lambda: {name: self._why_not_flushed(name) for name, of in flushes.items() if self.attendance.flushed(name) < of},
            end,
        )
        return {**missing, **unsent}

    def _waited_for(self, left: Callable[[], dict[str, str]], end: float) -> dict[str, str]:
        """Who is left, and why, when nobody is or the time is over."""
        while True:
            seen = self.changed.count
            found = left()
            remaining = end - time.monotonic()
            if not found or remaining <= 0 or self._closing.is_set():
                return found
            self.changed.wait(seen, remaining)

    def _untaught(self, name: str, teach: Teach) -> str:
        """Why a detector is not done with what is taught; empty: it is."""
        status = self.attendance.seen(name).status
        taken = status.taught if status and status.teach == teach.id else 0
        return f"{taken} of the {teach.count} images that are taught have been taken" if taken < teach.count else ""

    def _why_not_flushed(self, name: str) -> str:
        away = self.attendance.away_seconds(name)
        if away:
            return f"it has been away for {away:.0f} s"
        status = self.attendance.seen(name).status
        return f"it still has {status.backlog if status else 'some'} records to send"

    def deploy(
        self,
        deployment: str,
        brand: str,
        deployable: Deployable,
        file: Path,
        detectors: Sequence[str],
        rollout: Rollout,
        bounds: Bounds,
    ) -> DeploymentReport:
        """Begin a deployment, or go on with the one of this id.

        Args:
            deployment: Id, the order's.
            brand: Whose parts it will judge.
            deployable: What is known of the model.
            file: Its ONNX file.
            detectors: Who gets it; empty: all detectors of the line.
            rollout: In what order.
            bounds: Within what it must stay.

        Raises:
            NotFound: there is none of a name, or no detector at all.
            InvalidInput: the edge server itself answers by no models.
            InvalidModel: the file is not the deployable's.
            StoreFailed: the disk refuses, or the service is about to start anew.
        """
        self._followed[deployment] = time.monotonic()
        members = self.store.members()
        names = list(dict.fromkeys(detectors)) or list(members)
        try:
            known = self.store.deployment(deployment)
        except NotFound:
            unknown = [name for name in names if name not in members and name != SERVER]
            if unknown or not names:
                who = f"{', '.join(unknown)} never joined" if unknown else "No detector at all has joined"
                raise NotFound(
                    f"{who} this line. Those that have: {', '.join(members) or 'none'}. "
                    "Add one: cloudedge-edge detectors add NAME."
                ) from None
            if SERVER in names and self.local is None:
                require_serving(self._folders)
                raise StoreFailed("The line's service is to answer by models and starts anew for that. Ask again.") from None
            # Who is here comes first, so that a canary need not be waited for; of the edge server nobody learns how it judges.
            names.sort(key=lambda name: (name == SERVER, not self.attendance.is_here(name)))
        else:
            names = [part.detector for part in known.parts]
        asked = Deployment(id=deployment, brand=brand, deployable=deployable, bounds=bounds)
        with self._files:
            target = self._folders.line_model(deployable.sha256)
            if not target.exists() or sha256_of(target) != deployable.sha256:  # The disk may have spoiled it.
                if sha256_of(file) != deployable.sha256:
                    raise InvalidModel(f"{file} is not the model {deployable.sha256[:12]}. Fetch it again.")
                atomic_copy(file, target)
            self.store.begin(asked, rollout, names)
        self._changed_wants()
        return self.deployment(deployment)

    def deployment(self, deployment: str) -> DeploymentReport:
        """How a deployment stands. Whoever asks keeps it going.

        Raises:
            NotFound: there is none of this id.
        """
        self._followed[deployment] = time.monotonic()
        return self._reported(self.store.deployment(deployment))

    def stop(self, deployment: str) -> DeploymentReport:
        """Give a deployment to nobody else.

        Raises:
            NotFound: there is none of this id.
        """
        self.store.stop(deployment)
        self._take_turn()
        return self._reported(self.store.deployment(deployment))

    def detectors(self) -> list[DetectorReport]:
        """How all detectors stand, by their names, and what is wanted of each."""
        found = self._detectors()
        wanted = {each.name: self.store.wanted(each.name) for each in found}
        return [
            each.model_copy(
                update={
                    "wanted": wanted[each.name],
                    "in_step": self.attendance.seen(each.name).generation == wanted[each.name].generation,
                }
            )
            for each in found
        ]

    def _detectors(self) -> list[DetectorReport]:
        counts = self.history.counts()
        found = []
        for name, member in self.store.members().items():
            live = self.attendance.seen(name)
            found.append(
                DetectorReport(
                    name=name,
                    connected=bool(live.connection),
                    away_seconds=self.attendance.away_seconds(name),
                    joined_at=member.joined.iso(),
                    software=live.hello.software if live.hello else "",
                    status=live.status,
                    recorded=counts.get(name, 0),
                    trend=tuple(Trend(at=each.minute * 60, images=each.images, rejects=each.rejects) for each in live.trend),
                )
            )
        return found

    def deployments(self, most: int = 20) -> list[DeploymentReport]:
        """Those under way, and the newest ones; oldest first."""
        return [self._reported(row) for row in self.store.deployments(most)]

    def report(self) -> LineReport:
        """How the line stands."""
        return LineReport(
            detectors=tuple(self._detectors()),
            deployments=tuple(self.deployments()),
            history_bytes=self.history.bytes(),
            trouble=" ".join(dict.fromkeys(filter(None, self._troubles.values()))),
        )

    def _reported(self, row: DeploymentRow) -> DeploymentReport:
        return DeploymentReport(
            id=row.asked.id,
            brand=row.asked.brand,
            sha256=row.asked.deployable.sha256,
            name=row.asked.deployable.name,
            size=row.asked.deployable.size,
            begun_at=row.begun.iso(),
            seconds=row.begun.seconds_until(now()),
            stopped=row.stopped,
            detectors={
                part.detector: PartReport(
                    given=part.given is not None,
                    canary=part.canary,
                    connected=part.detector == SERVER or self.attendance.is_here(part.detector),
                    state=self._state(row.asked.id, part),
                    outcome=part.outcome,
                )
                for part in row.parts
            },
        )

    def _calls(self) -> dict[str, Callable[..., object]]:
        own = (
            self.add,
            self.brand,
            self.deploy,
            self.deployment,
            self.detectors,
            self.gather,
            self.remove,
            self.report,
            self.rollback,
            self.stop,
            self.teach,
        )
        return {call.__name__: call for call in own}

    # What it does by itself.

    def _take_turns(self) -> None:
        while not self._closing.is_set():
            seen = self._due.count
            try:
                self._take_turn()
                self._say_trouble("turns")
            except StoreFailed as error:
                self._say_trouble("turns", str(error))
            except Exception:  # Whatever it is, detectors wait for the next turn.
                _log.exception("a turn failed")
            self._due.wait(seen, _TURN_SECONDS, self._closing.is_set)

    def _take_turn(self) -> None:
        with self._turn:
            if self.local is not None:
                self._tend_local(self.local)
            moment = now()
            for row in self.store.deployments():
                followed = self._followed.get(row.asked.id, self._begun)
                abandoned = not row.stopped and time.monotonic() - followed > FOLLOWED_SECONDS
                if abandoned:
                    _log.warning("nobody asks after the deployment %s any more: it goes to no further detector", row.asked.id)
                    self.store.stop(row.asked.id)
                self._advance(row, moment, stopped=row.stopped or abandoned)

    def _advance(self, row: DeploymentRow, moment: Moment, *, stopped: bool) -> None:
        """Let a deployment go on, as far as it can now."""
        standings = {part.detector: self._standing(row.asked.id, part, moment) for part in row.parts}
        decision = decide(standings, row.rollout, row.asked.bounds, stopped=stopped)
        if decision.settled:
            self.store.settle(row.number, decision.settled)
            for name, outcome in decision.settled.items():
                _log.info("%s at %s: %s %s", row.asked.id, name, outcome.state, outcome.reason)
        if decision.give:
            _log.info("%s goes to %s", row.asked.id, ", ".join(decision.give))
            self.store.give(row.number, decision.give, decision.canaries)
        if decision.settled or decision.give:
            self._changed_wants()

    def _standing(self, deployment: str, part: PartRow, moment: Moment) -> Standing:
        given = part.given.seconds_until(moment) if part.given else 0.0
        return Standing(
            given=part.given is not None,
            state=self._state(deployment, part),
            outcome=part.outcome,
            judging_seconds=part.judging.seconds_until(moment) if part.judging else 0.0,
            away_seconds=min(given, self._away_seconds(part.detector)),
        )

    def _state(self, deployment: str, part: PartRow) -> DeploymentState | None:
        """How a deployment stands at a detector: on the disk is only each phase as it began."""
        live = self.attendance.state(part.detector, deployment)
        return part.state if live is None else newer(live, part.state)

    def _away_seconds(self, name: str) -> float:
        return 0.0 if name == SERVER else self.attendance.away_seconds(name)

    def _tend_local(self, local: "Local") -> None:
        wanted = self.store.wanted(SERVER)
        known = {asked.id: self.store.state(SERVER, asked.id) for asked in wanted.deployments}
        done = local.follow(wanted, known)
        if done:
            self.store.forget_rollbacks(SERVER, done)
        if self.store.hear(SERVER, local.states()):
            self.changed.give()

    def _tidy_up(self) -> None:
        while True:
            try:
                self._tidy()
                self._say_trouble("tidying")
            except StoreFailed as error:
                self._say_trouble("tidying", str(error))
            if self._closing.wait(_TIDY_SECONDS):
                return

    def _tidy(self) -> None:
        self.history.tidy(self._settings.history_gib * _GIB, self._settings.history_days)
        with self._files, disk_errors(self._folders.line_models):
            needed = self.store.models_in_use()
            for path in self._folders.line_models.glob("*.onnx"):
                if path.stem not in needed:
                    path.unlink(missing_ok=True)

    def _say_trouble(self, where: str, what: str = "") -> None:
        if self._troubles.get(where, "") != what:
            self._troubles[where] = what
            _log.log(logging.ERROR if what else logging.INFO, "%s: %s", where, what or "all is well again")
            self.changed.give()

    def _changed_wants(self) -> None:
        self._wants.give()
        self._due.give()
        self.changed.give()

    def _end_threads(self) -> None:
        self._closing.set()
        self._changed_wants()
        for thread in self._threads:
            thread.join()
