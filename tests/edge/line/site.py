"""A production line to test with: an edge server's service, and detectors that do what a test tells them."""

import io
import socket
import subprocess
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from cloudedge.addresses import host_and_port
from cloudedge.documents.deployable import Deployable
from cloudedge.documents.line import Deployment, DeploymentState, Record, Status, Teach
from cloudedge.errors import CloudedgeError, NotFound
from cloudedge.interpreter import python
from edge.detector.link import Link, join, membership
from edge.folders import Folders
from edge.line.control import Line
from edge.line.service import Service
from edge.line.settings import LineSettings, open_line, read_settings
from tests.cloudedge.deployable.graphs import BRIGHTNESS, brightness, stored
from tests.cluster.processes import free_port
from tests.edge.site import RunnerProcess
from tests.waiting import until

BRAND = "oats"
MODEL = "d" * 64
"""Of records that were judged."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, each another one."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


def services(runner: RunnerProcess) -> list[psutil.Process]:
    """The line's services of a runner, of which there should be one."""
    found = []
    for process in runner.family():
        with suppress(psutil.Error):  # It may just have ended.
            if "edge.line" in process.cmdline():
                found.append(process)
    return found


def png(value: int) -> bytes:
    """An image of one gray."""
    file = io.BytesIO()
    Image.fromarray(np.full((32, 32, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def a_model(path: Path, name: str = "first", padding: int = 0) -> Deployable:
    """A model's file, each name another one, and as long as is wanted."""
    contents = brightness()
    contents.doc_string = name + "." * padding
    path.parent.mkdir(parents=True, exist_ok=True)
    return stored(contents, path, **BRIGHTNESS)


@dataclass
class Kept:
    """A record that a detector keeps."""

    id: int
    record: Record
    image: Path
    heat: bytes = b""


class Spool:
    """What a detector keeps for its edge server, in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._kept: dict[int, Kept] = {}
        self._last = 0

    def add(self, value: int, accepted: bool | None = True, heat: bytes = b"", **more: Any) -> Record:
        content = png(value)
        with self._lock:
            self._last += 1
            path = self._folder / f"{self._last}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            model = "" if accepted is None else MODEL
            known: dict[str, Any] = {"brand": BRAND, "accepted": accepted, "image_sha256": sha256(content).hexdigest()}
            said = known | {"model": model} | more
            record = Record(id=self._last, taken_at=datetime.now(UTC), **said)
            self._kept[self._last] = Kept(self._last, record, path, heat)
        return record

    def unsent(self, most: int) -> list[Kept]:
        with self._lock:
            return list(self._kept.values())[:most]

    def sent(self, ids: Collection[int]) -> None:
        with self._lock:
            for number in ids:
                self._kept.pop(number, None)

    def backlog(self) -> int:
        return len(self._kept)


@dataclass
class InUse:
    """What a detector judges by."""

    deployable: Deployable


class Models:
    """A detector's models, by brand: the one in use is the last."""

    def __init__(self) -> None:
        self.of: dict[str, list[Deployable]] = {}

    def current(self, name: str) -> InUse | None:
        found = self.of.get(name)
        return InUse(found[-1]) if found else None


@dataclass
class Standin:
    """A detector that has all that the link knows of one, and no camera.

    Attributes:
        ends: How a deployment stands here at first; others than 'serving' and 'watching' leave the model that was.
        figures: What else it says of itself.
    """

    folder: Path
    ends: str = "serving"
    models: Models = field(default_factory=Models)
    brands: list[str] = field(default_factory=list)
    taught: list[Teach] = field(default_factory=list)
    deployed: list[str] = field(default_factory=list)
    rolled_back: list[str] = field(default_factory=list)
    states: dict[str, DeploymentState] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.spool = Spool(self.folder / "spool")
        self._lock = threading.RLock()  # Whoever sees a part of a deployment sees all of it.

    def status(self) -> Status:
        with self._lock:
            return self._status()

    def _status(self) -> Status:
        brand = self.brands[-1] if self.brands else ""
        current = self.models.current(brand) if brand else None
        return Status(
            at=datetime.now(UTC),
            brand=brand,
            model=current.deployable.sha256 if current else "",
            deployments=tuple(self.states.values())[-8:],
            backlog=self.spool.backlog(),
            former=tuple(brand for brand, models in self.models.of.items() if len(models) > 1),
            **self.figures,
        )

    def use_brand(self, brand: str) -> None:
        self.brands.append(brand)

    def teach(self, asked: Teach) -> None:
        if asked not in self.taught:
            self.taught.append(asked)

    def deploy(self, asked: Deployment, file: Path) -> None:
        assert sha256(file.read_bytes()).hexdigest() == asked.deployable.sha256
        with self._lock:
            if self.ends in ("watching", "serving"):
                self.models.of.setdefault(asked.brand, []).append(asked.deployable)
            self.say(asked, self.ends)
            self.deployed.append(asked.id)

    def say(self, asked: Deployment, phase: str) -> None:
        state = {"id": asked.id, "brand": asked.brand, "sha256": asked.deployable.sha256, "phase": phase, "load_seconds": 0.5}
        self.states[asked.id] = DeploymentState.model_validate(state)

    def now(self, deployment: str, phase: str, reason: str = "", **more: Any) -> None:
        """A deployment stands in another way."""
        with self._lock:
            self.states[deployment] = self.states[deployment].model_copy(update={"phase": phase, "reason": reason, **more})

    def rollback(self, brand: str) -> None:
        if len(self.models.of.get(brand, [])) < 2:
            raise NotFound(f"There is no model of {brand} before.")
        self.models.of[brand].pop()
        self.rolled_back.append(brand)


class LineSite:
    """An edge server's state, its service in this process, and its detectors."""

    def __init__(self, root: Path, models: bool = False) -> None:
        self.root = root
        self.folders = Folders(root / "state")
        ports = free_ports(5)
        addresses = [f"127.0.0.1:{port}" for port in ports]
        open_line(self.folders, addresses[0], addresses[1], addresses[2], addresses[3:] if models else ())
        self.line = Line(self.folders)
        self.service: Service | None = None
        self.links: dict[str, Link] = {}
        self.detectors: dict[str, Standin] = {}

    @property
    def settings(self) -> LineSettings:
        return read_settings(self.folders)

    def start(self) -> Service:
        self.service = Service(self.folders, self.settings)
        return self.service

    def stop(self) -> None:
        if self.service is not None:
            self.service.close()
            self.service = None

    def folder(self, name: str) -> Path:
        return self.root / name / "link"

    def joined(self, name: str) -> Standin:
        """A detector that has joined, and is not linked yet."""
        join(self.line.add(name), self.folder(name))
        self.detectors[name] = Standin(self.root / name)
        return self.detectors[name]

    def link(self, name: str) -> Link:
        """Begin a detector's link."""
        self.links[name] = Link(self.detectors[name], self.folder(name))
        self.links[name].start()
        return self.links[name]

    @contextmanager
    def cabled(self, name: str, delay_seconds: float = 0.0) -> Iterator["Cable"]:
        """A way of its own for a detector that has joined; at the end the detector's link is closed."""
        found = membership(self.folder(name))
        assert found is not None
        cable = Cable(found.address, delay_seconds)
        try:
            (self.folder(name) / "line.json").write_bytes(found.model_copy(update={"address": cable.address}).to_json())
            yield cable
        finally:
            self.unlink(name)
            cable.close()

    def unlink(self, name: str) -> None:
        self.links.pop(name).close()

    def linked(self, *names: str) -> list[Standin]:
        """Detectors that have joined and are here."""
        found = [self.joined(name) for name in names]
        for name in names:
            self.link(name)
        until(lambda: all(self.is_here(name) for name in names), what="all detectors being here")
        return found

    def is_here(self, name: str) -> bool:
        with suppress(CloudedgeError):
            return any(found.connected for found in self.line.detectors() if found.name == name)
        return False

    def close(self) -> None:
        for name in list(self.links):
            self.unlink(name)
        self.stop()

    @contextmanager
    def process(self) -> Iterator["subprocess.Popen[bytes]"]:
        """The service as a process of its own."""
        with subprocess.Popen(python("edge.line", "--state", self.folders.state)) as process:
            try:
                until(self.answers, what="the line's service answering")
                yield process
            finally:
                process.kill()

    def answers(self) -> bool:
        try:
            self.line.detectors()
        except CloudedgeError:
            return False
        return True


class Cable:
    """A way to an address that can be cut, and may be a long one: a TCP proxy.

    Attributes:
        address: host:port here.
        passed: Bytes that came from there.
        limit: It is cut by itself once so many have passed; none: it is not.
        stays_cut: Whether no new connection works once it was cut.
    """

    def __init__(self, target: str, delay_seconds: float = 0.0, port: int = 0) -> None:
        self._target = host_and_port(target)
        self._delay_seconds = delay_seconds
        self.passed = 0
        self.limit: int | None = None
        self.stays_cut = False
        self.cuts = 0
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Break all connections; new ones work, unless it is to stay cut."""
        with self._lock:
            self.cuts += 1
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            if self.stays_cut and self.cuts:
                here.close()
                continue
            try:
                there = socket.create_connection(self._target)
            except OSError:
                here.close()
                continue
            with self._lock:
                self._open += [here, there]
            threading.Thread(target=self._lead, args=(here, there, False), daemon=True).start()
            threading.Thread(target=self._lead, args=(there, here, True), daemon=True).start()

    def _lead(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while content := source.recv(16384):
                if counted:
                    self.passed += len(content)
                    if self.limit is not None and self.passed > self.limit:
                        self.limit = None
                        self.cut()
                        break
                time.sleep(self._delay_seconds)
                target.sendall(content)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        if counted:
            source.close()
            target.close()
