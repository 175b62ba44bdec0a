"""Deployments at one detector: a model is put on disk, loaded beside the one that judges, swapped in, and watched.

A brand has a thread of its own while something is to be done for it, and does one deployment after the other; what waits is
replaced by what comes. How each stands is on disk, so that after a restart a model is watched on. A deployment that was not
swapped in then is forgotten: whoever wanted it sends it again.
"""

import logging
import threading
import time
from pathlib import Path

from pydantic import Field

from cloudedge.documents.base import Document, Part, parse
from cloudedge.documents.inspection import Bounds
from cloudedge.documents.line import DEPLOYMENTS_TOLD, Deployment, DeploymentState
from cloudedge.errors import CloudedgeError, InvalidDocument, NotFound, StoreFailed
from cloudedge.files import atomic_write
from cloudedge.serving.models import Models
from edge.detector.threads import stand_back
from edge.detector.watching import GAP_SECONDS, Pauses, Tally, out_of_bounds

_log = logging.getLogger(__name__)

_KEEP_SECONDS = 1.0
"""Between two times that a watch is written down."""

_MOST_WATCHED = 100
"""Brands; far more than a line changes within the minutes of a watch."""


class Watched(Part):
    """A watch under way, as it is on disk."""

    id: str
    bounds: Bounds
    images: int = Field(default=0, ge=0)
    rejects: int = Field(default=0, ge=0)
    errors: int = Field(default=0, ge=0)
    seconds: float = Field(default=0.0, ge=0)
    """Since the first image that it judged."""


class Kept(Document):
    """What is on disk of all deployments."""

    states: tuple[DeploymentState, ...] = ()
    watched: tuple[Watched, ...] = Field(default=(), max_length=_MOST_WATCHED)


class _Watch:
    """A watch under way. The inspection counts, the brand's thread decides."""

    def __init__(self, kept: Watched, sha256: str) -> None:
        self.id = kept.id
        self.sha256 = sha256
        self.bounds = kept.bounds
        self.tally = Tally(kept.images, kept.rejects, kept.errors)
        self.changed = threading.Event()
        self._before = kept.seconds
        self._first: float | None = time.monotonic() if kept.images else None

    def count(self, *, reject: bool, error: bool) -> None:
        if self._first is None:
            self._first = time.monotonic()
        self.tally = self.tally.plus(reject=reject, error=error)
        if self.fault:
            self.changed.set()

    @property
    def fault(self) -> str:
        """Why the model is out of its bounds; empty: it is within, or is not watched."""
        return out_of_bounds(self.tally, self.bounds) if self.bounds.watch_seconds else ""

    @property
    def seconds(self) -> float:
        return self._before + (0.0 if self._first is None else time.monotonic() - self._first)

    def kept(self) -> Watched:
        tally = self.tally
        return Watched(
            id=self.id,
            bounds=self.bounds,
            images=tally.images,
            rejects=tally.rejects,
            errors=tally.errors,
            seconds=self.seconds,
        )


_UNDER_WAY = ("waiting", "loading")
_GIVEN_UP = "A person had the model before brought back."
_GONE_BACK = "The detector had gone back to the model before as it was ended."


