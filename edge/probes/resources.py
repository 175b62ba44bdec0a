"""Source: what the device has to give now, seven numbers of which each says where it comes from."""

import hashlib
import time
from pathlib import Path

from cloudedge.documents.automl import DeviceDescription, Origin, Resources
from edge.probes.accelerators import MOST, Accelerator, accelerators
from edge.probes.cgroups import ControlGroups
from edge.probes.files import ROOT, table
from edge.probes.power import EnergyMeter, device_watts
from edge.probes.processor import Load, cores

PERIOD_SECONDS = 0.5
"""How long the device is watched."""

_ENERGY_SECONDS = 10.0
"""The narrowest meters of large servers, of 65 kJ, take several times as long to begin again."""

_NONE = Accelerator("", 0, 0, "absent")


def resources(description: DeviceDescription | None = None, period: float = PERIOD_SECONDS, root: Path = ROOT) -> Resources:
    """Watch the device for a moment.

    Args:
        description: What cannot be measured on it, and what a search may count on.
        period: How long, in seconds.
        root: Where the system's files are.
    """
    watched = ResourceMeter(description, root)
    time.sleep(period)
    return watched.read()


def conditions(description: DeviceDescription | None, root: Path = ROOT) -> str:
    """What resources depend on that somebody sets, as a digest: where it is another one, what was measured holds no more.

    Args:
        description: What a search may count on, and the control groups that work enters.
        root: Where the system's files are.
    """
    groups = description.control_groups if description else ()
    described = description.model_dump_json() if description else ""
    total, allowed = table(root / "proc/meminfo").get("MemTotal", 0), ControlGroups(root, groups).memory()
    return hashlib.sha256(f"{described} {cores(root, groups):g} {total} {allowed}".encode()).hexdigest()


class ResourceMeter:
    """What the device has to give: processor and power on average since this was made, memory and accelerators at the end.

    It is told as work on the device sees it, within the control groups that the description has all work enter.
    """

    def __init__(self, description: DeviceDescription | None = None, root: Path = ROOT) -> None:
        """Begin.

        Args:
            description: What cannot be measured on it, and what a search may count on.
            root: Where the system's files are.
        """
        self._description, self._root = description, root
        self._groups = description.control_groups if description else ()
        self._load, self._energy = Load(root, self._groups), EnergyMeter(root)
        self._next = 0.0

    def tend(self) -> None:
        """Read what would be too late at the end of a long time; called often, it costs nothing."""
        if time.monotonic() >= self._next:
            self._energy.read()
            self._next = time.monotonic() + _ENERGY_SECONDS

    def read(self) -> Resources:
        """Read it; some time must have passed."""
        description, root = self._description, self._root
        there, free = cores(root, self._groups), self._load.free_cores()
        watts, watts_origin = device_watts(self._energy, description, 1 - free / there if there else 0.0)
        memory = table(root / "proc/meminfo").get("MemAvailable", 0) * 1024
        allowed = ControlGroups(root, self._groups).free_memory()
        if allowed is not None:
            memory = min(memory, allowed)
        origins: dict[str, Origin] = {
            "free_nodes_cpu": "measured",
            "free_memory_cpu": "measured",
            "average_power": watts_origin,
        }
        if description is not None and description.cores is not None and description.cores < free:
            free, origins["free_nodes_cpu"] = description.cores, "described"
        if description is not None and description.memory_bytes is not None and description.memory_bytes < memory:
            memory, origins["free_memory_cpu"] = description.memory_bytes, "described"
        npus = [*accelerators(description, root=root), _NONE, _NONE][:MOST]
        for place, npu in enumerate(npus):
            origins |= {f"free_nodes_npu{place}": npu.origin, f"free_memory_npu{place}": npu.origin}
        return Resources(
            free_nodes_cpu=free,
            free_nodes_npu0=npus[0].free_nodes,
            free_nodes_npu1=npus[1].free_nodes,
            free_memory_cpu=memory,
            free_memory_npu0=npus[0].free_memory,
            free_memory_npu1=npus[1].free_memory,
            average_power=watts,
            origins=origins,
        )
