"""Measuring what networks cost on this machine. No figure is compared with a time: other work may be at it."""

from pathlib import Path

import numpy as np
import psutil
import pytest

from cloudedge.automl import costs
from cloudedge.automl.graph import drawn, written
from cloudedge.automl.layers import layers_of
from cloudedge.automl.predicting import CalibratedPredictor
from cloudedge.automl.space import networks, spec
from cloudedge.documents.automl import Calibration, Candidate, DeviceDescription
from cloudedge.errors import InvalidDocument, InvalidInput, StoreFailed, WorkFailed
from edge.calibration import calibrating, checking, keeping
from edge.calibration.calibrating import calibrate, measured_costs
from edge.calibration.footprint import footprints
from edge.calibration.measuring import Measured, Times
from edge.calibration.neighbour import busy_neighbour
from edge.folders import Folders
from edge.probes.description import description_of
from edge.probes.processor import processor
from tests.cloudedge.automl.test_graph import a_format
from tests.cloudedge.automl.test_predicting import calibration
from tests.waiting import until

DATA = a_format((1, 12, 12))
SMALL = Candidate(layers=1, filters=4, kernel=1)
LARGE = Candidate(layers=4, filters=64, kernel=7)


def a_file(candidate: Candidate) -> bytes:
    return written(spec(candidate), DATA, drawn(spec(candidate), DATA))


def test_a_larger_network_takes_longer_and_its_quickest_inference_no_more_than_its_median() -> None:
    small, large = (Measured(a_file(each)).alone() for each in (SMALL, LARGE))
    assert 0 < small.computing < large.computing
    for times in (small, large):
        assert times.all.min() <= times.median <= np.quantile(times.all, 0.95) == times.most


def test_an_inference_takes_its_weights_its_activations_and_what_the_runtime_keeps() -> None:
    with footprints() as memory:
        small, large = (memory.of(a_file(each)) for each in (SMALL, LARGE))
    more = costs.memory_bytes(layers_of(spec(LARGE), DATA)) - costs.memory_bytes(layers_of(spec(SMALL), DATA))
    assert small < 1_000_000
    assert 0.9 * more < large - small < 1.6 * more


def test_memory_of_what_is_no_network_is_not_told() -> None:
    with footprints() as memory:
        with pytest.raises(WorkFailed, match="could not be run to measure its memory"):
            memory.of(b"nothing")
        assert memory.of(a_file(SMALL)) > 0


def test_a_neighbour_is_busy_as_long_as_it_is_wanted() -> None:
    before = set(psutil.Process().children())
    with busy_neighbour():
        (neighbour,) = set(psutil.Process().children()) - before
        began = neighbour.cpu_times().user
        until(lambda: neighbour.cpu_times().user > began + 0.1)
    assert not neighbour.is_running()


def test_a_device_is_calibrated_by_candidates_that_it_may_measure_and_within_its_time() -> None:
    kept_back = list(networks().everything)[::2]
    told: list[tuple[str, int, int]] = []
    found = calibrate(
        DATA,
        candidates=list(networks().everything)[1::14],
        description=DeviceDescription(idle_watts=2, busy_watts=2),
        seconds=100,
        say=lambda *said: told.append(said),
    )
    measured = {each.candidate for each in found.measurements}
    assert not measured & set(kept_back)
    assert 10 <= len(measured) <= 15
    assert sum(each.busy_ms is not None for each in found.measurements) >= 10
    assert {phase for phase, _, _ in told} >= {"latency", "beside a neighbour"}
    assert (found.watts, found.watts_origin) in [(2, "estimated"), (found.watts, "measured")]
    predictor = CalibratedPredictor(found)
    small, large = (predictor.costs(each, DATA) for each in (SMALL, LARGE))
    assert small.latency_ms < large.latency_ms
    assert small.memory_bytes < large.memory_bytes
    assert all(each.latency_bound_ms >= each.latency_ms for each in (small, large))


def test_a_device_that_is_too_slow_is_no_device_that_is_calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "LEAST_MEASUREMENTS", 1000)
    monkeypatch.setattr(calibrating, "MOST_SECONDS", 2)
    with pytest.raises(WorkFailed, match=r"networks are quick enough here to be measured within 1 s; 1000 are needed\."):
        calibrate(DATA, seconds=2)


