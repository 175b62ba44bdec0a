"""The work of an order to search: from what the device can bear to the file that is delivered."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloudedge.automl.meta.files import CARD, SHIPPED
from cloudedge.automl.meta.training import examples
from cloudedge.automl.screen import broken
from cloudedge.deployable.checking import check
from cloudedge.deployable.session import Session
from cloudedge.documents import Phase, parse
from cloudedge.documents.automl import Candidate, Costs, DeviceDescription, Limits
from cloudedge.documents.deployable import Deployable
from cloudedge.errors import InvalidInput, InvalidSamples, WorkFailed
from edge.calibration.calibrating import measured_costs
from edge.calibration.keeping import kept
from edge.folders import Folders
from edge.kinds import search as kind
from edge.probes.resources import conditions
from edge.probes.telemetry import Telemetry
from edge.searches import training
from edge.searches.trace import Searches
from tests.edge.searches.digits import (
    LIMITS,
    SIZE,
    TRAINING,
    Searching,
    calibration,
    keep_calibration,
    order_of,
    write_digits,
)
from tests.edge.site import Site
from tests.edge.tools.test_device_tools import edge

pytestmark = pytest.mark.timeout(900)  # This machine is calibrated by whichever test is the first.


@pytest.fixture
def searching(tmp_path: Path) -> Searching:
    """A device that was calibrated, with samples."""
    site = Site(tmp_path)
    write_digits(site.samples)
    keep_calibration(site)
    return Searching(site)


def test_the_best_candidate_that_keeps_the_limits_is_delivered_as_the_file_that_was_measured(searching: Searching) -> None:
    order = order_of(searching.site, limits=LIMITS)
    result = searching.do(order)
    record = searching.record(order)
    assert record.row is not None
    assert record.row.best is not None
    trained = [trial for trial in record.row.trials if trial.accuracy is not None]
    best = record.row.trials[record.row.best]
    assert result.trained == len(trained) == 3
    *_, (progress, gauges) = ((said.progress, said.gauges) for said in searching.said if said.progress)
    assert [(stream.name, stream.done, stream.total) for stream in progress] == [("trials", 3, 3)]
    assert gauges == {"best": result.accuracy}
    assert result.accuracy == best.accuracy == max(trial.accuracy or 0 for trial in trained)
    assert result.accuracy > 0.5  # By chance a tenth is right.
    assert result.costs is not None
    assert result.costs.origin == "measured"
    assert not broken(result.costs, record.limits)
    assert len(record.predictions) == len({prediction.candidate for prediction in record.predictions}) == 200
    deployable = parse(Deployable, searching.made(order, "deployable.json").read_bytes(), "deployable")
    check(searching.made(order, "model.onnx"), deployable)
    assert (deployable.sha256, deployable.classes) == (result.sha256, tuple("0123456789"))
    assert deployable.lineage.edge == "edge-1"
    images = np.zeros((3, *deployable.inputs[0].shape[1:]), np.uint8)
    outputs = Session(searching.made(order, "model.onnx"), deployable).infer({deployable.inputs[0].name: images})
    assert outputs["probabilities"].shape == (3, 10)
    assert deployable.image is not None
    assert deployable.image.height == SIZE
    assert searching.manifest(order).outputs.keys() == {"search", "model", "deployable"}


def test_a_site_engineer_sees_the_searches_of_a_device(searching: Searching) -> None:
    order = order_of(searching.site, limits=LIMITS, trials=1)
    result = searching.do(order)
    (told,) = edge("device", "--state", searching.site.state, "--json").json["searches"]
    assert (told["order"], told["by"], told["trained"], told["limit_ms"]) == (order.id, "meta", 1, 1000.0)
    assert result.costs is not None
    assert (told["accuracy"], told["latency_bound_ms"]) == (result.accuracy, result.costs.latency_bound_ms)
    assert order.id in edge("device", "--state", searching.site.state).out


def test_how_the_device_usually_is_limits_the_model_and_is_kept_with_the_search(searching: Searching) -> None:
    telemetry, now = Telemetry(Folders(searching.site.state).telemetry), datetime.now(UTC)
    for quarters in range(200):
        telemetry.note({"free_memory_cpu": 10}, conditions(None), now - timedelta(minutes=15 * quarters))
    order = order_of(searching.site, limits=LIMITS, trials=1)
    result = searching.do(order)
    record = searching.record(order)
    assert record.state.usual is not None
    assert record.state.usual.looks == 200
    assert record.limits.memory_bytes == 10
    assert result.nothing is not None
    assert result.nothing.why["memory"] == "free on the device at 95% of the moments of the last 2 days"


def test_each_epoch_of_each_candidate_is_a_point(searching: Searching) -> None:
    order = order_of(searching.site, trials=2)
    searching.do(order)
    points = [point for message in searching.said for point in message.points or ()]
    epochs = TRAINING.epochs + 1
    assert [point.sequence for point in points] == list(range(2 * epochs))
    assert [point.values["trial"] for point in points] == [1.0] * epochs + [2.0] * epochs
    assert points[-1].values["best"] == points[epochs - 1].values["accuracy"]
    phases = [message.phase for message in searching.said if message.phase]
    assert phases == [Phase.FETCHING, Phase.COLLECTING, Phase.EVALUATING, Phase.TRAINING, Phase.EVALUATING]


def test_where_nothing_is_feasible_the_answer_comes_at_once_and_nothing_is_trained(searching: Searching) -> None:
    order = order_of(searching.site, limits=Limits(latency_ms=1e-6, memory_bytes=10**9))
    result = searching.do(order)
    assert result.nothing is not None
    assert (result.nothing.binding, result.trained, result.by) == ("latency", 0, "nobody")
    assert result.words.startswith("Nothing was trained: none of the 200 networks keeps all limits. The latency binds.")
    assert "It would fit if" in result.words
    assert searching.manifest(order).outputs.keys() == {"search"}
    assert not any(message.points for message in searching.said)
    assert all("latency" in prediction.broken for prediction in searching.record(order).predictions)


def test_what_is_measured_above_a_limit_is_not_trained_whatever_was_predicted(searching: Searching) -> None:
    # As if the device had been a hundred times as fast when it was calibrated, and its neighbour had taken nothing. Between
    # what is predicted then and what is measured there is room for a machine that has got much faster or slower meanwhile.
    faster = [
        each.model_copy(update={"latency_ms": each.latency_ms / 100, "busy_ms": each.busy_ms and each.latency_ms / 100})
        for each in calibration().measurements
    ]
    keep_calibration(searching.site, measurements=tuple(faster))
    fastest = min(each.latency_ms for each in calibration().measurements)
    order = order_of(searching.site, limits=Limits(latency_ms=fastest / 10))
    result = searching.do(order)
    record = searching.record(order)
    assert record.row is not None
    refused = [trial for trial in record.row.trials if trial.measured is not None and trial.accuracy is None]
    assert refused
    for trial in refused:
        assert "latency" in trial.broken
        assert trial.measured is not None
        assert "latency" in broken(trial.measured, record.limits)
        assert not broken(trial.predicted, record.limits)
    assert result.costs is None or not broken(result.costs, record.limits)


def test_beyond_the_range_of_the_meta_model_optuna_leads_and_the_search_says_so(searching: Searching) -> None:
    features = json.loads((SHIPPED / CARD).read_text())["features"]
    narrow = [each | {"low": each["high"]} if each["name"] == "average_power" else each for each in features]
    order = order_of(searching.site, card={"features": narrow}, trials=2)
    result = searching.do(order)
    assert (result.by, result.trained) == ("tpe", 2)
    assert "average_power is" in result.why
    assert result.sha256
    # Nothing is there to be learned from but such searches, where the meta model does not reach.
    row = searching.record(order).row
    assert row is not None
    assert len(examples([row]).seen) == 1


def test_a_meta_model_of_another_version_does_not_end_the_search(searching: Searching) -> None:
    order = order_of(searching.site, card={"features": []}, trials=1)
    result = searching.do(order)
    assert (result.by, result.trained) == ("tpe", 1)
    assert "cannot be used" in result.why


def test_a_candidate_whose_training_comes_to_nothing_is_none_to_return(searching: Searching) -> None:
    diverging = {"learning_rate": 100.0, "optimizer": "momentum", "weight_decay": 10.0}
    order = order_of(searching.site, training=TRAINING.model_copy(update=diverging), trials=2)
    result = searching.do(order)
    record = searching.record(order)
    assert record.row is not None
    assert [bool(trial.fault) for trial in record.row.trials if trial.accuracy is not None] == [True, True]
    assert result.words.startswith("No model is returned.")
    assert "Training diverged in epoch 1" in result.words
    assert (result.trained, result.sha256) == (2, "")
    assert searching.manifest(order).outputs.keys() == {"search"}


def test_what_cannot_be_trained_in_the_memory_that_is_free_is_never_begun(searching: Searching) -> None:
    folders, large = Folders(searching.site.state), TRAINING.model_copy(update={"batch_size": 256})
    folders.description.write_bytes(DeviceDescription(memory_bytes=25_000_000).to_json())
    order = order_of(searching.site, trials=2, training=large)
    result = searching.do(order)
    record = searching.record(order)
    assert result.sha256, result.words
    assert record.limits.training_bytes == 25_000_000
    kept_away = {each.candidate for each in record.predictions if "training memory" in each.broken}
    assert Candidate(layers=6, filters=64, kernel=3) in kept_away
    assert record.row is not None
    assert not kept_away & {trial.candidate for trial in record.row.trials if trial.accuracy is not None}
    small = order_of(searching.site, trials=1, training=large.model_copy(update={"batch_size": 16}))
    searching.do(small)
    assert {each.candidate for each in searching.record(small).predictions if "training memory" in each.broken} < kept_away
    folders.description.write_bytes(DeviceDescription(memory_bytes=5_000_000).to_json())
    nothing = searching.do(order)
    assert nothing.nothing is not None
    assert nothing.nothing.binding == "training memory"
    assert ", or with smaller batches" in nothing.words
    assert not searching.manifest(order).outputs.keys() & {"model"}


def test_a_model_that_is_as_accurate_as_was_asked_for_ends_the_search(searching: Searching) -> None:
    order = order_of(searching.site, training=TRAINING.model_copy(update={"target_accuracy": 0.01}))
    result = searching.do(order)
    assert result.trained == 1
    assert result.accuracy is not None
    assert result.accuracy >= 0.01


def test_a_search_that_was_begun_goes_on_and_one_that_is_issued_again_begins_anew(searching: Searching) -> None:
    order = order_of(searching.site, trials=1)
    first = searching.do(order)
    trace = Searches(Folders(searching.site.state).searches)
    row = trace.row(order.id)
    said = len(searching.said)
    again = searching.do(order, begun=True)
    assert (again.sha256, trace.row(order.id)) == (first.sha256, row)
    assert not any(message.points for message in searching.said[said:])
    anew = searching.do(order)
    assert (anew.sha256, len(trace.rows())) == (first.sha256, 1)
    assert any(message.points for message in searching.said[said:])


class _Killed(Exception):
    """In place of a signal."""


def test_one_that_is_issued_again_and_killed_before_it_searches_does_not_take_up_the_former_one(
    searching: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = order_of(searching.site, trials=1)
    searching.do(order)
    former = searching.made(order, "model.onnx").read_bytes()
    for path in searching.made(order, "x").parent.iterdir():
        path.unlink()  # As the runner tidies what finished orders leave.
    checkpoint = Folders(searching.site.state).received(order.id) / "trial-of-the-former-one.safetensors"
    checkpoint.write_bytes(b"a checkpoint")

    def killed(*_: object, **__: object) -> None:
        raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(kind, "calibrated", killed)
        with pytest.raises(_Killed):
            searching.do(order)
    assert not checkpoint.exists()
    said = len(searching.said)
    searching.do(order, begun=True)
    assert any(message.points for message in searching.said[said:])
    assert searching.made(order, "model.onnx").read_bytes() == former


@pytest.mark.parametrize("fails_at", [1, 2], ids=["before", "after"])
def test_a_candidate_that_cannot_be_measured_before_or_after_its_training_is_given_up_and_the_search_goes_on(
    searching: Searching, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    measures = iter(range(1, 9))

    def measured(*arguments: Any, **options: Any) -> Costs:
        if next(measures) == fails_at:
            raise WorkFailed("A network could not be run to measure its memory. Free memory on the device and try again.")
        return measured_costs(*arguments, **options)

    monkeypatch.setattr(training, "measured_costs", measured)
    order = order_of(searching.site, trials=2)
    result = searching.do(order)
    record = searching.record(order)
    assert record.row is not None
    first, second = (trial for trial in record.row.trials if trial.accuracy is not None)
    assert "Free memory on the device" in first.fault
    assert (first.measured, second.fault, record.row.best is not None) == (None, "", True)
    assert first.epochs == (0 if fails_at == 1 else TRAINING.epochs)
    assert result.candidate == second.candidate


def test_without_samples_to_compare_networks_on_there_is_no_search(tmp_path: Path) -> None:
    site = Site(tmp_path)
    write_digits(site.samples, 10)
    keep_calibration(site)
    with pytest.raises(InvalidSamples, match="is held out"):
        Searching(site).do(order_of(site))


def test_samples_of_one_class_teach_nothing_that_could_be_compared(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.samples.mkdir(parents=True, exist_ok=True)
    np.savez(site.samples / "fives.npz", image=np.ones((40, 1, SIZE, SIZE), np.uint8), label=np.full(40, "5"))
    keep_calibration(site)
    with pytest.raises(InvalidSamples, match=r"samples of this edge are of the class '5', .* Collect samples of other classes"):
        Searching(site).do(order_of(site))


def test_a_limit_of_energy_that_nothing_tells_is_refused_before_minutes_of_calibrating(tmp_path: Path) -> None:
    site = Site(tmp_path)
    write_digits(site.samples)
    with pytest.raises(InvalidInput, match="Energy is limited to 1 J, .* Give idle_watts and busy_watts in its description"):
        Searching(site).do(order_of(site, limits=Limits(energy_joules=1)))
    assert kept(Folders(site.state)) == []


def test_a_device_that_is_described_after_its_calibration_keeps_a_limit_of_energy(tmp_path: Path) -> None:
    site = Site(tmp_path)
    write_digits(site.samples)
    keep_calibration(site, watts=None, watts_origin="absent")
    searching, order = Searching(site), order_of(site, limits=Limits(energy_joules=1), trials=1)
    with pytest.raises(InvalidInput, match="Give idle_watts and busy_watts in its description"):
        searching.do(order)
    described = DeviceDescription(idle_watts=1, busy_watts=3)
    Folders(site.state).description.write_bytes(described.to_json())
    result = searching.do(order)
    assert result.costs is not None
    assert 0 < (result.costs.energy_joules or 0) < 1
