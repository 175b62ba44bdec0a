"""How a device usually is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudedge.documents.automl import DeviceState, QueuedJob, Resources
from cloudedge.errors import Conflict
from edge.database import connect
from edge.probes import telemetry
from edge.probes.telemetry import Telemetry

NOW = datetime.now(UTC)


def look(memory: int, at: datetime = NOW, *runtimes: float) -> DeviceState:
    origins = {"free_memory_cpu": "measured", "free_nodes_npu0": "absent"}
    source = Resources.model_validate({"free_nodes_cpu": 1, "free_memory_cpu": memory, "average_power": 0, "origins": origins})
    jobs = tuple(QueuedJob(runtime_cpu=each, energy_cpu=0, nodes_cpu=1, latency_limit=100) for each in runtimes)
    return DeviceState(jobs=jobs, resources=source, at=at)


def test_of_a_device_that_nobody_watched_nothing_is_known(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.db"
    assert Telemetry(path).usual() is None
    assert not path.exists()


def test_what_is_usual_are_looks_that_were_taken_and_nothing_between_them(tmp_path: Path) -> None:
    kept = Telemetry(tmp_path / "telemetry.db")
    for number in range(21):
        kept.keep(look(100 + number, NOW - timedelta(minutes=20 - number), *([2.0] * (number % 3))))
    found = kept.usual()
    assert found is not None
    assert (found.looks, found.since, found.until) == (21, NOW - timedelta(minutes=20), NOW)
    memory = found.figures["free_memory_cpu"]
    assert (memory.low, memory.median, memory.high) == (101, 110, 119)
    assert found.figures["waiting"].high == 2
    assert found.figures["backlog"].high == 4
    assert "free_nodes_npu0" not in found.figures  # There is none.


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=60))
def test_all_but_a_twentieth_of_the_looks_are_within(values: list[int]) -> None:
    spread = telemetry._spread([float(value) for value in values])
    assert {spread.low, spread.median, spread.high} <= set(values)
    assert spread.low <= spread.median <= spread.high
    assert sum(value < spread.low for value in values) <= 0.05 * len(values)
    assert sum(value > spread.high for value in values) <= 0.05 * len(values)


def test_what_is_older_than_a_week_or_dated_by_a_wrong_clock_does_not_count(tmp_path: Path) -> None:
    kept = Telemetry(tmp_path / "telemetry.db")
    for memory, days in ((1, -8), (2, -6), (3, 400), (4, -20_000)):
        kept.keep(look(memory, NOW + timedelta(days=days)))
    assert [each.resources.free_memory_cpu for each in kept.looks()] == [2]


def test_the_newest_looks_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "MOST", 3)
    kept = Telemetry(tmp_path / "telemetry.db")
    for memory in range(10):
        kept.keep(look(memory))
    assert [each.resources.free_memory_cpu for each in kept.looks()] == [7, 8, 9]


def test_what_another_version_wrote_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.db"
    connect(path, "CREATE TABLE looks (number INTEGER)", 7).close()
    with pytest.raises(Conflict, match="has version 7 of its tables"):
        Telemetry(path).usual()
