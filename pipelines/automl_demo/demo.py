"""The demo of searching for models at the edge: meters are read on three devices, each of which can bear something else."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cloud.keys import run_key
from cloudedge.documents import DataFormat
from cloudedge.documents.automl import DeviceDescription
from cloudedge.documents.base import parse
from cloudedge.documents.data import SampleField
from cloudedge.documents.tasks.edge_automl import Allowed, CandidateTraining, EdgeAutomlTask
from cloudedge.errors import Cancelled, InvalidDocument
from cloudedge.files import atomic_write, disk_errors
from pipelines.automl_demo.dials import DIGITS, Dials
from pipelines.automl_demo.groups import control_groups, remove_left_behind
from pipelines.experiments.laptop import Laptop
from pipelines.experiments.run import Run
from pipelines.experiments.task import Task
from pipelines.laptop.home import Home

SIZE = 16
SAMPLES = 1200
LIMIT_MS = 0.25
_MOST_TRIES, _ROOM = 3, 2.0
"""A machine that is slow, or busy with something else, can bear no network within the limit. It is searched on again within a
limit that is so many times what the devices then say that they need."""
_PERIOD_MS = 20.0
_WRITTEN = ".written"
_TASK = "meters.json"
"""In the home: what is asked for in the run that is under way, so that the demo goes on with it after an interruption."""

_GROUPS = "cloudedge-demo"
_DESCRIPTION = "device.json"
"""Where an edge looks for it in its state."""

DATA = DataFormat(
    storage="npz",
    fields=(SampleField(name="image", dtype="uint8", shape=(1, SIZE, SIZE), scale=1 / 255),),
    classes=DIGITS,
)


@dataclass(frozen=True)
class Device:
    """One of the demo's devices.

    Attributes:
        cores: Cores that work on it gets.
        memory_bytes: Memory.
        watts: Power with nothing to do, and at work.
    """

    cores: float
    memory_bytes: int
    watts: tuple[float, float]


DEVICES: Mapping[str, Device] = {
    "gateway": Device(0.9, 1024 * 2**20, (4.0, 12.0)),
    "controller": Device(0.5, 768 * 2**20, (2.0, 5.0)),
    "meter": Device(0.3, 512 * 2**20, (0.5, 1.5)),
}


def show(home: Path, say: Callable[[str], None], stay: Callable[[str], None]) -> dict[str, Any]:
    """Have three devices search, each within its limits.

    Args:
        home: Folder that everything lives in.
        say: Tells what happens.
        stay: Not called: nothing of the demo goes on.

    Returns:
        What came of it, for programs.

    Raises:
        CloudedgeError: something went wrong; the same command goes on where it was, or begins anew if it was cancelled.
    """
    del stay
    began, home = time.monotonic(), home.absolute()
    opened = Home(home)
    data, begun = _data(home / "data" / "meters", say), home / _TASK
    task = _left_off(begun) or _task(f"meters-{int(time.time()):x}", LIMIT_MS)
    remove_left_behind(_GROUPS)
    with contextlib.ExitStack() as limits:
        # The laptop ends first, and with it all that is in the groups.
        limited = {name: limits.enter_context(_limited(name, device)) for name, device in DEVICES.items()}
        for name, device in DEVICES.items():
            _describe(opened, name, device, limited[name])
        say(_in_words(limited, _limit(task)))
        try:
            with Laptop(home) as laptop:
                run, tries = _searched(laptop, task, data, begun, say), 1
                while not run.summary["best"] and tries < _MOST_TRIES:
                    within, limit, tries = _limit(task), _wider(_limit(task), run.summary["devices"]), tries + 1
                    say(
                        f"\nNo device has a model within {within:g} ms: this machine is slow, or something else is at work on "
                        f"it. By what they say they need, {limit:g} ms are allowed now."
                    )
                    task = _task(f"{task.id}-wider", limit)
                    run = _searched(laptop, task, data, begun, say)
        finally:
            for name, device in DEVICES.items():  # Their groups end now; whoever looks at a device later need not enter them.
                _describe(opened, name, device, [])
    with disk_errors(begun):
        begun.unlink()
    devices = run.summary["devices"]
    summary = {
        "best": run.summary["best"],
        "devices": devices,
        "limit_ms": _limit(task),
        "limited_by": "control groups" if all(limited.values()) else "description",
        "run": run.id,
        "report": str(opened.store.root / run_key(run.id, "report.html")),
        "seconds": round(time.monotonic() - began, 1),
    }
    for name, device in devices.items():
        say(f"\n{name}: {device['words']}")
    say(f"\nReport    {summary['report']}")
    return summary


def _left_off(begun: Path) -> EdgeAutomlTask | None:
    """What is asked for in a run that has not ended; none: there is none, or it is of another version."""
    if not begun.exists():
        return None
    with disk_errors(begun):
        content = begun.read_bytes()
    try:
        return parse(EdgeAutomlTask, content, str(begun))
    except InvalidDocument:
        return None


def _searched(laptop: Laptop, task: EdgeAutomlTask, data: Path, begun: Path, say: Callable[[str], None]) -> Run:
    atomic_write(begun, task.to_json())
    try:
        return laptop.run(Task.of(task), data)
    except KeyboardInterrupt:
        say("Stopped. The same command goes on: devices that are done are kept, and the others search again.")
        raise
    except Cancelled:  # Nobody goes on with it.
        with disk_errors(begun):
            begun.unlink()
        raise


def _limit(task: EdgeAutomlTask) -> float:
    return task.allowed.latency_ms or LIMIT_MS


def _data(folder: Path, say: Callable[[str], None]) -> Path:
    """The demo's samples, which are drawn if they are not there."""
    if (folder / _WRITTEN).exists():
        return folder
    say("The meters are drawn.")
    for number, name in enumerate(DEVICES):
        images, labels = Dials(number, SIZE).images(SAMPLES)
        place = folder / "edges" / name
        with disk_errors(place):
            place.mkdir(parents=True, exist_ok=True)
            np.savez(place / "meters.npz", image=images[:, np.newaxis], label=labels.astype(str))
    with disk_errors(folder):
        (folder / _WRITTEN).touch()
    return folder


