"""A model is deployed beside the one that judges: swapped in between two images, watched, and taken back if need be."""

import itertools
import re
import threading
from contextlib import closing
from pathlib import Path

import pytest

from cloudedge.documents.inspection import Bounds
from cloudedge.documents.line import DeploymentState
from cloudedge.errors import NotFound
from cloudedge.serving.models import Models
from edge.detector.detector import Detector
from edge.detector.folders import DetectorFolders
from edge.detector.watching import Pauses, Tally, out_of_bounds
from tests.edge.detector.station import (
    BLINDING,
    BRAND,
    BRIGHT,
    DARK,
    UNHURRIED,
    WITHOUT_A_MODEL,
    Station,
    deployed,
    deployment,
    judging,
    phase,
    pictures,
    squeamish,
)
from tests.waiting import PATIENCE, until

LOOP = {"kind": "folder", "path": "in", "mode": "loop"}


def state(detector: Detector, number: str) -> DeploymentState:
    return next(each for each in detector.status().deployments if each.id == number)


def looping(root: Path, *values: int) -> Station:
    """A station where the same images pass over and over."""
    pictures(root / "in", *values)
    return Station(root, {"source": LOOP})


def test_without_a_model_parts_are_recorded_and_not_judged(tmp_path: Path) -> None:
    station = Station(tmp_path, {"source": {"kind": "folder", "path": str(pictures(tmp_path / "in", DARK, BRIGHT))}})
    with station.at_work() as detector:
        assert detector.over.wait(PATIENCE)
        until(lambda: detector.spool.backlog() == 2)
        spooled = detector.spool.unsent(10)
        status = detector.status()
    assert (status.images, status.unjudged, status.errors) == (2, 2, 0)
    assert status.trouble == WITHOUT_A_MODEL
    assert [(each["model"], each["accepted"], each["score"], each["error"]) for each in station.verdicts()] == [
        ("", None, None, "")
    ] * 2
    assert [(each.record.model, each.record.accepted) for each in spooled] == [("", None)] * 2


def test_a_deployed_model_judges_and_a_second_and_third_work_as_the_first(tmp_path: Path) -> None:
    station = looping(tmp_path, BRIGHT)
    with station.at_work() as detector:
        for number, (threshold, accepted) in enumerate([(100.0, False), (200.0, True), (149.0, False)]):
            deployable = deployed(detector, tmp_path, threshold, f"number-{number}")
            before = len(station.verdicts())
            until(lambda: len(station.verdicts()) > before + 1)  # noqa: B023
            last = station.verdicts()[-1]
            assert (last["model"], last["threshold"], last["accepted"]) == (deployable.sha256, threshold, accepted)
            assert state(detector, f"number-{number}").load_seconds > 0


def test_beside_swaps_each_part_is_judged_once_by_exactly_one_model(tmp_path: Path) -> None:
    swaps = 30
    station = looping(tmp_path, BRIGHT)
    station.settings["encoder"] = UNHURRIED
    with station.at_work() as detector:
        first = deployed(detector, tmp_path)
        until(lambda: station.last().get("model") == first.sha256)
        known = {first.sha256: 100.0}
        for number in range(swaps):
            threshold = 120.0 + number
            deployable = deployed(detector, tmp_path, threshold, f"swap-{number}")
            known[deployable.sha256] = threshold
            until(lambda: station.last().get("model") == deployable.sha256)  # noqa: B023
        assert detector.models.counts()[BRAND].swaps == swaps
    verdicts = station.verdicts()
    assert [each["tick"] for each in verdicts] == list(range(1, len(verdicts) + 1))
    judged = [each for each in verdicts if each["model"]]
    assert {each["model"] for each in judged} == set(known)
    assert all(each["error"] == "" for each in verdicts)
    # The threshold is in the file's manifest, and the judgement follows from both.
    assert all(each["threshold"] == known[each["model"]] for each in judged)
    assert all(each["accepted"] is (each["score"] <= each["threshold"]) for each in judged)
    changes = sum(one["model"] != other["model"] for one, other in itertools.pairwise(judged))
    assert changes == swaps


def test_a_model_that_rejects_too_much_is_taken_back(tmp_path: Path) -> None:
    station = looping(tmp_path, BRIGHT)
    with station.at_work() as detector:
        good = deployed(detector, tmp_path, 200.0, "good")
        path = tmp_path / "bad.onnx"
        bad = judging(path, 100.0)
        detector.deploy(deployment(bad, "bad", watch_seconds=600), path)
        until(lambda: phase(detector, "bad") == "rolled-back")
        until(lambda: detector.status().model == good.sha256)
        told = state(detector, "bad")
        reason = re.match(r"It rejected (\d+) of \1 parts; at most a share of 0\.5 was allowed", told.reason)
        assert reason, told.reason
        assert 3 <= int(reason[1]) <= told.images  # Parts pass while the model before is brought back.
        assert told.reject_rate == 1
        until(lambda: station.last().get("model") == good.sha256)
    judged = [each["model"] for each in station.verdicts() if each["model"]]
    last = len(judged) - judged[::-1].index(bad.sha256)
    assert set(judged[last:]) == {good.sha256}


