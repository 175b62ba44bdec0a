"""Limits of the control groups that this process, or another one, is in, of version 1, 2 or both beside each other.

https://docs.kernel.org/admin-guide/cgroup-v2.html and https://docs.kernel.org/admin-guide/cgroup-v1/. A group's limit holds for
all groups within it, so that each is asked from the process's own up to where the hierarchy is mounted.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from edge.probes.files import ROOT, number, table, text

_UNLIMITED = 2**60
"""Version 1 writes no limit of memory as about 2**63."""

_TOGETHER = "all"
"""The one hierarchy of version 2."""


class Quota(NamedTuple):
    """A group's limit of the processor.

    Attributes:
        folder: The group.
        cores: Cores that it may use at a time, on average.
        used: The processor's seconds that it has used; none: that is not told.
    """

    folder: Path
    cores: float
    used: float | None


class ControlGroups:
    """The groups of this process, or of one that enters others."""

    def __init__(self, root: Path = ROOT, entered: Sequence[str] = ()) -> None:
        """Find them.

        Args:
            root: Where the system's files are.
            entered: Folders of groups that are asked instead of the process's own, each where it is of the same hierarchy.
        """
        mounts, paths = _mounts(root), _paths(root)
        self._folders: dict[str, list[Path]] = {}
        for controller, path in paths.items():
            if controller in mounts:
                mounted, at = mounts[controller]
                self._folders[controller] = list(_upwards(path, mounted, root / at.relative_to("/")))
        for controller, (_, at) in mounts.items():
            top = _real(root, at)
            for group in entered:
                folder = _real(root, PurePosixPath(group))
                if folder.is_relative_to(top):
                    self._folders[controller] = list(_upwards(PurePosixPath(folder), PurePosixPath(top), top))

    def cores(self) -> float | None:
        """Cores that may be used at a time, on average; none: as many as there are."""
        return min((quota.cores for quota in self.quotas()), default=None)

    def quotas(self) -> list[Quota]:
        """Limits of the processor."""
        found: list[Quota] = []
        for folder in self._of("cpu"):
            quota, period = number(folder / "cpu.cfs_quota_us"), number(folder / "cpu.cfs_period_us")
            if quota and period and quota > 0:
                found.append(Quota(folder, quota / period, self._used(folder)))
        for folder in self._of(_TOGETHER):
            allowed = (text(folder / "cpu.max") or "max").split()
            if len(allowed) == 2 and allowed[0].isdigit():
                used = table(folder / "cpu.stat").get("usage_usec")
                found.append(Quota(folder, int(allowed[0]) / int(allowed[1]), None if used is None else used / 1e6))
        return found

    def memory(self) -> int | None:
        """Bytes that may be had at all; none: as many as there are."""
        return min((limit for _, limit, _, _ in self._memories()), default=None)

    def free_memory(self) -> int | None:
        """Bytes that may still be had; none: as many as there are. What it keeps of files makes room where it is needed."""
        found = (
            max(0, limit - used + table(folder / "memory.stat").get(kept, 0)) for folder, limit, used, kept in self._memories()
        )
        return min(found, default=None)

    def _memories(self) -> Iterator[tuple[Path, int, int, str]]:
        """Of each group that limits memory its folder, limit, use, and what of that makes room is called."""
        for controller, most, now, kept in (
            ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
            (_TOGETHER, "memory.max", "memory.current", "inactive_file"),
        ):
            for folder in self._of(controller):
                limit, used = number(folder / most), number(folder / now)
                if limit is not None and used is not None and limit < _UNLIMITED:
                    yield folder, limit, used, kept

    def _of(self, controller: str) -> list[Path]:
        return self._folders.get(controller, [])

    def _used(self, folder: Path) -> float | None:
        """Seconds that a group of version 1 has used; they are accounted beside, where they are not in the same place."""
        found = number(folder / "cpuacct.usage")
        if found is None:
            beside = [each for each in self._of("cpuacct") if each.name == folder.name]
            found = number(beside[0] / "cpuacct.usage") if beside else None
        return None if found is None else found / 1e9


def _mounts(root: Path) -> dict[str, tuple[PurePosixPath, PurePosixPath]]:
    """By controller the part of its hierarchy that is mounted, and where."""
    found: dict[str, tuple[PurePosixPath, PurePosixPath]] = {}
    for line in (text(root / "proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        place = PurePosixPath(fields[3]), PurePosixPath(fields[4])
        if kind[0] == "cgroup2":
            found.setdefault(_TOGETHER, place)
        elif kind[0] == "cgroup":
            for option in kind[2].split(","):
                found.setdefault(option, place)
    return found


def _paths(root: Path) -> dict[str, PurePosixPath]:
    """By controller the group of this process."""
    found = {}
    for line in (text(root / "proc/self/cgroup") or "").splitlines():
        number_of, controllers, path = line.split(":", 2)
        for controller in controllers.split(",") if controllers else [_TOGETHER]:
            if controllers or number_of == "0":
                found[controller] = PurePosixPath(path)
    return found


def _real(root: Path, path: PurePosixPath) -> Path:
    """A folder below the root without symbolic links; where one leads to itself, `Path.resolve` raises what nobody expects."""
    return Path(os.path.realpath(root / path.relative_to(path.anchor)))


def _upwards(path: PurePosixPath, mounted: PurePosixPath, at: Path) -> Iterator[Path]:
    """Folders of a group and of those around it. One outside of what is mounted, as in a container, is seen at its top."""
    below = path.relative_to(mounted) if path.is_relative_to(mounted) else PurePosixPath()
    for part in (below, *below.parents):
        yield at / part