@contextlib.contextmanager
def _limited(name: str, device: Device) -> Iterator[list[Path]]:
    """The control groups of a device; none where they cannot be had here."""
    with contextlib.ExitStack() as stack:
        groups: list[Path] = []
        with contextlib.suppress(OSError):
            groups = stack.enter_context(
                control_groups(f"{_GROUPS}-{os.getpid()}-{name}", device.cores, device.memory_bytes, _PERIOD_MS)
            )
        yield groups


def _describe(home: Home, name: str, device: Device, groups: list[Path]) -> None:
    idle, busy = device.watts
    description = DeviceDescription(
        idle_watts=idle,
        busy_watts=busy,
        cores=device.cores,
        memory_bytes=device.memory_bytes,
        control_groups=tuple(map(str, groups)),
    )
    atomic_write(home.edge_state(name) / _DESCRIPTION, description.to_json())


def _in_words(limited: Mapping[str, list[Path]], limit: float) -> str:
    devices = ", ".join(
        f"{name} ({device.cores:g} cores, {device.memory_bytes // 2**20} MiB)" for name, device in DEVICES.items()
    )
    how = "by control groups" if all(limited.values()) else "by their descriptions alone, as no control groups can be had here"
    return (
        f"Three devices, limited {how}: {devices}. Each searches for the model that reads its meters best within {limit:g} ms."
    )


def _wider(limit: float, devices: Mapping[str, Any]) -> float:
    """A limit that leaves room for what the devices need, in milliseconds, as short a number as people give."""
    nothing = [device["nothing_feasible"] for device in devices.values() if device["nothing_feasible"]]
    changes = [change for each in nothing for change in each["remedies"][0]["changes"] if change["limit"] == "latency"]
    return float(f"{_ROOM * max([limit, *(change['needed'] for change in changes)]):.2g}")


def _task(run: str, limit: float) -> EdgeAutomlTask:
    return EdgeAutomlTask(
        name="Reading meters",
        id=run,
        edges=tuple(DEVICES),
        data=DATA,
        allowed=Allowed(latency_ms=limit),
        training=CandidateTraining(epochs=10),
        calibration_seconds=15,
        model_name="meter-reading",
    )
