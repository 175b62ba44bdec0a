"""Limits of control groups, as each version writes them."""

from pathlib import Path

from edge.probes.cgroups import ControlGroups
from tests.edge.probes.trees import tree

MIB = 2**20
UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw"
SEPARATE = (
    "1 2 0:3 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "2 2 0:4 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "3 2 0:5 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
)
"""Where the hierarchies are mounted: the one of version 2, or those of version 1 beside it."""


def machine(root: Path, mounts: str, own: str, files: dict[str, str]) -> Path:
    """A machine with a process in some groups, and files below where the hierarchies are mounted."""
    groups = {f"sys/fs/cgroup/{name}": content for name, content in files.items()}
    return tree(root, {"proc/self/mountinfo": mounts, "proc/self/cgroup": own, **groups})


def entering(folder: Path) -> Path:
    """A machine whose runner is in one group, and whose work enters another one."""
    files = {
        "runner/cpu.max": "10000 100000",
        "jobs/cpu.max": "150000 100000",
        "jobs/memory.max": str(100 * MIB),
        "jobs/memory.current": str(30 * MIB),
    }
    return machine(folder, UNIFIED, "0::/runner", files)


def test_version_2_limits_hold_from_the_innermost_group_outwards(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        UNIFIED,
        "0::/pods/one",
        {
            "pods/one/cpu.max": "max 100000",
            "pods/one/memory.max": str(512 * MIB),
            "pods/one/memory.current": str(300 * MIB),
            "pods/one/memory.stat": f"anon 5\ninactive_file {100 * MIB}\n",
            "pods/cpu.max": "150000 100000",
            "pods/cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
            "pods/memory.max": "max",
            "pods/memory.current": str(900 * MIB),
        },
    )
    found = ControlGroups(root)
    assert found.cores() == 1.5
    assert [quota[1:] for quota in found.quotas()] == [(1.5, 2.5)]
    assert found.free_memory() == 312 * MIB


def test_version_1_limits_are_read_from_their_own_hierarchies(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        SEPARATE,
        "5:cpu,cpuacct:/box\n4:memory:/box\n1:name=systemd:/\n0::/",
        {
            "cpu,cpuacct/box/cpu.cfs_quota_us": "50000",
            "cpu,cpuacct/box/cpu.cfs_period_us": "100000",
            "cpu,cpuacct/box/cpuacct.usage": "1500000000",
            "cpu,cpuacct/cpu.cfs_quota_us": "-1",
            "memory/box/memory.limit_in_bytes": str(256 * MIB),
            "memory/box/memory.usage_in_bytes": str(200 * MIB),
            "memory/box/memory.stat": f"total_inactive_file {50 * MIB}",
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "memory/memory.usage_in_bytes": str(800 * MIB),
        },
    )
    found = ControlGroups(root)
    assert [quota[1:] for quota in found.quotas()] == [(0.5, 1.5)]
    assert found.free_memory() == 106 * MIB


def test_in_a_container_the_own_group_is_what_is_mounted(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "30 23 0:26 /kubepods/pod7 /sys/fs/cgroup ro - cgroup2 cgroup ro",
        "0::/kubepods/pod7",
        {
            "cpu.max": "20000 100000",
        },
    )
    assert ControlGroups(root).cores() == 0.2


def test_groups_that_work_enters_are_asked_instead_of_those_that_the_runner_is_in(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        SEPARATE,
        "5:cpu,cpuacct:/runner\n4:memory:/runner",
        {
            "cpu,cpuacct/runner/cpu.cfs_quota_us": "90000",
            "cpu,cpuacct/runner/cpu.cfs_period_us": "100000",
            "cpu,cpuacct/jobs/small/cpu.cfs_quota_us": "50000",
            "cpu,cpuacct/jobs/small/cpu.cfs_period_us": "100000",
            "cpu,cpuacct/jobs/small/cpuacct.usage": "1500000000",
            "cpu,cpuacct/jobs/cpu.cfs_quota_us": "70000",
            "cpu,cpuacct/jobs/cpu.cfs_period_us": "100000",
            "memory/runner/memory.limit_in_bytes": str(64 * MIB),
            "memory/runner/memory.usage_in_bytes": "0",
        },
    )
    (root / "sys/fs/cgroup/cpu").symlink_to("cpu,cpuacct")
    found = ControlGroups(root, ["/sys/fs/cgroup/cpu/jobs/small"])
    assert [quota[1:] for quota in found.quotas()] == [(0.5, 1.5), (0.7, None)]
    assert found.free_memory() == 64 * MIB  # No group of that kind is entered.


def test_a_group_of_version_2_that_work_enters_is_asked_instead(tmp_path: Path) -> None:
    found = ControlGroups(entering(tmp_path), ["/sys/fs/cgroup/jobs"])
    assert (found.cores(), found.memory(), found.free_memory()) == (1.5, 100 * MIB, 70 * MIB)


def test_folders_that_are_no_groups_change_nothing(tmp_path: Path) -> None:
    root = entering(tmp_path)
    (root / "loop").symlink_to("loop")
    assert ControlGroups(root, ["/loop", "/elsewhere"]).cores() == 0.1
    assert ControlGroups(root, ["//sys/fs/cgroup/jobs"]).cores() == 1.5  # As the system understands it.


def test_without_control_groups_nothing_is_limited(tmp_path: Path) -> None:
    found = ControlGroups(tmp_path)
    assert (found.cores(), found.quotas(), found.free_memory()) == (None, [], None)
