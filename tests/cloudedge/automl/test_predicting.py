"""What a calibrated device says that candidates cost, on a made-up device whose costs are known."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from cloudedge.automl import costs
from cloudedge.automl.layers import layers_of
from cloudedge.automl.predicting import CalibratedPredictor, why_stale
from cloudedge.automl.space import networks, spec
from cloudedge.documents import DataFormat, parse
from cloudedge.documents.automl import Calibration, Candidate, Measurement, Processor, Smoothness
from cloudedge.errors import InvalidInput
from tests.cloudedge.automl.test_graph import a_format

DATA = a_format((1, 28, 28))
PROCESSOR = Processor(model="made up", cores=2, clock_mhz=1000)


def true_latency(candidate: Candidate) -> float:
    """Milliseconds: a start, each layer's, and multiplications, which are half as fast where channels are few."""
    layers = layers_of(spec(candidate), DATA)
    works = zip(layers.convolutions, costs.multiplications(layers), strict=False)
    return 0.02 + sum(0.005 + work / (2e8 if layer.outputs >= 16 else 1e8) * 1e3 for layer, work in works)


def true_memory(candidate: Candidate) -> int:
    layers = layers_of(spec(candidate), DATA)
    return 200_000 + 20_000 * candidate.layers + round(1.1 * costs.memory_bytes(layers))


def calibration(count: int = 100, **changes: Any) -> Calibration:
    chance = random.Random(0)
    chosen = chance.sample(list(networks().everything), count)
    measured = [
        Measurement(
            candidate=each,
            latency_ms=true_latency(each),
            busy_ms=true_latency(each) * chance.uniform(1, 3),
            memory_bytes=true_memory(each),
        )
        for each in chosen
    ]
    smooth = Smoothness(amplitude=0.3, noise=0.01, scales=(1.0, 1.0, 1.0, 1.0))
    values: dict[str, Any] = {
        "shape": (1, 28, 28),
        "dtype": "uint8",
        "shifted": False,
        "classes": 3,
        "processor": PROCESSOR,
        "threads": 1,
        "watts": 4.0,
        "watts_origin": "measured",
        "measurements": measured,
        "latency": smooth,
        "memory": smooth,
        "at": datetime.now(UTC),
        "seconds": 10,
    }
    return Calibration.model_validate(values | changes)


def unseen(found: Calibration) -> list[Candidate]:
    seen = {each.candidate for each in found.measurements}
    return [each for each in networks().everything if each not in seen]


def test_unseen_networks_are_predicted_with_their_bound_memory_and_energy() -> None:
    found = calibration()
    predictor = CalibratedPredictor(found)
    asked = unseen(found)
    predicted = [predictor.costs(each, DATA) for each in asked]
    errors = sorted(abs(each.latency_ms / true_latency(of) - 1) for each, of in zip(predicted, asked, strict=True))
    assert errors[len(errors) // 2] < 0.03
    assert errors[int(0.95 * len(errors))] < 0.15
    off = sorted(abs(each.memory_bytes / true_memory(of) - 1) for each, of in zip(predicted, asked, strict=True))
    assert off[int(0.95 * len(off))] < 0.1
    assert all(each.energy_joules == pytest.approx(each.latency_ms * 0.004) for each in predicted)
    assert {each.origin for each in predicted} == {"estimated"}
    chance = random.Random(1)
    kept = [true_latency(of) * chance.uniform(1, 3) <= each.latency_bound_ms for each, of in zip(predicted, asked, strict=True)]
    assert sum(kept) / len(kept) >= 0.85
    assert max(each.latency_bound_ms / true_latency(of) for each, of in zip(predicted, asked, strict=True)) < 4


def test_a_calibration_that_was_kept_tells_the_same() -> None:
    found = calibration()
    again = parse(Calibration, found.to_json(), "it")
    one = Candidate(layers=3, filters=16, kernel=3)
    assert CalibratedPredictor(again).costs(one, DATA) == CalibratedPredictor(found).costs(one, DATA)


def test_without_meter_and_measured_memory_energy_is_not_known_and_memory_is_by_rule() -> None:
    unweighed = tuple(each.model_copy(update={"memory_bytes": None}) for each in calibration().measurements)
    predictor = CalibratedPredictor(calibration(measurements=unweighed, watts=None, watts_origin="absent", memory=None))
    one = Candidate(layers=3, filters=16, kernel=3)
    found = predictor.costs(one, DATA)
    assert found.energy_joules is None
    assert found.memory_bytes == costs.memory_bytes(layers_of(spec(one), DATA))


def test_samples_of_another_form_and_too_few_measurements_are_refused() -> None:
    predictor = CalibratedPredictor(calibration())
    for other in (a_format((1, 32, 32)), a_format((1, 28, 28), "float32"), a_format((1, 28, 28), offset=3)):
        with pytest.raises(InvalidInput, match="Calibrate it for these: cloudedge-edge calibrate"):
            predictor.costs(Candidate(layers=1, filters=4, kernel=1), other)
    many = DataFormat.model_validate(DATA.model_dump() | {"classes": ("a", "b")})
    with pytest.raises(InvalidInput, match="2 classes"):
        predictor.costs(Candidate(layers=1, filters=4, kernel=1), many)
    with pytest.raises(InvalidInput, match="10 are needed"):
        CalibratedPredictor(calibration(9))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"clock_mhz": 1020}, None),
        ({"clock_mhz": None}, None),
        ({"clock_mhz": 800}, "highest clock is 800 MHz"),
        ({"cores": 0.5}, "0.5 cores may be used"),
        ({"model": "another"}, "the processor is another"),
    ],
)
def test_a_calibration_holds_for_the_processor_that_it_was_made_on(changes: dict[str, Any], words: str | None) -> None:
    found = why_stale(calibration(10), PROCESSOR.model_copy(update=changes), 1)
    assert (found is None) if words is None else words in (found or "")


def test_a_calibration_holds_for_its_number_of_threads() -> None:
    assert "compute with 2 threads" in (why_stale(calibration(10), PROCESSOR, 2) or "")


def test_where_the_memory_of_few_networks_was_measured_no_network_is_thought_to_take_less_than_the_runtime_does() -> None:
    measured = calibration()
    few = [
        each if place < 3 else each.model_copy(update={"memory_bytes": None})
        for place, each in enumerate(measured.measurements)
    ]
    predictor = CalibratedPredictor(measured.model_copy(update={"measurements": tuple(few), "memory": None}))
    for candidate in networks().everything:
        least = costs.memory_bytes(layers_of(spec(candidate), DATA)) + 200_000
        assert predictor.costs(candidate, DATA).memory_bytes >= least