def test_a_model_that_fails_on_its_first_image_is_taken_back_and_the_part_is_an_error(tmp_path: Path) -> None:
    station = looping(tmp_path, BLINDING)
    with station.at_work() as detector:
        good = deployed(detector, tmp_path, 200.0, "good")
        path = tmp_path / "bad.onnx"
        bad = squeamish(path)
        detector.deploy(deployment(bad, "bad", watch_seconds=600), path)
        until(lambda: phase(detector, "bad") == "rolled-back")
        until(lambda: station.last().get("model") == good.sha256)
        errors = detector.status().errors
        assert "It failed on " in state(detector, "bad").reason
    failed = [each for each in station.verdicts() if each["model"] == bad.sha256]
    assert len(failed) == errors >= 1
    assert all(each["accepted"] is None and "gave the score" in each["error"] for each in failed)


def test_the_first_model_of_a_brand_that_is_taken_back_leaves_its_parts_unjudged(tmp_path: Path) -> None:
    station = looping(tmp_path, BRIGHT)
    with station.at_work() as detector:
        path = tmp_path / "bad.onnx"
        detector.deploy(deployment(judging(path), "bad", watch_seconds=600), path)
        until(lambda: phase(detector, "bad") == "rolled-back")
        assert state(detector, "bad").reason.endswith(f"so that parts of {BRAND} are not judged now.")
        until(lambda: station.last().get("model") == "")


def test_a_model_within_its_bounds_serves_once_its_watch_is_over(tmp_path: Path) -> None:
    station = looping(tmp_path, DARK)
    with station.at_work() as detector:
        path = tmp_path / "good.onnx"
        detector.deploy(deployment(judging(path), "good", watch_seconds=0.3), path)
        until(lambda: phase(detector, "good") == "serving")
        told = state(detector, "good")
        assert (told.reject_rate, told.error_rate) == (0, 0)
        assert told.images > 0


def test_a_watch_goes_on_after_a_restart(tmp_path: Path) -> None:
    station = looping(tmp_path, DARK)
    with station.at_work() as detector:
        good = deployed(detector, tmp_path, 200.0, "good")
        path = tmp_path / "bad.onnx"
        detector.deploy(deployment(judging(path), "bad", watch_seconds=600, least_images=1000), path)
        until(lambda: phase(detector, "bad") == "watching" and state(detector, "bad").images > 3)
    again = Station(tmp_path, {"source": {**LOOP, "path": str(pictures(tmp_path / "other", BRIGHT))}})
    again.settings["encoder"]["per_second"] = 1000
    with again.at_work() as detector:
        assert phase(detector, "bad") == "watching"
        assert state(detector, "bad").images > 3
        until(lambda: phase(detector, "bad") == "rolled-back")
        assert detector.status().model == good.sha256


@pytest.mark.parametrize("before", [True, False])
def test_a_detector_that_is_killed_as_it_goes_back_ends_with_the_model_before(tmp_path: Path, before: bool) -> None:
    station = looping(tmp_path, DARK)
    path = tmp_path / "bad.onnx"
    asked = deployment(judging(path), "bad", watch_seconds=600)
    with station.at_work() as detector:
        good = deployed(detector, tmp_path, 200.0, "good").sha256 if before else ""
        detector.deploy(asked, path)
        until(lambda: phase(detector, "bad") == "watching" and state(detector, "bad").images > 3)
    with closing(Models(DetectorFolders(station.state).models)) as models:
        # It was killed when it had gone back, and had not written down that the watch was over.
        if before:
            models.rollback(BRAND)
        else:
            models.unload(BRAND)
    with station.at_work() as detector:
        assert (phase(detector, "bad"), detector.status().model) == ("rolled-back", good)
        assert state(detector, "bad").reason == "The detector had gone back to the model before as it was ended."
        assert state(detector, "bad").images > 3
        detector.deploy(asked, path)  # As the edge server wants it for as long as it has not heard.
        assert (phase(detector, "bad"), detector.status().model) == ("rolled-back", good)


def test_a_deployment_that_was_not_swapped_in_before_a_restart_can_be_asked_for_again(tmp_path: Path) -> None:
    station = looping(tmp_path, DARK)
    path = tmp_path / "model.onnx"
    asked = deployment(judging(path))
    with station.at_work() as detector:
        deployed(detector, tmp_path, 200.0, "other")
    kept = station.state / "deployments.json"
    kept.write_text(kept.read_text().replace('"serving"', '"loading"').replace(state_sha(kept), asked.deployable.sha256))
    with station.at_work() as detector:
        assert detector.status().deployments == ()
        detector.deploy(asked, path)
        until(lambda: phase(detector, "first") == "serving")


def state_sha(path: Path) -> str:
    return path.read_text().split('"sha256": "')[1][:64]


