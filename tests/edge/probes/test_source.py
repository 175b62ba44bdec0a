"""Source: what a device has to give, and where each figure comes from."""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from cloudedge.documents.automl import DeviceDescription
from edge.probes.accelerators import accelerators
from edge.probes.power import EnergyMeter, device_watts, inference_watts
from edge.probes.processor import Load, processor
from edge.probes.resources import resources
from tests.edge.probes.trees import tree

ACCELERATOR = {"name": "Ascend 310", "nodes": 2, "memory_bytes": 8_000_000_000, "speed": 10, "watts": 8}


def test_this_machine_tells_its_processor_its_memory_and_where_they_come_from() -> None:
    found = resources(period=0.05)
    assert processor().model
    assert 0 < processor().cores <= len(os.sched_getaffinity(0))
    assert 0 <= found.free_nodes_cpu <= processor().cores
    assert found.free_memory_cpu > 0
    assert found.origins["free_nodes_cpu"] == found.origins["free_memory_cpu"] == "measured"
    assert set(found.origins) == {
        *(f"free_{what}_{where}" for what in ("nodes", "memory") for where in ("cpu", "npu0", "npu1")),
        "average_power",
    }


def test_the_clock_is_the_highest_that_is_allowed_and_else_that_of_now(tmp_path: Path) -> None:
    tree(tmp_path, {"proc/cpuinfo": "processor : 0\nmodel name : A board\ncpu MHz : 900.5\n"})
    assert processor(tmp_path).clock_mhz == 900.5
    core = min(os.sched_getaffinity(0))
    tree(tmp_path, {f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_max_freq": "1500000"})
    assert (processor(tmp_path).model, processor(tmp_path).clock_mhz) == ("A board", 1500.0)


def test_a_board_without_a_name_in_cpuinfo_has_that_of_its_device_tree(tmp_path: Path) -> None:
    tree(tmp_path, {"proc/cpuinfo": "processor : 0\nBogoMIPS : 108.00\n", "proc/device-tree/model": "Raspberry Pi 5\0"})
    assert processor(tmp_path).model == "Raspberry Pi 5"


def test_cores_that_nobody_used_are_free_within_the_quota(tmp_path: Path) -> None:
    mine = sorted(os.sched_getaffinity(0))
    before = "".join(f"cpu{core} 100 0 0 100 0 0 0 0 0 0\n" for core in mine)
    load = Load(tree(tmp_path, {"proc/stat": f"cpu 0 0 0 0\n{before}cpu999 9 9 9 9 0 0 0 0\n"}))
    after = "".join(f"cpu{core} 125 0 0 175 0 0 0 0 0 0\n" for core in mine)
    tree(tmp_path, {"proc/stat": f"cpu 0 0 0 0\n{after}cpu999 9 9 9 9 0 0 0 0\n"})
    assert load.free_cores() == pytest.approx(0.75 * len(mine))


def test_a_group_that_was_made_anew_meanwhile_gives_no_more_than_its_quota(tmp_path: Path) -> None:
    group = "sys/fs/cgroup"
    files = {
        "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
        "proc/self/cgroup": "0::/one",
        f"{group}/one/cpu.max": "30000 100000",
        f"{group}/one/cpu.stat": "usage_usec 900000000",
    }
    load = Load(tree(tmp_path, files))
    tree(tmp_path, {f"{group}/one/cpu.stat": "usage_usec 0"})
    assert load.free_cores() == pytest.approx(0.3)
    tree(tmp_path, {f"{group}/cpu.max": "20000 100000", f"{group}/cpu.stat": "usage_usec 900000000"})
    assert load.free_cores() == pytest.approx(0.2)  # Of one that was not there before, it is not known what it used.


def test_a_meter_that_begins_anew_several_times_is_read_in_between(tmp_path: Path) -> None:
    zone = "sys/class/powercap/intel-rapl:0"
    before = time.monotonic()
    meter = EnergyMeter(tree(tmp_path, {f"{zone}/energy_uj": "0", f"{zone}/max_energy_range_uj": "1000000"}))
    for microjoules in (900_000, 700_000, 500_000, 300_000):
        tree(tmp_path, {f"{zone}/energy_uj": str(microjoules)})
        meter.read()
    watts = meter.watts()
    assert watts is not None
    assert watts * (time.monotonic() - before) >= 3.3


def test_power_is_read_off_whole_processors_across_the_end_of_a_counter(tmp_path: Path) -> None:
    zones = "sys/class/powercap"
    files = {
        f"{zones}/intel-rapl:0/name": "package-0",
        f"{zones}/intel-rapl:0/energy_uj": "900000",
        f"{zones}/intel-rapl:0/max_energy_range_uj": "1000000",
        f"{zones}/intel-rapl:0:0/name": "core",
        f"{zones}/intel-rapl:0:0/energy_uj": "5",
        f"{zones}/intel-rapl:1/name": "psys",
        f"{zones}/intel-rapl:1/energy_uj": "5",
        f"{zones}/intel-rapl-mmio:0/name": "package-0",
        f"{zones}/intel-rapl-mmio:0/energy_uj": "5",
    }
    before = time.monotonic()
    meter = EnergyMeter(tree(tmp_path, files))
    after = time.monotonic()
    others = (f"{zones}/intel-rapl{name}/energy_uj" for name in (":0:0", ":1", "-mmio:0"))
    tree(tmp_path, {f"{zones}/intel-rapl:0/energy_uj": "400000"} | dict.fromkeys(others, "900000000"))
    last = time.monotonic()
    watts, origin = device_watts(meter, None, 1.0)
    assert origin == "measured"
    # Half a joule since then: what is within the processor, or holds it, is not counted again.
    assert 0.5 / (time.monotonic() - before) <= watts <= 0.5 / (last - after)


def test_without_a_meter_power_is_estimated_from_a_description_and_else_absent(tmp_path: Path) -> None:
    meter = EnergyMeter(tmp_path)
    described = DeviceDescription(idle_watts=2, busy_watts=6)
    assert device_watts(meter, described, 0.5) == (4.0, "estimated")
    assert inference_watts(meter, described, 4, 1) == (3.0, "estimated")
    assert device_watts(meter, DeviceDescription(idle_watts=2), 0.5) == (0.0, "absent")
    assert inference_watts(meter, None, 4, 1) == (None, "absent")


def test_accelerators_are_those_of_drivers_and_then_those_that_are_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    card = "sys/class/drm/card1/device"
    files = {
        f"{card}/gpu_busy_percent": "25",
        f"{card}/mem_info_vram_total": "8000",
        f"{card}/mem_info_vram_used": "3000",
        "sys/class/drm/card0-HDMI-A-1/status": "connected",
        "sys/class/accel/accel0/device/npu_busy_time_us": "70",
    }
    description = DeviceDescription.model_validate({"accelerators": [ACCELERATOR]})
    found = accelerators(description, 0.001, tree(tmp_path, files))
    assert found == [("AMD GPU", 0.75, 5000, "measured"), ("Intel NPU", 1, 0, "measured")]
    assert accelerators(description, 0.001, tmp_path / "none") == [("Ascend 310", 2, 8_000_000_000, "described")]


def test_graphics_processors_of_nvidia_are_told_by_its_own_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def used(device: int) -> SimpleNamespace:
        if device == 0:
            raise RuntimeError("Not Supported")  # As one that is divided says.
        return SimpleNamespace(gpu=25 * device)

    driver = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 4,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetUtilizationRates=used,
        nvmlDeviceGetNumGpuCores=lambda device: 1000,
        nvmlDeviceGetMemoryInfo=lambda device: SimpleNamespace(free=7),
        nvmlDeviceGetName=lambda device: "A GPU",
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    found = accelerators(root=tmp_path)
    assert found == [("A GPU", 750, 7, "measured"), ("A GPU", 500, 7, "measured")]


def test_what_a_search_may_count_on_is_no_more_than_is_described_and_no_more_than_there_is() -> None:
    small = resources(DeviceDescription(cores=0, memory_bytes=1000), period=0.01)
    assert (small.free_nodes_cpu, small.free_memory_cpu) == (0, 1000)
    large = resources(DeviceDescription(cores=1e6, memory_bytes=2**50), period=0.01)
    assert large.free_memory_cpu < 2**50
    assert large.origins["free_memory_cpu"] == "measured"