def test_a_slow_device_that_has_little_time_is_calibrated_by_the_fewest_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their inferences are told as longer than a short calibration has for one, but not than three minutes have."""

    class Slow:
        def __init__(self, content: bytes, threads: int) -> None:
            self._times = Times(50.0, 50.0, 60.0, np.array([50.0]))

        def alone(self) -> Times:
            return self._times

        beside = alone

    monkeypatch.setattr(calibrating, "Measured", Slow)

    found = calibrate(DATA, seconds=1)

    assert len(found.measurements) >= 10
    assert all(each.latency_ms == 50 for each in found.measurements)


def test_a_folder_for_temporary_files_that_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "full"))

    with pytest.raises(StoreFailed, match=rf"^Cannot write {tmp_path / 'full'}: "):
        calibrate(DATA, seconds=1)


def test_a_trained_network_is_measured_by_the_file_that_is_delivered() -> None:
    found = measured_costs(a_file(SMALL), description=DeviceDescription(busy_watts=3))
    assert found.origin == "measured"
    assert 0 < found.latency_ms <= found.latency_bound_ms
    assert found.memory_bytes > costs.memory_bytes(layers_of(spec(SMALL), DATA))
    assert found.energy_joules


def test_a_calibration_is_made_once_and_anew_where_it_is_asked_for_or_the_threads_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def made_up(*_: object, threads: int, **options: object) -> Calibration:
        asked.append(threads)
        return calibration(10, processor=processor(), threads=threads)

    monkeypatch.setattr(keeping, "calibrate", made_up)
    folders, data = Folders(tmp_path), a_format((1, 28, 28))
    first = keeping.calibrated(folders, data)
    assert keeping.calibrated(folders, data) == first._replace(now=False)
    assert (asked, first.now, first.why) == ([1], True, "")
    assert [path.name for path in folders.calibrations.iterdir()] == ["1x28x28-uint8-3.json"]
    assert "compute with 2 threads" in keeping.calibrated(folders, data, threads=2).why
    keeping.calibrated(folders, data, threads=2, anew=True)
    assert asked == [1, 2, 2]
    (folders.calibrations / "other.json").write_text("{}")
    assert len(keeping.kept(folders)) == 1


class Scripted:
    """Networks that take so many times as long as they did, look after look; the last one for ever."""

    def __init__(self, *looks: tuple[float, float]) -> None:
        self.looks, self.asked, self.loaded = looks, 0, 0
        self.calibration = calibration(12, threads=1)

    def load(self, _: bytes, threads: int) -> "Scripted":
        assert threads == 1
        self.loaded += 1
        return self

    def alone(self) -> Times:
        return self._times(0)

    def beside(self) -> Times:
        return self._times(1)

    def _times(self, kind: int) -> Times:
        chosen = sorted(self.calibration.measurements, key=lambda each: each.latency_ms)[3::3][self.asked % 3]
        factor = self.looks[min(self.asked // 6, len(self.looks) - 1)][kind]
        self.asked += 1
        alone, busy = chosen.latency_ms * factor, (chosen.busy_ms or 0) * factor
        return Times(alone, alone, busy, np.array([alone]))


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ([(1.05, 1.4)], None),
        ([(0.95, 0.7)], None),
        ([(1.3, 1.0), (1.0, 1.0)], None),
        ([(1.3, 1.0)], "an inference takes 1.3 times as long as on "),
        ([(0.5, 1.0)], "an inference takes 0.5 times as long as on "),
        ([(1.0, 3.0)], "an inference beside a busy neighbour takes 3 times as long as on "),
        ([(1.0, 0.4)], "an inference beside a busy neighbour takes 0.4 times as long as on "),
    ],
)
def test_a_calibration_holds_no_more_once_networks_take_clearly_longer_or_shorter_twice_in_a_row(
    monkeypatch: pytest.MonkeyPatch, looks: list[tuple[float, float]], said: str | None
) -> None:
    scripted = Scripted(*looks)
    monkeypatch.setattr(checking, "Measured", scripted.load)
    told: list[tuple[str, int, int]] = []
    found = checking.why_otherwise(scripted.calibration, a_format((1, 28, 28)), lambda *step: told.append(step))
    assert found is None if said is None else found is not None and found.startswith(said)
    assert told[:6] == [("once more", done, 6) for done in range(1, 7)]


def test_a_description_that_is_none_is_refused_with_its_faults(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    assert description_of(folders) is None
    folders.description.write_text('{"busy_wats": 3}')
    with pytest.raises(InvalidDocument, match="busy_wats"):
        description_of(folders)


def test_samples_that_are_no_images_are_refused_before_anything_is_measured() -> None:
    with pytest.raises(InvalidInput, match="The search is for images"):
        calibrate(a_format((5,)))