class Deployments:
    """All deployments of one detector. All of it may be called from any thread."""

    def __init__(self, models: Models, path: Path, pauses: Pauses, *, aside: bool = True) -> None:
        """Take up what was left; `start` goes on with it.

        Args:
            models: Where models are.
            path: File for how deployments stand.
            pauses: What the inspection says of its pauses.
            aside: Whether loading gets only what the inspection leaves; not where a model computes in several threads, which
                would be those of the thread that loads it.
        """
        self._models = models
        self._path = path
        self._pauses = pauses
        self._aside = aside
        self._lock = threading.RLock()
        self._states: dict[str, DeploymentState] = {}
        self._waiting: dict[str, tuple[Deployment, Path]] = {}
        self._watches: dict[str, _Watch] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._given_up: set[str] = set()
        """Deployments under way that a person does not want any more."""
        self._closing = threading.Event()
        self.trouble = ""
        self._written = b""
        self._take_up()

    def start(self) -> None:
        """Go on with the watches that a restart interrupted."""
        with self._lock:
            for brand in self._watches:
                self._have_thread(brand)

    def close(self) -> None:
        """End all threads; what was watched is watched on after a restart."""
        self._closing.set()
        with self._lock:
            threads = list(self._threads.values())
            for watch in self._watches.values():
                watch.changed.set()
        for thread in threads:
            thread.join()
        self._keep()

    def states(self) -> tuple[DeploymentState, ...]:
        """How the newest ones stand, oldest first; at most as many as are told of."""
        return self._all()[-DEPLOYMENTS_TOLD:]

    def _all(self) -> tuple[DeploymentState, ...]:
        with self._lock:
            watches = {watch.id: watch.tally for watch in self._watches.values()}
            found = tuple(self._states.values())
        return tuple(_with(state, watches[state.id]) if state.id in watches else state for state in found)

    def deploy(self, asked: Deployment, file: Path) -> None:
        """Deploy a model, in a thread of its own; one whose id is known already is passed over.

        Args:
            asked: What, and within what bounds.
            file: The model's file, complete and verified; it is copied.
        """
        with self._lock:
            if asked.id in self._states or self._closing.is_set():
                return
            superseded = self._waiting.pop(asked.brand, None)
            if superseded is not None:
                self._set(superseded[0].id, phase="failed", reason=f"{asked.id} came before its turn.")
            size = asked.deployable.size
            self._states[asked.id] = DeploymentState(
                id=asked.id,
                brand=asked.brand,
                sha256=asked.deployable.sha256,
                phase="waiting",
                transferred=size,
                transfer_total=size,
            )
            self._forget_some()
            self._waiting[asked.brand] = (asked, file)
            watch = self._watches.get(asked.brand)
            if watch is not None:
                watch.changed.set()
            self._have_thread(asked.brand)

    def rollback(self, brand: str) -> None:
        """Judge a brand by the model before, because a person said so; by the one in use, where another is being loaded.

        Raises:
            NotFound: there is none before.
            StoreFailed: it judges now, but a restart would bring the other one back.
        """
        with self._lock:
            under_way = [state.id for state in self._states.values() if state.brand == brand and state.phase in _UNDER_WAY]
            self._given_up.update(under_way)
            waiting = self._waiting.pop(brand, None)
            if waiting is not None:
                self._set(waiting[0].id, phase="failed", reason=_GIVEN_UP)
        if under_way:
            self._keep()
            return
        current = self._models.current(brand)
        try:
            self._models.rollback(brand)
        finally:
            with self._lock:
                after = self._models.current(brand)
                if current is not None and after is not None and after is not current:
                    watch = self._watches.pop(brand, None)
                    for state in reversed(self._states.values()):
                        if state.brand == brand and state.sha256 == current.deployable.sha256 and state.judges:
                            rolled = state if watch is None or watch.id != state.id else _with(state, watch.tally)
                            self._states[state.id] = rolled.model_copy(update={"phase": "rolled-back", "reason": _GIVEN_UP})
                            break
                    if watch is not None:
                        watch.changed.set()
            self._keep()

    def judged(self, brand: str, sha256: str, *, reject: bool, error: bool) -> None:
        """Take note of a judgement, or of a failure to judge; at once, in the inspection's thread."""
        watch = self._watches.get(brand)
        if watch is not None and watch.sha256 == sha256:
            watch.count(reject=reject, error=error)

    def _have_thread(self, brand: str) -> None:
        if brand not in self._threads:
            self._threads[brand] = threading.Thread(target=self._work, args=(brand,), name=f"deploy-{brand}", daemon=True)
            self._threads[brand].start()

    def _work(self, brand: str) -> None:
        if self._aside:
            stand_back()
        while True:
            with self._lock:
                chosen = None if self._closing.is_set() else self._waiting.pop(brand, None)
                watch = self._watches.get(brand)
                if chosen is None and (watch is None or self._closing.is_set()):
                    del self._threads[brand]
                    return
            if chosen is not None:
                self._swap_in(*chosen)
            elif watch is not None:
                self._watch(brand, watch)

    def _swap_in(self, asked: Deployment, file: Path) -> None:
        brand = asked.brand
        current = self._models.current(brand)
        if current is not None and current.deployable == asked.deployable:
            # It is not put in its own place: taken back, it would leave the brand without any.
            self._set(asked.id, phase="serving", reason="It was in use already.")
            self._keep()
            return
        self._end_watch(brand)
        self._set(asked.id, phase="loading")
        try:
            version = self._models.put(asked.deployable, file, brand)
            with self._lock:
                # Before the swap: the first image that it judges is counted.
                watch = _Watch(Watched(id=asked.id, bounds=asked.bounds), asked.deployable.sha256)
                self._watches[brand] = watch
            self._keep()
            loading = self._models.load(brand, version, lambda done, total: self._set(asked.id, loaded=done, load_total=total))
            loaded = loading.result()
        except Exception as error:  # Whatever it is, the next deployment needs this thread.
            with self._lock:
                self._watches.pop(brand, None)
            if not isinstance(error, CloudedgeError):
                _log.exception("deployment %s", asked.id)
            _log.error("deployment %s failed: %s", asked.id, error)
            self._set(asked.id, phase="failed", reason=(str(error) or repr(error))[:2000])
            self._keep()
            return
        swapped = time.monotonic()
        with self._lock:
            if asked.id in self._given_up:
                self._given_up.discard(asked.id)
                self._models.rollback(brand)
                self._watches.pop(brand, None)
                self._set(asked.id, phase="rolled-back", reason=_GIVEN_UP)
                self._keep()
                return
            self._set(asked.id, phase="watching" if asked.bounds.watch_seconds else "serving", load_seconds=loaded.seconds)
        _log.info("parts of %s are judged by version %s", brand, version)
        # What is out of its bounds at once waits for nothing, the disk included; nor does the next deployment.
        while not watch.changed.is_set() and (left := swapped + GAP_SECONDS - time.monotonic()) > 0:
            watch.changed.wait(left)
        self._set(asked.id, swap_gap_ms=1000 * self._pauses.longest_about(swapped))
        self._keep()

    def _watch(self, brand: str, watch: _Watch) -> None:
        """Watch a model until its time is over, it is out of bounds, or something else is to be done."""
        while not self._closing.is_set():
            reason = watch.fault
            with self._lock:
                if self._watches.get(brand) is not watch or (brand in self._waiting and not reason):
                    return
            if reason:
                self._roll_back(brand, watch, reason)
                return
            if watch.seconds >= watch.bounds.watch_seconds:
                self._end_watch(brand)
                self._keep()
                return
            watch.changed.clear()
            if not watch.fault:
                watch.changed.wait(min(_KEEP_SECONDS, max(0.001, watch.bounds.watch_seconds - watch.seconds)))
            self._keep()

    def _roll_back(self, brand: str, watch: _Watch, reason: str) -> None:
        try:
            current = self._models.current(brand)
            if current is not None and current.deployable.sha256 == watch.sha256:
                try:
                    self._models.rollback(brand)
                except NotFound:
                    self._models.unload(brand)
                    reason = f"{reason} There was no model before it, so that parts of {brand} are not judged now."
        except StoreFailed as error:  # It is out of use, though a restart would not know.
            reason = f"{reason} {error}"
        with self._lock:
            self._watches.pop(brand, None)
            self._set(watch.id, phase="rolled-back", reason=reason[:2000], **_figures(watch.tally))
        _log.warning("deployment %s: %s", watch.id, reason)
        self._keep()

    def _end_watch(self, brand: str) -> None:
        """A model that was watched has stayed within its bounds."""
        with self._lock:
            watch = self._watches.pop(brand, None)
            if watch is not None:
                self._set(watch.id, phase="serving", **_figures(watch.tally))

    def _set(self, number: str, **changed: object) -> None:
        with self._lock:
            if number in self._states:
                self._states[number] = self._states[number].model_copy(update=changed)

    def _forget_some(self) -> None:
        """Forget the oldest that nothing more will come of, but each brand's newest: what is known is not done again."""
        newest = {state.brand: state.id for state in self._states.values()}
        for state in list(self._states.values()):
            if len(self._states) <= DEPLOYMENTS_TOLD:
                return
            if state.over and newest[state.brand] != state.id:
                del self._states[state.id]

    def _keep(self) -> None:
        with self._lock:
            kept = Kept(states=self._all(), watched=tuple(watch.kept() for watch in self._watches.values())).to_json()
            if kept == self._written:
                return
            try:
                atomic_write(self._path, kept)
                self._written = kept
                self.trouble = ""
            except StoreFailed as error:
                self.trouble = str(error)

    def _take_up(self) -> None:
        try:
            kept = parse(Kept, self._path.read_bytes(), str(self._path), stored=True)
        except FileNotFoundError:
            return
        except (InvalidDocument, OSError) as error:
            _log.warning("how the last deployments stood is lost: %s", error)
            return
        watched = {each.id: each for each in kept.watched}
        for state in kept.states:
            current = self._models.current(state.brand)
            judges = current is not None and current.deployable.sha256 == state.sha256
            if state.over:
                self._states[state.id] = state
            elif judges and state.id in watched:
                self._states[state.id] = state.model_copy(update={"phase": "watching"})
                self._watches[state.brand] = _Watch(watched[state.id], state.sha256)
            elif judges:
                self._states[state.id] = state.model_copy(update={"phase": "serving"})
            elif state.phase == "watching" and not any(each.reason for each in self._models.list() if each.name == state.brand):
                # It was taken back, and that was not written down any more: it is not swapped in once again.
                watch = watched.get(state.id)
                reason = (watch and out_of_bounds(Tally(watch.images, watch.rejects, watch.errors), watch.bounds)) or _GONE_BACK
                self._states[state.id] = state.model_copy(update={"phase": "rolled-back", "reason": reason})


def _figures(tally: Tally) -> dict[str, object]:
    return {"images": tally.images, "reject_rate": tally.reject_rate, "error_rate": tally.error_rate}


def _with(state: DeploymentState, tally: Tally) -> DeploymentState:
    return state.model_copy(update=_figures(tally))
