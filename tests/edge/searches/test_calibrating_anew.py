"""A device whose calibration holds no more is calibrated anew as a search begins, once, and the search says so."""

import re
from pathlib import Path
from typing import Any

import pytest

from cloudedge.documents import Phase
from cloudedge.documents.automl import Calibration, Limits
from edge.calibration import keeping
from edge.messages import Message
from tests.edge.searches.digits import LIMITS, Searching, calibration, keep_calibration, order_of, write_digits
from tests.edge.site import Site

pytestmark = pytest.mark.timeout(900)  # This machine is calibrated by whichever test is the first.


@pytest.fixture
def searching(tmp_path: Path) -> Searching:
    """A device that was thousands of times as slow when it was calibrated."""
    site = Site(tmp_path)
    write_digits(site.samples)
    slower = [
        each.model_copy(update={"latency_ms": each.latency_ms * 10_000, "busy_ms": each.busy_ms and each.busy_ms * 10_000})
        for each in calibration().measurements
    ]
    keep_calibration(site, measurements=tuple(slower))
    return Searching(site, checks=True)


@pytest.fixture
def calibrated(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long calibrating anew was allowed to take, each time; it comes to what was measured for all tests here."""
    asked: list[float] = []

    def again(*_: object, seconds: float, **__: Any) -> Calibration:
        asked.append(seconds)
        return calibration()

    monkeypatch.setattr(keeping, "calibrate", again)
    return asked


def test_a_device_that_was_slower_when_it_was_calibrated_is_calibrated_anew_and_says_so(
    searching: Searching, calibrated: list[float]
) -> None:
    order = order_of(searching.site, limits=LIMITS, trials=1, calibration_seconds=33)
    result = searching.do(order)
    assert result.sha256, result.words
    assert calibrated == [33]
    assert result.calibration_seconds == calibration().seconds
    factor = re.match(r"an inference takes (\S+) times as long as on ", result.calibration_why)
    assert factor, result.calibration_why
    assert float(factor[1]) < 0.01
    told = [stream for message in searching.said for stream in message.progress or () if stream.name == "calibration"]
    assert (told[-1].done, told[-1].total, told[-1].unit) == (6, 6, "networks measured (once more)")


def test_what_is_told_of_the_calibration_outlasts_a_crash_and_the_device_is_not_calibrated_again(
    searching: Searching, calibrated: list[float]
) -> None:
    order = order_of(searching.site, limits=LIMITS, trials=1)

    class Dying(list[Message]):
        def append(self, message: Message) -> None:
            if message.phase is Phase.TRAINING:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Searching(searching.site, Dying(), checks=True).do(order)
    result = searching.do(order, begun=True)
    assert (len(calibrated), result.calibration_seconds) == (1, calibration().seconds)
    assert "times as long as on" in result.calibration_why
    assert not [stream for message in searching.said for stream in message.progress or () if stream.name == "calibration"]


def test_the_answer_that_nothing_is_feasible_says_that_what_it_is_told_from_holds(
    searching: Searching, calibrated: list[float]
) -> None:
    order = order_of(searching.site, limits=Limits(latency_ms=1e-6))
    result = searching.do(order)
    assert result.words.endswith(" UTC, by this search.")
    keep_calibration(searching.site)
    searching.checks = False
    again = searching.do(order)
    assert again.words.endswith(" UTC, and holds: some of it was measured again as the search began.")
    assert (again.calibration_seconds, again.calibration_why, len(calibrated)) == (0, "", 1)
