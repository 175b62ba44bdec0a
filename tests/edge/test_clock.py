"""Time passed, whatever is done to the clock."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import Moment, now

times = st.floats(0, 1e12)


@given(times, times, st.floats(0, 1e9))
def test_within_a_boot_setting_the_wall_clock_changes_nothing(before: float, after: float, passed: float) -> None:
    assert Moment("a", 0.0, before).seconds_until(Moment("a", passed, after)) == passed


def test_across_a_reboot_the_wall_clock_counts() -> None:
    assert Moment("a", 500.0, 1000.0).seconds_until(Moment("b", 3.0, 1060.0)) == 60.0


def test_a_wall_clock_that_went_backwards_counts_as_no_time() -> None:
    assert Moment("a", 500.0, 1000.0).seconds_until(Moment("b", 3.0, 10.0)) == 0.0


def test_a_machine_that_sleeps_uses_up_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    before, asleep = now(), 3600.0
    for clock in ("time", "clock_gettime"):
        real = getattr(time, clock)
        monkeypatch.setattr(time, clock, lambda *which, real=real: real(*which) + asleep)
    assert before.seconds_until(now()) < asleep


def test_now_never_goes_backwards() -> None:
    first = now()
    assert first.seconds_until(now()) >= 0
    assert now().boot == first.boot
