"""Models by name in one process: what is on disk, what is loaded, and the swap between two of them.

    <folder>/<name>/current.json                            which version is in use, and which was before
    <folder>/<name>/<version>/{model.onnx,deployable.json}  a version is called by the first digits of its file's digest

Who infers takes `current` and keeps what it got until it has its answer: taking it is reading one reference, which never waits.
A load works beside that, in a thread of its own, and what it loaded has already answered once when it replaces the reference.
What nobody holds any more is freed; the version before is held for `rollback`.
"""

import contextlib
import fcntl
import os
import re
import shutil
import sys
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from cloudedge import memory
from cloudedge.deployable.checking import check
from cloudedge.deployable.session import Session
from cloudedge.documents.base import Document, parse
from cloudedge.documents.deployable import MAX_DEPLOYABLE_MANIFEST_BYTES, Deployable
from cloudedge.errors import CloudedgeError, Conflict, InvalidInput, InvalidModel, NotFound, StoreFailed, WorkFailed
from cloudedge.files import TEMPORARY, atomic_write, disk_errors, sync_folder
from cloudedge.names import checked_name, sha256_of

Progress = Callable[[int, int], object]
"""Called with the steps done and all steps, of a load, by its thread."""

STEPS = 2
"""Of a load: its file is checked and opened, and has answered once."""

_VERSION = r"^[0-9a-f]{12}$"
_VERSION_OR_NONE = r"^([0-9a-f]{12})?$"
_MODEL, _MANIFEST, _CURRENT, _LOCK = "model.onnx", "deployable.json", "current.json", ".lock"
_SWITCH_SECONDS = 0.0005
"""How long a thread of Python's may keep others of this process waiting that could run. By default it is ten times this, and
who judges a part waits so long several times beside a load, whose checks are in Python. A lower priority of the loading thread
made it worse: other processes then took the processor from it while it held up the threads of this one."""

_MOST_WAITING = 8
"""Loads of one name that wait for their turn."""


def version_of(deployable: Deployable) -> str:
    """What a model's version is called: the first 12 digits of its file's digest."""
    return deployable.sha256[:12]


def name_of(deployable: Deployable) -> str:
    """What a model goes by where nobody says otherwise: the brand that it judges, or its own name where it judges any."""
    return deployable.brand or deployable.name


