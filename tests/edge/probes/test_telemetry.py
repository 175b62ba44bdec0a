"""How a device usually is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudedge.documents.automl import DeviceDescription
from cloudedge.errors import Conflict, StoreFailed
from edge.database import connect
from edge.probes import telemetry
from edge.probes.resources import conditions
from edge.probes.telemetry import Telemetry
from tests.edge.probes.trees import tree

NOW = datetime.now(UTC)
HERE = "the conditions of now"


@pytest.fixture
def kept(tmp_path: Path) -> Telemetry:
    return Telemetry(tmp_path / "telemetry.db")


def test_of_a_device_that_nobody_watched_nothing_is_known(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.db"
    assert Telemetry(path).usual(HERE) is None
    assert not path.exists()


def test_what_is_usual_are_looks_that_were_taken_and_nothing_between_them(kept: Telemetry) -> None:
    for number in range(21):
        kept.note({"free_memory_cpu": 100.0 + number}, HERE, NOW - timedelta(minutes=20 - number))
    found = kept.usual(HERE)
    assert found is not None
    assert (found.looks, found.since, found.until) == (21, NOW - timedelta(minutes=20), NOW)
    memory = found.figures["free_memory_cpu"]
    assert (memory.looks, memory.low, memory.median, memory.high) == (21, 101, 110, 119)


def test_a_figure_that_was_not_always_known_is_spread_over_the_looks_that_know_it(kept: Telemetry) -> None:
    for figures in ({"waiting": 0.0}, {"waiting": 2.0, "average_power": 20.0}, {"waiting": 2.0}):
        kept.note(figures, HERE, NOW)
    found = kept.usual(HERE)
    assert found is not None
    power = found.figures["average_power"]
    assert (power.looks, power.low, power.high) == (1, 20, 20)
    assert (found.figures["waiting"].looks, found.figures["waiting"].low) == (3, 0)


def test_looks_under_other_conditions_do_not_count(kept: Telemetry) -> None:
    kept.note({"free_memory_cpu": 1}, "others", NOW)
    assert kept.usual(HERE) is None
    kept.note({"free_memory_cpu": 1000}, HERE, NOW)
    found = kept.usual(HERE)
    assert found is not None
    assert found.figures["free_memory_cpu"].low == 1000


def test_conditions_are_others_where_the_description_the_machine_or_a_groups_limit_is(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/one"
    files = {
        "proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 600 kB\n",
        "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
        "proc/self/cgroup": "0::/one",
        f"{group}/memory.max": "500000",
        f"{group}/memory.current": "1000",
        f"{group}/cpu.max": "10000 100000",
    }
    root = tree(tmp_path, files)
    found = [conditions(None, root)]
    tree(root, {"proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 300 kB\n", f"{group}/memory.current": "2000"})
    assert conditions(None, root) == found[0]  # What changes by itself is no condition.
    for changed in (
        {"proc/meminfo": "MemTotal: 2000 kB\n"},
        {f"{group}/memory.max": "600000"},
        {f"{group}/cpu.max": "20000 100000"},
    ):
        found.append(conditions(None, tree(root, changed)))
    found += [conditions(DeviceDescription(memory_bytes=memory), root) for memory in (1000, 2000)]
    assert len(set(found)) == 6


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=60))
def test_all_but_a_twentieth_of_the_looks_are_within(values: list[int]) -> None:
    spread = telemetry._spread([float(value) for value in values])
    assert {spread.low, spread.median, spread.high} <= set(values)
    assert spread.low <= spread.median <= spread.high
    assert sum(value < spread.low for value in values) <= 0.05 * len(values)
    assert sum(value > spread.high for value in values) <= 0.05 * len(values)


def test_what_is_older_than_a_week_or_dated_by_a_wrong_clock_does_not_count(kept: Telemetry) -> None:
    for memory, days in ((1, -8), (2, -6), (3, 400), (4, -20_000)):
        kept.note({"free_memory_cpu": memory}, HERE, NOW + timedelta(days=days))
    assert [figures for _, figures in kept.looks(HERE)] == [{"free_memory_cpu": 2}]


def test_the_newest_looks_are_kept(kept: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "MOST", 3)
    for memory in range(10):
        kept.note({"free_memory_cpu": memory}, HERE, NOW)
    assert [figures["free_memory_cpu"] for _, figures in kept.looks(HERE)] == [7, 8, 9]


def test_what_another_version_wrote_is_refused(kept: Telemetry, tmp_path: Path) -> None:
    connect(tmp_path / "telemetry.db", "CREATE TABLE looks (number INTEGER)", 7).close()
    with pytest.raises(Conflict, match="has version 7 of its tables"):
        kept.usual(HERE)


def test_whoever_holds_the_file_is_not_waited_for_long(kept: Telemetry, tmp_path: Path) -> None:
    kept.note({"waiting": 0}, HERE, NOW)
    other = connect(tmp_path / "telemetry.db", "", 1)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreFailed, match="database is locked"):
        kept.note({"waiting": 1}, HERE, NOW)
    other.execute("ROLLBACK")
    other.close()
    kept.note({"waiting": 1}, HERE, NOW)
    assert len(kept.looks(HERE)) == 2
