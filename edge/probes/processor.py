"""The processor: what it is, and how much of it is free."""

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

from cloudedge.documents.automl import Processor
from edge.probes.cgroups import ControlGroups
from edge.probes.files import ROOT, number, text

_NAMES = ("model name", "Hardware", "cpu model", "Processor")
"""Under which /proc/cpuinfo has it, on one kind of processor or another."""


def processor(root: Path = ROOT) -> Processor:
    """What computes here."""
    about = _about(root)
    model = next((about[name] for name in _NAMES if about.get(name)), None) or text(root / "proc/device-tree/model")
    return Processor(model=(model or platform.machine())[:200], cores=cores(root), clock_mhz=_clock(root, about))


def cores(root: Path = ROOT, entered: Sequence[str] = ()) -> float:
    """Cores that this process may use at a time, or would in control groups that it enters."""
    allowed = ControlGroups(root, entered).cores()
    there = float(len(os.sched_getaffinity(0)))
    return there if allowed is None else min(there, allowed)


class Load:
    """How much of the processor was used since this was made."""

    def __init__(self, root: Path = ROOT, entered: Sequence[str] = ()) -> None:
        """Begin.

        Args:
            root: Where the system's files are.
            entered: Control groups that are asked instead of this process's own.
        """
        self._root, self._entered = root, entered
        self._began = time.monotonic()
        self._ticks = self._idle_and_all()
        self._quotas = ControlGroups(root, entered).quotas()

    def free_cores(self) -> float:
        """Cores that nobody used, within the limits of the control groups; some time must have passed."""
        now = self._idle_and_all()
        both = now.keys() & self._ticks.keys()  # One that came in between counts since the machine's start.
        idle, total = (sum(now[core][place] - self._ticks[core][place] for core in both) for place in (0, 1))
        there = len(os.sched_getaffinity(0))
        found = [there * idle / total if total > 0 else float(there)]
        seconds = max(time.monotonic() - self._began, 1e-3)
        before = {quota.folder: quota.used for quota in self._quotas}
        for quota in ControlGroups(self._root, self._entered).quotas():
            used, spent = before.get(quota.folder), 0.0
            if quota.used is not None and used is not None:
                spent = quota.used - used if quota.used >= used else quota.used  # One that was made anew counts anew.
            found.append(quota.cores - spent / seconds)
        return max(0.0, min(found))

    def _idle_and_all(self) -> dict[str, tuple[int, int]]:
        """Of each core that may be used, the ticks in which it did nothing, and all of them."""
        mine = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        found = {}
        for line in (text(self._root / "proc/stat") or "").splitlines():
            name, *values = line.split()
            if name in mine:
                ticks = [int(value) for value in values[:8]]  # What guests use is counted as their user's.
                found[name] = sum(ticks[3:5]), sum(ticks)
        return found


def _clock(root: Path, about: dict[str, str]) -> float | None:
    """Highest clock that the governor allows, in MHz; where none says so, as in a virtual machine, that of now."""
    folder = root / "sys/devices/system/cpu"
    allowed = [number(folder / f"cpu{core}/cpufreq/scaling_max_freq") for core in os.sched_getaffinity(0)]
    if found := [each for each in allowed if each]:
        return max(found) / 1000
    try:
        return float(about["cpu MHz"])
    except (KeyError, ValueError):
        return None


def _about(root: Path) -> dict[str, str]:
    """What /proc/cpuinfo says, of the first processor."""
    found: dict[str, str] = {}
    for line in (text(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    return found