class Loaded:
    """A version that is loaded and has answered once. It works for as long as somebody holds it.

    Attributes:
        name: Name that it was loaded for.
        version: Its version.
        deployable: What is known of it.
        session: What runs it.
        seconds: How long loading and warming up took.
    """

    def __init__(self, name: str, version: str, session: Session, seconds: float) -> None:
        self.name = name
        self.version = version
        self.deployable: Deployable = session.deployable
        self.session = session
        self.seconds = seconds

    def infer(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name, see `Session.infer`.

        Raises:
            InvalidInput: the inputs are not those of the model.
            WorkFailed: it broke.
        """
        return self.session.infer(inputs)


class Loading(Future[Loaded]):
    """A load under way: a future of what is in use afterwards, or of why the old version goes on.

    Attributes:
        name: Name that it is for.
        version: Version that is loaded.
    """

    def __init__(self, name: str, version: str, progress: Progress | None, unloads: int) -> None:
        super().__init__()
        self.name = name
        self.version = version
        self._progress = progress
        self._unloads = unloads

    def step(self, done: int) -> None:
        """Tell whoever asked how far it is."""
        if self._progress is not None:
            self._progress(done, STEPS)

    def overtaken(self, unloads: int) -> bool:
        """Whether the name was unloaded since this was asked for."""
        return unloads != self._unloads


@dataclass(frozen=True)
class Version:
    """A version of a name, on disk or loaded.

    Attributes:
        name: The name.
        version: The version; empty: there is none, see `reason`.
        state: in-use; warm: loaded, for a rollback; loading: about to be in use; on-disk: not loaded.
        reason: Why it is not in use, where it was to be.
    """

    name: str
    version: str
    state: Literal["in-use", "warm", "loading", "on-disk"]
    reason: str = ""


@dataclass
class Counts:
    """What happened to a name since the process began.

    Attributes:
        loads: Loads that succeeded.
        failed_loads: Loads that did not.
        swaps: How often another version came into use in place of one.
        rollbacks: How many of these were rollbacks.
    """

    loads: int = 0
    failed_loads: int = 0
    swaps: int = 0
    rollbacks: int = 0


class _InUse(Document):
    current: str = Field(pattern=_VERSION_OR_NONE, description="Version in use; empty: none.")
    before: str = Field(pattern=_VERSION_OR_NONE, description="Version before; empty: none.")
    loaded: bool = Field(default=True, description="Whether it is loaded; a restart does not load what was unloaded.")


@dataclass(frozen=True)
class _Pair:
    """What is loaded, in one reference."""

    current: Loaded | None = None
    before: Loaded | None = None


class _Slot:
    """All about one name. `pair` is replaced under `lock` and read without; files change under `disk`, which may take long."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pair = _Pair()
        self.lock = threading.Lock()
        self.disk = threading.Lock()
        self.written = _InUse(current="", before="", loaded=False)
        self.fresh: list[str] = []  # Put since, and not tried yet; the newest last.
        self.waiting: deque[Loading] = deque()
        self.running: Loading | None = None
        self.thread: threading.Thread | None = None
        self.unloads = 0
        self.counts = Counts()
        self.reason = ""  # Of what the last one to be loaded is not in use.


class Models:
    """The models of one process. All of it may be called from any thread."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Tidy up what a crash left, and load what was in use.

        A version in use whose files are spoiled is replaced by the one before, and `list` says so.

        Args:
            folder: Where the models are; it is made.
            threads: CPU threads of each session.

        Raises:
            Conflict: another process has its models there.
            StoreFailed: the folder cannot be written.
        """
        memory.share_one_arena()  # Otherwise each loading thread keeps what is left of sessions in its own.
        memory.return_large_pieces()
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_SECONDS))
        self._folder = folder
        self._threads = threads
        self._lock = threading.Lock()
        self._slots: dict[str, _Slot] = {}
        self._closed = False
        self._release = _held(folder)
        weakref.finalize(self, self._release)
        try:
            with disk_errors(folder):
                for path in sorted(folder.iterdir()):
                    if path.is_dir() and not path.name.startswith("."):
                        with contextlib.suppress(InvalidInput):
                            self._resume(checked_name(path.name, "a model"))
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Load nothing more, wait for what is being loaded, and leave the folder to others."""
        with self._lock:
            self._closed = True
            slots = list(self._slots.values())
        for slot in slots:
            with slot.lock:
                waiting, slot.waiting = list(slot.waiting), deque()
                thread = slot.thread
            for loading in waiting:
                loading.cancel()
            if thread is not None:
                thread.join()
            slot.pair = _Pair()
        self._release()

    def put(self, deployable: Deployable, file: Path, name: str = "") -> str:
        """Keep a version on disk, so that it can be loaded; the same one again is no harm.

        Args:
            deployable: What is known of it.
            file: Its ONNX file, which is copied.
            name: What it will go by; empty: see `name_of`.

        Returns:
            Its version.

        Raises:
            InvalidInput: the name is none.
            NotFound: there is no file.
            InvalidModel: the file is not that of the deployable, or is none that may be run.
            StoreFailed: the disk is full or broken. Nothing was changed.
            Conflict: the models are closed.
        """
        name = checked_name(name or name_of(deployable), "a model")
        version = version_of(deployable)
        if not file.is_file():
            raise NotFound(f"There is no file {file} to keep as the version {version} of the model {name!r}.")
        slot = self._slot(name)
        target = slot.folder / version
        with disk_errors(target):
            slot.folder.mkdir(parents=True, exist_ok=True)
            sync_folder(self._folder)
            part = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=slot.folder))
            try:
                shutil.copyfile(file, part / _MODEL)
                check(part / _MODEL, deployable)  # Of the copy: the file may be another's to change.
                (part / _MANIFEST).write_bytes(deployable.to_json())
                for path in (part / _MODEL, part / _MANIFEST, part):
                    sync_folder(path)
                part.chmod(0o755)
                with slot.disk:
                    self._place(slot, part, target, deployable)
                    slot.fresh = [*(each for each in slot.fresh if each != version), version]
            finally:
                shutil.rmtree(part, ignore_errors=True)
        return version

    def load(self, name: str, version: str | None = None, progress: Progress | None = None) -> Loading:
        """Load a version and warm it up beside the one in use, then swap.

        Loads of a name are done one after the other, in the order asked for. A version that is warm already is not loaded anew.

        Args:
            name: What it goes by.
            version: Which; None: the one put last that was not loaded yet, otherwise the one in use or last in use.
            progress: See `Progress`; an error in it fails the load.

        Returns:
            The load under way. What it fails with: NotFound, InvalidModel, WorkFailed (it loads, and breaks on its first
            input), StoreFailed, Conflict (it was unloaded meanwhile); the old version goes on then.

        Raises:
            NotFound: there is no such version on disk.
            Conflict: too many loads wait, or the models are closed.
        """
        slot = self._known(name)
        version = version or self._newest(name, slot)
        if version not in _on_disk(slot):
            raise NotFound(f"There is no version {version!r} of the model {name!r} here: {_listed(self.versions(name))}.")
        with slot.lock:
            if self._closed:
                raise Conflict(f"The models in {self._folder} are closed; nothing is loaded any more.")
            if len(slot.waiting) >= _MOST_WAITING:
                raise Conflict(f"{_MOST_WAITING} loads of {name!r} wait already. Wait until one is done.")
            loading = Loading(name, version, progress, slot.unloads)
            slot.waiting.append(loading)
            if slot.thread is None:
                slot.thread = threading.Thread(target=self._load_all, args=(slot,), name=f"load-{name}")
                slot.thread.start()
        return loading

    def current(self, name: str) -> Loaded | None:
        """What is in use now, without waiting for anything; None: nothing is."""
        slot = self._slots.get(name)
        return None if slot is None else slot.pair.current

    def former(self, name: str) -> Loaded | None:
        """What `rollback` would bring back; None: nothing."""
        slot = self._slots.get(name)
        return None if slot is None else slot.pair.before

    def find(self, name: str, version: str = "") -> Loaded:
        """What answers for a name.

        Args:
            name: The name.
            version: Which version, of those that are loaded; empty: the one in use.

        Raises:
            NotFound: it is not loaded.
        """
        slot = self._slots.get(name)
        pair = _Pair() if slot is None else slot.pair
        for loaded in (pair.current, pair.before):
            if loaded is not None and version in ("", loaded.version):
                return loaded
        if pair.current is None:
            raise NotFound(f"No model {name!r} is loaded; loaded are: {_listed(self.names())}.")
        here = [loaded.version for loaded in (pair.current, pair.before) if loaded is not None]
        raise NotFound(f"The version {version!r} of the model {name!r} is not loaded; loaded are: {_listed(here)}.")

    def rollback(self, name: str) -> Loaded:
        """Use the version before again, at once. There is none before it then; the one left stays on disk until the next load.

        Raises:
            NotFound: there is no version before.
            StoreFailed: it is in use, but a restart would bring back the other one.
        """
        slot = self._known(name)
        with slot.lock:
            left, before = slot.pair.current, slot.pair.before
            if left is None or before is None:
                raise NotFound(f"There is no version before the one in use of {name!r}. Deploy the one that is wanted.")
            slot.pair = _Pair(before)
            slot.counts.swaps += 1
            slot.counts.rollbacks += 1
        with slot.disk:
            if slot.pair.current is before:
                if before.version == left.version:  # It is the manifest that differs.
                    atomic_write(slot.folder / before.version / _MANIFEST, before.deployable.to_json())
                self._write(slot, slot.pair)
        return before

    def unload(self, name: str) -> None:
        """Use no version of a name any more; who holds one may end its work. Loads under way are given up. The files stay.

        Raises:
            NotFound: there is no such model.
            StoreFailed: nothing is in use, but a restart would bring it back.
        """
        slot = self._known(name)
        with slot.lock:
            slot.pair = _Pair()
            slot.unloads += 1
            slot.reason = ""
        with slot.disk:
            if slot.pair.current is None:
                self._write_in_use(slot, slot.written.model_copy(update={"loaded": False}))

    def names(self) -> tuple[str, ...]:
        """Names of which a version is in use, sorted."""
        return tuple(sorted(name for name, slot in self._slots.copy().items() if slot.pair.current is not None))

    def ready(self) -> bool:
        """Whether each name of which a version is wanted has one in use."""
        return not self._closed and not any(slot.reason and not slot.pair.current for slot in self._slots.copy().values())

    def list(self) -> tuple[Version, ...]:
        """All versions on disk, by name: the one in use first, then the newest first."""
        found: list[Version] = []
        for name, slot in sorted(self._slots.copy().items()):
            pair, running = slot.pair, slot.running
            on_disk = self.versions(name)
            for version in on_disk:
                if pair.current is not None and version == pair.current.version:
                    found.append(Version(name, version, "in-use", slot.reason))
                elif running is not None and version == running.version:
                    found.append(Version(name, version, "loading"))
                elif pair.before is not None and version == pair.before.version:
                    found.append(Version(name, version, "warm"))
                else:
                    found.append(Version(name, version, "on-disk", "" if pair.current else slot.reason))
            if not on_disk and slot.reason:
                found.append(Version(name, "", "on-disk", slot.reason))
        return tuple(found)

    def versions(self, name: str) -> tuple[str, ...]:
        """Versions of a name that are on disk, the one in use first, then the newest first."""
        slot = self._slots.get(name)
        return () if slot is None else _on_disk(slot)

    def known(self) -> tuple[str, ...]:
        """Names of which a version is on disk or was, sorted."""
        return tuple(sorted(self._slots.copy()))

    def counts(self) -> dict[str, Counts]:
        """What happened since the process began, by name."""
        return {name: slot.counts for name, slot in sorted(self._slots.copy().items())}

    def _slot(self, name: str) -> _Slot:
        """All about a name, which may be new."""
        with self._lock:
            if self._closed:
                raise Conflict(f"The models in {self._folder} are closed; nothing is put or loaded any more.")
            return self._slots.setdefault(name, _Slot(self._folder / name))

    def _known(self, name: str) -> _Slot:
        slot = self._slots.get(name)
        if slot is None or not (slot.pair.current or _on_disk(slot)):
            raise NotFound(f"There is no model {name!r} here; there are: {_listed(self.known())}.")
        return slot

    def _newest(self, name: str, slot: _Slot) -> str:
        current = slot.pair.current
        if slot.fresh:
            return slot.fresh[-1]
        if current is not None:
            return current.version
        on_disk = _on_disk(slot)
        if slot.written.current in on_disk:
            return slot.written.current
        return on_disk[0]

    def _resume(self, name: str) -> None:
        """Load what was in use and what was before, or say why not."""
        slot = self._slot(name)
        for left in slot.folder.glob(f"{TEMPORARY}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        path, faults = slot.folder / _CURRENT, []
        try:
            slot.written = parse(_InUse, path.read_bytes(), str(path), stored=True)
            wanted = [slot.written.current, slot.written.before] if slot.written.loaded else []
        except FileNotFoundError:  # Nothing was loaded yet.
            return
        except InvalidInput as error:
            faults.append(str(error))
            wanted = list(_on_disk(slot))
        loaded: list[Loaded] = []
        for version in dict.fromkeys(filter(None, wanted)):
            if len(loaded) == 2:
                break
            try:
                loaded.append(self._opened(slot, name, version, lambda step: None))
            except Exception as error:
                faults.append(f"version {version}: {error}")
        slot.pair = _Pair(*loaded)
        if faults:
            instead = f"version {loaded[0].version} is in use" if loaded else "none is in use"
            slot.reason = f"At the start of the process {instead}, because of {'; '.join(faults)}"
            if loaded:
                with contextlib.suppress(StoreFailed):
                    self._write(slot, slot.pair)

    def _load_all(self, slot: _Slot) -> None:
        """Load what waits, one after the other. This is all that a loading thread does."""
        while True:
            with slot.lock:
                slot.running = slot.waiting.popleft() if slot.waiting else None
                if slot.running is None:
                    slot.thread = None
                    return
            self._do(slot, slot.running)

    def _do(self, slot: _Slot, loading: Loading) -> None:
        if not loading.set_running_or_notify_cancel():
            return
        try:
            loaded = self._loaded(slot, loading)
        except BaseException as error:
            slot.counts.failed_loads += 1
            slot.fresh = [version for version in slot.fresh if version != loading.version]
            if not isinstance(error, CloudedgeError):
                error = WorkFailed(f"The version {loading.version} of the model {loading.name!r} cannot be loaded: {error!r}.")
            slot.reason = f"version {loading.version}: {error}"
            loading.set_exception(error.with_traceback(None))  # Its frames would hold the session.
        else:
            slot.reason = ""
            loading.set_result(loaded)

    def _loaded(self, slot: _Slot, loading: Loading) -> Loaded:
        loaded = _warm(slot.pair, loading.version, slot.folder / loading.version / _MANIFEST)
        if loaded is None:
            loaded = self._opened(slot, loading.name, loading.version, loading.step)
        else:
            loading.step(STEPS)
        with slot.disk:
            if loaded is not slot.pair.current and not loading.overtaken(slot.unloads):
                self._write(slot, _Pair(loaded, slot.pair.current))  # If this fails, the old one is still in use.
            with slot.lock:  # Who rolled back or unloaded since then waits to write what holds after this.
                if loading.overtaken(slot.unloads):
                    raise Conflict(f"The model {loading.name!r} was unloaded while its version {loading.version} was loaded.")
                before = slot.pair.current
                if loaded is not before:
                    slot.pair = _Pair(loaded, before)
                    slot.counts.swaps += before is not None
                slot.counts.loads += 1
                if loading.version in slot.fresh:  # What was put before it is out of date, unless its load waits.
                    slot.fresh = slot.fresh[slot.fresh.index(loading.version) + 1 :]
                kept = {each.version for each in (*slot.waiting, slot.pair.current, slot.pair.before) if each is not None}
            with contextlib.suppress(OSError):  # What cannot be removed is tried again after the next load.
                _remove(slot, [version for version in _on_disk(slot) if version not in kept.union(slot.fresh)])
        return loaded

    def _opened(self, slot: _Slot, name: str, version: str, step: Callable[[int], object]) -> Loaded:
        """Open a version on disk and let it answer once."""
        began = time.monotonic()
        folder = slot.folder / version
        deployable = _manifest(folder / _MANIFEST)
        session = Session(folder / _MODEL, deployable, self._threads)
        step(1)
        session.warm_up()
        step(STEPS)
        return Loaded(name, version, session, time.monotonic() - began)

    def _write(self, slot: _Slot, pair: _Pair) -> None:
        current, before = ("" if each is None else each.version for each in (pair.current, pair.before))
        self._write_in_use(slot, _InUse(current=current, before=before if before != current else ""))

    def _write_in_use(self, slot: _Slot, in_use: _InUse) -> None:
        if in_use != slot.written:
            atomic_write(slot.folder / _CURRENT, in_use.to_json())
            slot.written = in_use

    def _place(self, slot: _Slot, part: Path, target: Path, deployable: Deployable) -> None:
        """Make a complete version visible."""
        if target.is_dir():
            try:
                _verify(target / _MODEL, deployable)
            except InvalidModel:
                _remove(slot, [target.name])
            else:
                atomic_write(target / _MANIFEST, deployable.to_json())
                os.utime(target)
                return
        part.rename(target)
        sync_folder(slot.folder)


def _warm(pair: _Pair, version: str, manifest: Path) -> Loaded | None:
    """A version that is loaded already, unless something else is known of it by now, such as another threshold."""
    for loaded in (pair.current, pair.before):
        if loaded is not None and loaded.version == version and loaded.deployable == _manifest(manifest):
            return loaded
    return None


def _manifest(path: Path) -> Deployable:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidModel(f"{path} cannot be read: {error.strerror}. Deploy the model again.") from None
    return parse(Deployable, content, str(path), MAX_DEPLOYABLE_MANIFEST_BYTES, stored=True)


def _verify(path: Path, deployable: Deployable) -> None:
    """Whether a file has the bytes that were checked when it was put.

    Raises:
        InvalidModel: it has others, or cannot be read.
    """
    try:
        found = sha256_of(path)
    except OSError as error:
        raise InvalidModel(f"{path} cannot be read: {error.strerror}. Deploy the model again.") from None
    if found != deployable.sha256:
        raise InvalidModel(
            f"{path} has the digest {found} and should have {deployable.sha256}: it was changed or the disk is spoiled. "
            "Deploy the model again."
        )


def _on_disk(slot: _Slot) -> tuple[str, ...]:
    current = slot.pair.current
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(slot.folder) as entries:
        for entry in entries:
            if re.fullmatch(_VERSION, entry.name):
                with contextlib.suppress(FileNotFoundError):  # It was removed in this moment.
                    found.append((current is None or entry.name != current.version, -entry.stat().st_mtime_ns, entry.name))
    return tuple(name for _, _, name in sorted(found))


def _remove(slot: _Slot, versions: Sequence[str]) -> None:
    """Remove versions so that none is ever seen half."""
    for version in versions:
        gone = slot.folder / f"{TEMPORARY}gone-{version}"
        shutil.rmtree(gone, ignore_errors=True)
        (slot.folder / version).rename(gone)
        shutil.rmtree(gone)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _held(folder: Path) -> Callable[[], None]:
    """Hold a folder for this process; what releases it. The kernel does, too, however the process ends."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Conflict(f"Another process has its models in {folder}. End it first, or choose another folder.") from None
    once = iter((descriptor,))

    def release() -> None:
        for each in once:
            os.close(each)

    return release
