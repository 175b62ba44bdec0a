"""A site to test with: a cloud's folder, an edge's folders, and a real runner process."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import psutil

from cloudedge import weights
from cloudedge.documents import (
    DataFormat,
    Evaluate,
    Evaluated,
    History,
    Inbox,
    Manifest,
    ModelSpec,
    Order,
    Phase,
    Point,
    RemoteFile,
    Report,
    Train,
    Trained,
    Training,
    UploadTarget,
    order_id,
    parse,
)
from cloudedge.documents.data import SampleField
from cloudedge.models import build
from cloudedge.mount import write_mount
from edge.messages import Job
from tests.waiting import PATIENCE, until

DATA = DataFormat(storage="json-lines", fields=(SampleField(name="x", shape=(4,)),), classes=("low", "high"), held_out=0.25)
MODEL = ModelSpec(architecture="mlp", parameters={"layers": 1, "width": 8})
TRAINING = Training(epochs=3, batch_size=8, learning_rate=0.1)


def write_samples(path: Path, count: int = 40, seed: int = 0) -> None:
    """Write samples whose class is the sign of their first value."""
    random = numpy.random.default_rng(seed)
    lines = []
    for _ in range(count):
        values = random.normal(size=4)
        label = "high" if values[0] > 0 else "low"
        lines.append(json.dumps({"x": [round(float(value), 6) for value in values], "label": label}))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


@dataclass
class Site:
    """The folders of one edge and of the cloud that it works for."""

    root: Path
    workers: Path | None = None
    server: int | None = None
    generation: int = 0

    @property
    def cloud(self) -> Path:
        return self.root / "cloud"

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def samples(self) -> Path:
        return self.root / "samples"

    def base(self) -> RemoteFile:
        """A model in the cloud."""
        path = self.cloud / "base.safetensors"
        if not path.exists():
            weights.save(build(MODEL, DATA, 0).state_dict(), path)
        content = path.read_bytes()
        return RemoteFile(url=path.as_uri(), sha256=hashlib.sha256(content).hexdigest(), size=len(content))

    def target(self, order: str, name: str, *, once: bool = True) -> UploadTarget:
        return UploadTarget(url=(self.cloud / order / name).as_uri(), max_bytes=10_000_000, once=once)

    def order(self, number: int = 1, kind: str = "train", **changes: Any) -> Order:
        """An order of the given round."""
        name = order_id("run", str(number), "edge-1", 1)
        work: dict[str, Any] = {"model": MODEL, "data": DATA, "training": TRAINING, "seed": 7}
        asked: Train | Evaluate
        if kind == "train":
            names = Train.model_fields.keys() & changes.keys()
            asked = Train(**{**work, **{name: changes.pop(name) for name in names}})
        else:
            asked = Evaluate(**work)
        values: dict[str, Any] = {
            "id": name,
            "run": "run",
            "step": str(number),
            "edge": "edge-1",
            "issued_at": datetime.now(UTC),
            "time_limit_seconds": 600,
            "work": asked,
            "inputs": changes.get("inputs") or {"base": self.base()},
            "report": self.target(name, "report.json", once=False),
            "outputs": {"model": self.target(name, "model.safetensors")} if kind == "train" else {},
            "history": self.target(name, "history.json"),
            "manifest": self.target(name, "manifest.json"),
        }
        return Order(**{**values, **changes})

    def job(self, order: Order, *, begun: bool = False) -> Job:
        """An order as the runner gives it to the work."""
        return Job(
            order=order,
            begun=begun,
            state=str(self.state),
            samples=str(self.samples),
            mirror_samples=False,
            file_roots=(str(self.cloud),),
        )

    def want(self, *orders: Order, generation: int | None = None) -> None:
        """Let the cloud want these orders, as its carrier writes them."""
        self.generation = self.generation + 1 if generation is None else generation
        inbox = Inbox(edge="edge-1", generation=self.generation, orders=orders)
        write_mount(self.inbox, {"inbox.json": inbox.to_json()})

    def want_as_written(self, *orders: dict[str, Any]) -> None:
        """Let the cloud want orders that may be none to this version."""
        self.generation += 1
        inbox = {"schema_version": 1, "edge": "edge-1", "generation": self.generation, "orders": orders}
        write_mount(self.inbox, {"inbox.json": json.dumps(inbox).encode()})

    def report(self, order: Order) -> Report | None:
        path = self.cloud / order.id / "report.json"
        return parse(Report, path.read_bytes(), str(path)) if path.exists() else None

    def epochs(self, order: Order) -> int:
        """The last epoch reported."""
        report = self.report(order)
        return report.points[-1].sequence if report and report.points else 0

    def phase(self, order: Order) -> Phase | None:
        report = self.report(order)
        return report.phase if report else None

    def manifest(self, order: Order) -> Manifest:
        path = self.cloud / order.id / "manifest.json"
        return parse(Manifest, path.read_bytes(), str(path))

    def trained(self, order: Order) -> Trained:
        """What training came to, as its manifest says."""
        result = self.manifest(order).result
        assert isinstance(result, Trained)
        return result

    def evaluated(self, order: Order) -> Evaluated:
        """What measuring came to, as its manifest says."""
        result = self.manifest(order).result
        assert isinstance(result, Evaluated)
        return result

    def history(self, order: Order) -> tuple[Point, ...]:
        """The points of the history, which is what the manifest says."""
        content = (self.cloud / order.id / "history.json").read_bytes()
        manifest = self.manifest(order)
        file = manifest.outputs["history"]
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.sha256, file.size)
        history = parse(History, content, "history.json")
        assert history.order == order.id
        assert history.points[-1].sequence + 1 == manifest.points
        return history.points

    def model_digest(self, order: Order) -> str:
        return hashlib.sha256((self.cloud / order.id / "model.safetensors").read_bytes()).hexdigest()

    def start(self, *arguments: str, **options: Any) -> "RunnerProcess":
        """Start a runner."""
        command = [sys.executable, "-m", "edge.runner", "--inbox", str(self.inbox), "--state", str(self.state)]
        command += ["--samples", str(self.samples), "--files-root", str(self.cloud), "--poll-seconds", "0.05"]
        command += ["--report-seconds", "0.1"]
        if self.workers is not None:
            command += ["--workers", str(self.workers)]
        log = self.root / "runner.log"
        with log.open("ab") as file:
            process = subprocess.Popen([*command, *arguments], stderr=file, stdin=subprocess.DEVNULL, **options)
        return RunnerProcess(process, log)

    @contextmanager
    def running(self, *arguments: str) -> Iterator["RunnerProcess"]:
        """A runner while the block lasts."""
        runner = self.start(*arguments)
        try:
            yield runner
        finally:
            runner.kill()

    def work(self) -> list[psutil.Process]:
        """Processes at work in the shared fork server."""
        return psutil.Process(self.server).children()

    def finish(self, order: Order, phase: Phase = Phase.DONE, timeout: float = PATIENCE) -> Report:
        """Wait until an order has ended in this phase."""
        until(lambda: (self.phase(order) or Phase.ACCEPTED).over, timeout, f"the end of {order.id}")
        report = self.report(order)
        assert report is not None
        assert report.phase is phase, report
        return report


@dataclass
class RunnerProcess:
    """A runner at work."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def family(self) -> list[psutil.Process]:
        """The runner's own descendants."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        """Kill it at once, as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def text(self) -> str:
        """What it logged."""
        return self.log.read_text()


def gone(processes: list[psutil.Process]) -> Callable[[], bool]:
    """Whether none of these runs any more."""

    def none_runs() -> bool:
        for process in processes:
            try:
                if process.status() != psutil.STATUS_ZOMBIE:
                    return False
            except psutil.NoSuchProcess:
                continue
        return True

    return none_runs


@contextmanager
def fork_server(socket: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A shared fork server while the block lasts."""
    command = [sys.executable, "-m", "edge.workers", "--socket", str(socket), "--parent", str(os.getpid())]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        until(socket.exists, what="the fork server's socket")
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)
