from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloudedge.automl.meta.simulating import Device
from cloudedge.automl.screen import Screen, amount, bounds, broken, deadline, in_words, milliseconds
from cloudedge.automl.space import networks
from cloudedge.documents.automl import Candidate, Change, DeviceState, Limit, Limits, NothingFeasible, QueuedJob, Spread, Usual
from cloudedge.errors import InvalidInput
from tests.cloudedge.automl.devices import BOARD, DATA, DEVICES, JOBS, LIMITS, NoMeter, job, state

SMALLEST = min((BOARD.costs(candidate, DATA) for candidate in networks().everything), key=lambda costs: costs.latency_bound_ms)
LEAST_MEMORY = min(BOARD.costs(candidate, DATA).memory_bytes for candidate in networks().everything)


def test_the_queue_leaves_its_tightest_deadline_less_a_share_of_its_work() -> None:
    assert deadline([job(2, 10), job(3, 1, npu=0.5)], share=0.1) == pytest.approx(1 - 0.1 * 2.5)
    assert deadline([]) is None


@given(st.lists(JOBS, min_size=1, max_size=5))
def test_the_deadline_does_not_depend_on_the_order_of_the_queue(jobs: list[QueuedJob]) -> None:
    assert deadline(jobs) == pytest.approx(deadline(jobs[::-1]))


def test_the_tighter_of_what_is_asked_and_what_is_left_holds() -> None:
    found = bounds(Limits(latency_ms=400, memory_bytes=2**30), state(job(1, 0.3), memory=2**20), share=0.1)
    assert found.limits.latency_ms == pytest.approx(200)
    assert found.limits.memory_bytes == 2**20
    assert found.why["latency"] == "the queue's tightest deadline of 300 ms less 10% of its work of 1 s"
    assert found.why["memory"] == "free on the device"
    asked = bounds(Limits(latency_ms=40, memory_bytes=2**10, energy_joules=1), state(job(1, 0.3), memory=2**20), share=0.1)
    assert asked.limits == Limits(latency_ms=40, memory_bytes=2**10, energy_joules=1, training_bytes=2**20)
    assert asked.why == {**dict.fromkeys(("latency", "memory", "energy"), "asked for"), "training memory": "free on the device"}


def test_a_model_stays_and_counts_on_no_more_memory_than_is_usual_and_its_training_on_what_is_free_now() -> None:
    def watched(hours: float, low: float, looks: int = 100) -> DeviceState:
        begun = datetime(2026, 1, 1, tzinfo=UTC)
        memory = Spread(looks=looks, low=low, median=2**29, high=2**30)
        usual = Usual(looks=900, since=begun, until=begun + timedelta(hours=hours), figures={"free_memory_cpu": memory})
        return state(memory=2**20).model_copy(update={"usual": usual})

    found = bounds(Limits(), watched(30, 2**18))
    assert (found.limits.memory_bytes, found.limits.training_bytes) == (2**18, 2**20)
    assert found.why["memory"] == "free on the device at 95% of the moments of the last day"
    assert bounds(Limits(), watched(70, 2**18)).why["memory"].endswith("of the last 3 days")
    assert bounds(Limits(memory_bytes=2**10), watched(30, 2**18)).why["memory"] == "asked for"
    for unlike in (watched(23, 2**18), watched(30, 2**18, looks=99), watched(30, 2**22)):
        assert bounds(Limits(), unlike).limits.memory_bytes == 2**20
        assert bounds(Limits(), unlike).why["memory"] == "free on the device"


def test_what_cannot_be_trained_in_the_free_memory_is_screened_out_by_that_name_and_smaller_batches_help() -> None:
    def training(candidate: Candidate) -> int:
        return 10**6 * candidate.layers * candidate.filters

    limits = Limits(latency_ms=10**6, memory_bytes=2**40, training_bytes=10**8)
    screen = Screen(BOARD, DATA, limits, training)
    assert {each.layers * each.filters for each in screen.feasible()} == {
        each.layers * each.filters for each in networks().everything if each.layers * each.filters <= 100
    }
    large = Candidate(layers=6, filters=64, kernel=1)
    assert screen.broken(large) == ("training memory",)
    assert screen.costs(large).training_bytes == training(large)
    assert not Screen(BOARD, DATA, limits).broken(large)
    found = Screen(BOARD, DATA, limits.model_copy(update={"training_bytes": 10**6}), training).nothing_feasible(
        {"training memory": "free on the device"}
    )
    assert found is not None
    assert found.binding == "training memory"
    words = in_words(found)
    assert "needs 4,000,000 bytes of training memory, 4 times the limit of 1,000,000 bytes (free on the device)" in words
    assert "It would fit if 4,000,000 bytes of training memory were allowed, or with smaller batches." in words


def test_it_is_the_bound_of_the_latency_that_keeps_the_limit() -> None:
    costs = BOARD.costs(next(iter(networks().everything)), DATA)
    between = (costs.latency_ms + costs.latency_bound_ms) / 2
    assert broken(costs, Limits(latency_ms=between)) == ("latency",)
    assert broken(costs, Limits(latency_ms=costs.latency_bound_ms)) == ()


def answer(limits: Limits, device: Device = BOARD, why: dict[Limit, str] | None = None) -> NothingFeasible | None:
    return Screen(device, DATA, limits).nothing_feasible(why or {})