def test_a_file_that_is_no_model_fails_and_the_old_one_goes_on(tmp_path: Path) -> None:
    station = looping(tmp_path, DARK)
    with station.at_work() as detector:
        good = deployed(detector, tmp_path, 200.0, "good")
        path = tmp_path / "bad.onnx"
        asked = deployment(judging(path), "bad")
        path.write_bytes(path.read_bytes()[:-10])
        detector.deploy(asked, path)
        until(lambda: phase(detector, "bad") == "failed")
        assert "bad.onnx" in state(detector, "bad").reason or "bytes" in state(detector, "bad").reason
        assert detector.status().model == good.sha256
        deployed(detector, tmp_path, 150.0, "next")


def test_what_waits_is_superseded_by_what_comes(tmp_path: Path) -> None:
    station = looping(tmp_path, DARK)
    entered, go_on = threading.Event(), threading.Event()
    with station.at_work() as detector:
        put = detector.models.put

        def slow(*arguments: object) -> str:
            entered.set()
            assert go_on.wait(PATIENCE)
            return put(*arguments)  # type: ignore[arg-type]

        detector.models.put = slow  # type: ignore[assignment, method-assign]
        for number, threshold in (("one", 110.0), ("two", 120.0), ("three", 130.0)):
            path = tmp_path / f"{number}.onnx"
            detector.deploy(deployment(judging(path, threshold), number), path)
            assert entered.wait(PATIENCE)
        assert [phase(detector, number) for number in ("one", "two", "three")] == ["loading", "failed", "waiting"]
        assert state(detector, "two").reason == "three came before its turn."
        go_on.set()
        until(lambda: phase(detector, "three") == "serving")
        assert phase(detector, "one") == "serving"


def test_the_same_deployment_twice_is_one(tmp_path: Path) -> None:
    station = looping(tmp_path, DARK)
    with station.at_work() as detector:
        deployed(detector, tmp_path)
        detector.deploy(deployment(judging(tmp_path / "x.onnx")), tmp_path / "x.onnx")
        assert [each.id for each in detector.status().deployments] == ["first"]
        assert detector.models.counts()[BRAND].loads == 1


def test_a_person_brings_the_model_before_back(tmp_path: Path) -> None:
    station = looping(tmp_path, DARK)
    with station.at_work() as detector:
        with pytest.raises(NotFound):
            detector.rollback(BRAND)
        one = deployed(detector, tmp_path, 110.0, "one")
        deployed(detector, tmp_path, 120.0, "two")
        detector.rollback(BRAND)
        assert detector.status().model == one.sha256
        assert (phase(detector, "one"), phase(detector, "two")) == ("serving", "rolled-back")
        assert state(detector, "two").reason == "A person had the model before brought back."
    with station.at_work() as detector:
        assert detector.status().model == one.sha256
        assert phase(detector, "two") == "rolled-back"


def test_another_brand_is_judged_by_its_own_model_and_stays_after_a_restart(tmp_path: Path) -> None:
    station = looping(tmp_path, DARK)
    with station.at_work() as detector:
        deployed(detector, tmp_path)
        path = tmp_path / "rye.onnx"
        rye = judging(path, 30.0)
        detector.deploy(deployment(rye, "rye", brand="rye"), path)
        until(lambda: phase(detector, "rye") == "serving")
        detector.use_brand("rye")
        until(lambda: station.last().get("brand") == "rye")
        last = station.verdicts()[-1]
        assert (last["model"], last["accepted"]) == (rye.sha256, False)
    with station.at_work() as detector:
        assert detector.status().brand == "rye"
        assert detector.status().model == rye.sha256


@pytest.mark.parametrize(
    ("tally", "fault"),
    [
        (Tally(images=1, errors=1), "It failed on 1 of 1 images"),
        (Tally(images=5, rejects=5), ""),
        (
            Tally(images=6, rejects=6),
            "It rejected 6 of 6 parts; at most a share of 0.5 was allowed, which is 5 of the first 10.",
        ),
        (Tally(images=100, rejects=50), ""),
        (Tally(images=100, rejects=51), "It rejected 51 of 100 parts; at most a share of 0.5 was allowed."),
    ],
)
def test_bounds_are_left_when_too_few_images_more_could_bring_a_model_back_within(tally: Tally, fault: str) -> None:
    found = out_of_bounds(tally, Bounds(least_images=10, reject_rate=0.5))
    assert found.startswith(fault)
    assert bool(found) == bool(fault)


def test_a_pause_is_the_time_in_which_a_tick_waited_for_an_answer() -> None:
    pauses = Pauses()
    pauses.answered(due=10.0, now=10.004)
    pauses.answered(due=10.1, now=10.103)  # Between the two no tick waited.
    pauses.answered(due=10.11, now=10.15)
    pauses.answered(due=10.12, now=10.154)  # It waited since 10.12, but an answer came in between.
    pauses.answered(due=20.0, now=21.0)
    assert pauses.longest_about(10.12) == pytest.approx(0.04)
    assert pauses.longest_about(15.0) == 0
