"""Accelerators: those whose drivers answer, and those that only the device's description knows."""

import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from cloudedge.documents.automl import DeviceDescription, Origin
from edge.probes.files import ROOT, number

MOST = 2
"""Accelerators that are told of; the seed's device has two."""


class Accelerator(NamedTuple):
    """What an accelerator has to give now.

    Attributes:
        name: What it is.
        free_nodes: Its cores, as far as they are free; 1 for the whole where no driver counts them.
        free_memory: Bytes.
        origin: Whether that was measured, or comes from the description.
    """

    name: str
    free_nodes: float
    free_memory: int
    origin: Origin


def accelerators(description: DeviceDescription | None = None, period: float = 0.1, root: Path = ROOT) -> list[Accelerator]:
    """The first ones.

    Args:
        description: What no driver tells of.
        period: How long a driver that tells only of time is watched, in seconds.
        root: Where the system's files are.
    """
    found = [*_nvidia(), *_amd(root), *_intel(root, period)]
    for each in description.accelerators if description else ():
        found.append(Accelerator(each.name, each.nodes, each.memory_bytes, "described"))
    return found[:MOST]


def _nvidia() -> list[Accelerator]:
    """By NVIDIA's own library, if the package nvidia-ml-py and the driver are there."""
    found = []
    with suppress(Exception):  # It raises many kinds, all of its own, and each means: there is none to use.
        nvml = import_module("pynvml")
        nvml.nvmlInit()
        try:
            for number_of in range(nvml.nvmlDeviceGetCount()):
                with suppress(Exception):  # One that does not tell hides no other one.
                    device = nvml.nvmlDeviceGetHandleByIndex(number_of)
                    busy = nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100
                    nodes = nvml.nvmlDeviceGetNumGpuCores(device) * (1 - busy)
                    memory = nvml.nvmlDeviceGetMemoryInfo(device).free
                    found.append(Accelerator(str(nvml.nvmlDeviceGetName(device)), nodes, int(memory), "measured"))
        finally:
            nvml.nvmlShutdown()
    return found


def _amd(root: Path) -> list[Accelerator]:
    """Graphics processors that amdgpu drives: https://docs.kernel.org/gpu/amdgpu/thermal.html."""
    found = []
    for device in _devices(root / "sys/class/drm", "card"):
        busy, total, used = (
            number(device / name) for name in ("gpu_busy_percent", "mem_info_vram_total", "mem_info_vram_used")
        )
        if busy is not None and total is not None and used is not None:
            found.append(Accelerator("AMD GPU", 1 - busy / 100, max(0, total - used), "measured"))
    return found


def _intel(root: Path, period: float) -> list[Accelerator]:
    """Neural processors that ivpu drives, which compute in main memory."""
    paths = [device / "npu_busy_time_us" for device in _devices(root / "sys/class/accel", "accel")]
    before = [(path, busy) for path in paths if (busy := number(path)) is not None]
    if not before:
        return []
    began = time.monotonic()
    time.sleep(period)
    microseconds = (time.monotonic() - began) * 1e6
    free = [1 - ((number(path) or busy) - busy) / microseconds for path, busy in before]
    return [Accelerator("Intel NPU", min(1.0, max(0.0, each)), 0, "measured") for each in free]


def _devices(folder: Path, prefix: str) -> list[Path]:
    """Folders of the devices of a class, by their numbers."""
    try:
        names = [each.name for each in folder.iterdir()]
    except OSError:
        return []
    numbers = sorted(int(name.removeprefix(prefix)) for name in names if name.removeprefix(prefix).isdigit())
    return [folder / f"{prefix}{each}" / "device" for each in numbers]