def test_it_names_the_latency_that_binds_by_how_much_and_what_would_do() -> None:
    found = answer(Limits(latency_ms=SMALLEST.latency_bound_ms / 4, memory_bytes=2**28), why={"latency": "asked for"})
    assert found is not None
    assert (found.candidates, found.binding) == (200, "latency")
    (remedy,) = found.remedies
    (change,) = remedy.changes
    assert change.needed == SMALLEST.latency_bound_ms
    text = in_words(found)
    assert "Nothing was trained: none of the 200 networks keeps all limits. The latency binds." in text
    assert "of latency, 4 times the limit of 0.0593 ms (asked for)." in text
    assert "or on a device 4 times as fast" in text
    assert "1,200 times the limit" in in_words(answer(Limits(latency_ms=SMALLEST.latency_bound_ms / 1200)) or found)


def test_it_names_the_memory_that_binds() -> None:
    found = answer(Limits(latency_ms=1000, memory_bytes=LEAST_MEMORY - 1))
    assert found is not None
    assert found.binding == "memory"
    assert found.remedies[0].changes[0].needed == LEAST_MEMORY
    assert "The memory binds." in in_words(found)


def test_two_limits_that_exclude_each_other_give_two_ways_out() -> None:
    # On this device the fastest network is not the one of the least memory.
    costs = {candidate: BOARD.costs(candidate, DATA) for candidate in networks().everything}
    small = min(costs.values(), key=lambda each: (each.memory_bytes, each.latency_bound_ms))
    fast = min(costs.values(), key=lambda each: (each.latency_bound_ms, each.memory_bytes))
    assert small.latency_bound_ms > fast.latency_bound_ms
    found = answer(Limits(latency_ms=fast.latency_bound_ms, memory_bytes=small.memory_bytes))
    assert found is not None
    assert {change.limit for remedy in found.remedies for change in remedy.changes} == {"latency", "memory"}
    assert "Or if " in in_words(found)


def test_where_nothing_at_all_is_allowed_the_smallest_need_is_named() -> None:
    found = answer(bounds(Limits(), state(job(100, 1)), share=0.1).limits)
    assert found is not None
    assert found.binding == "latency"
    assert found.remedies[0].changes[0].allowed == 0
    assert found.remedies[0].predicted.latency_bound_ms == SMALLEST.latency_bound_ms
    assert "of latency, where nothing is allowed." in in_words(found)


@given(DEVICES, LIMITS)
def test_the_answer_is_there_exactly_if_nothing_is_feasible_and_each_way_out_is_one(device: Device, limits: Limits) -> None:
    screen = Screen(device, DATA, limits)
    found = screen.nothing_feasible({})
    assert (found is None) == bool(screen.feasible())
    for remedy in found.remedies if found else ():
        changed = Screen(device, DATA, _changed(limits, remedy.changes))
        assert remedy.candidate in changed.feasible()
        assert changed.nothing_feasible({}) is None
        for left_out in range(len(remedy.changes)):
            fewer = [change for place, change in enumerate(remedy.changes) if place != left_out]
            assert remedy.candidate not in Screen(device, DATA, _changed(limits, fewer)).feasible()


def _changed(limits: Limits, changes: Sequence[object]) -> Limits:
    names = {"latency": "latency_ms", "memory": "memory_bytes", "energy": "energy_joules"}
    return Limits.model_validate({**limits.model_dump(), **{names[each.limit]: each.needed for each in changes}})  # type: ignore[attr-defined]


def test_energy_that_nobody_can_tell_is_no_limit_to_be_screened_by() -> None:
    with pytest.raises(InvalidInput, match="Give idle_watts and busy_watts in its description"):
        Screen(NoMeter(), DATA, Limits(energy_joules=1)).feasible()
    assert Screen(NoMeter(), DATA, Limits(latency_ms=1000)).feasible()


@pytest.mark.parametrize("needed", [5e-324, 2.0**50])
def test_whatever_a_device_says_it_needs_can_be_told(needed: float) -> None:
    found = answer(Limits(latency_ms=SMALLEST.latency_bound_ms / 4))
    assert found is not None
    first, change = found.remedies[0], found.remedies[0].changes[0]
    remedy = first.model_copy(update={"changes": (change.model_copy(update={"needed": needed}),)})
    assert "needs" in in_words(found.model_copy(update={"remedies": (remedy,)}))


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.01234, "0.0123 ms"), (999.4, "999 ms"), (999.7, "1 s"), (3_600_000, "3,600 s"), (1e9, "1,000,000 s")],
)
def test_a_time_is_told_by_three_digits_and_never_by_a_power_of_ten(value: float, words: str) -> None:
    assert milliseconds(value) == words


def test_a_cost_is_told_rounded_up() -> None:
    assert [amount("energy", value) for value in (0.00123401, 999.6, 123_456)] == ["0.00124 J", "1,000 J", "124,000 J"]
    assert (amount("latency", 9.161), amount("memory", 3916)) == ("9.17 ms", "3,920 bytes")


def test_a_cost_that_is_infinite_is_none() -> None:
    with pytest.raises(ValidationError, match="less than or equal to"):
        Change(limit="latency", allowed=1, needed=float("inf"))
