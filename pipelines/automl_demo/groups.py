"""Control groups with limits, of whichever version this machine has, so that one machine is several devices."""

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@contextmanager
def control_groups(name: str, cores: float, memory_bytes: int, period_ms: float = 100) -> Iterator[list[Path]]:
    """Groups whose processes get no more than that; those that are in them at the end are put out of them.

    Args:
        name: Of the groups.
        cores: Cores on average.
        memory_bytes: Main memory.
        period_ms: Within which the cores' time is counted, in milliseconds: the shorter, the more the processes go on as on a
            slow processor, instead of standing still for a long time. A group's time within it is at least a millisecond.

    Raises:
        OSError: there are none on this machine, or they are not for this user.
    """
    period, memory = round(period_ms * 1000), str(memory_bytes)
    quota = str(round(cores * period))
    wanted: Mapping[Path, Mapping[str, str]]
    if (ROOT / "cgroup.controllers").exists():
        wanted = {ROOT / name: {"cpu.max": f"{quota} {period}", "memory.max": memory}}
    else:
        wanted = {
            ROOT / "cpu" / name: {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": quota},
            ROOT / "memory" / name: {"memory.limit_in_bytes": memory},
        }
    made: list[Path] = []
    try:
        for group, limits in wanted.items():
            group.mkdir(exist_ok=True)
            made.append(group)
            for file, value in limits.items():
                (group / file).write_text(value)
        yield made
    finally:
        for group in made:
            for process in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):  # It may have ended just now.
                    (group.parent / "cgroup.procs").write_text(process)
            with contextlib.suppress(OSError):  # One that is left limits nobody.
                group.rmdir()


def remove_left_behind(prefix: str) -> None:
    """Remove the groups PREFIX-PID-... of processes that were killed, as far as nobody is in them any more."""
    for group in (*ROOT.glob(f"{prefix}-*"), *ROOT.glob(f"*/{prefix}-*")):
        process = group.name.removeprefix(f"{prefix}-").partition("-")[0]
        if not Path("/proc", process).exists():
            with contextlib.suppress(OSError):
                group.rmdir()
