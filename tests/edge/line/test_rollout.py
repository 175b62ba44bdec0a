"""Who gets a model next, for whatever may happen to detectors."""

from dataclasses import replace
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from cloudedge.documents.inspection import Bounds, Rollout
from cloudedge.documents.kinds.deploy import Outcome
from cloudedge.documents.line import DeploymentState, Phase
from edge.line.rollout import SETTLED_SECONDS, STILL_WATCHED, STOPPED, Decision, Standing
from edge.line.rollout import decide as decide_within

NAMES = tuple(f"d-{number}" for number in range(6))
ROLLOUT = Rollout(canaries=1, canary_seconds=60, wait_seconds=600)
BOUNDS = Bounds(watch_seconds=300)


def decide(standings: dict[str, Standing], rollout: Rollout, *, stopped: bool = False) -> Decision:
    return decide_within(standings, rollout, BOUNDS, stopped=stopped)


def said(phase: str, **more: object) -> DeploymentState:
    known = {"id": "x", "brand": "b", "sha256": "0" * 64, "phase": phase, "images": 1}
    return DeploymentState.model_validate({**known, **more})


def fresh(count: int) -> dict[str, Standing]:
    return {name: Standing() for name in NAMES[:count]}


def test_the_canary_gets_it_first() -> None:
    decision = decide(fresh(3), ROLLOUT)
    assert (decision.give, decision.canaries, decision.settled) == (("d-0",), frozenset({"d-0"}), {})


def test_without_canaries_all_get_it_at_once() -> None:
    decision = decide(fresh(3), replace_rollout(canaries=0))
    assert (decision.give, decision.canaries) == (NAMES[:3], frozenset())


def test_the_others_wait_until_the_canary_has_judged_long_enough() -> None:
    standings = fresh(3)
    standings["d-0"] = Standing(given=True, state=said("watching"), judging_seconds=59.9)
    assert decide(standings, ROLLOUT).give == ()
    standings["d-0"] = replace(standings["d-0"], judging_seconds=60)
    decision = decide(standings, ROLLOUT)
    assert decision.give == ("d-1", "d-2")
    assert decision.settled == {}  # It is watched on, and may go back.


def test_a_canary_on_a_line_that_stands_proves_nothing() -> None:
    standings = fresh(2)
    standings["d-0"] = Standing(given=True, state=said("watching", images=0), judging_seconds=899)
    assert decide(standings, ROLLOUT) == Decision()


def test_a_canary_whose_line_stands_for_too_long_ends_it_for_the_rest() -> None:
    standings = fresh(2)
    standings["d-0"] = Standing(given=True, state=said("watching", images=0), judging_seconds=900)
    decision = decide(standings, ROLLOUT)
    assert decision.give == ()
    assert (decision.settled["d-0"].state, decision.settled["d-1"].state) == ("serving", "skipped")
    assert decision.settled["d-0"].reason.startswith("still watched: no image was judged within 900 s")
    assert decision.settled["d-1"].reason == "no part was judged at the canary d-0"


def test_it_counts_as_serving_when_the_watch_is_over_and_not_before() -> None:
    standings = {"d-0": Standing(given=True, state=said("watching"), judging_seconds=899)}
    assert decide(standings, ROLLOUT).settled == {}
    standings["d-0"] = Standing(given=True, state=said("serving", reject_rate=0.25), judging_seconds=300)
    settled = decide(standings, ROLLOUT).settled["d-0"]
    assert (settled.state, settled.reason, settled.reject_rate) == ("serving", "", 0.25)


def test_one_that_judges_too_seldom_for_its_watch_to_end_is_said_to_be_still_watched() -> None:
    standings = {"d-0": Standing(given=True, state=said("watching", images=7), judging_seconds=900)}
    settled = decide(standings, ROLLOUT).settled["d-0"]
    assert settled.state == "serving"
    assert settled.reason.startswith("still watched: 7 images were judged within 900 s")


def test_one_that_goes_away_while_it_watches_is_not_said_to_serve() -> None:
    standings = {"d-0": Standing(given=True, state=said("watching"), judging_seconds=1e6, away_seconds=599)}
    assert decide(standings, ROLLOUT).settled == {}
    standings["d-0"] = replace(standings["d-0"], away_seconds=600)
    settled = decide(standings, ROLLOUT).settled["d-0"]
    assert (settled.state, settled.reason) == ("unreachable", "it began to judge by it, and then was away for 600 s")


def test_one_that_is_not_watched_counts_once_it_has_said_how_long_parts_waited() -> None:
    standings = fresh(2)
    standings["d-0"] = Standing(given=True, state=said("serving"), outcome=Outcome(state="serving"), judging_seconds=60)
    standings["d-1"] = Standing(given=True, state=said("serving", load_seconds=2.5))
    assert decide(standings, ROLLOUT).settled == {}
    judging = said("serving", load_seconds=2.5, swap_gap_ms=3.0)
    standings["d-1"] = Standing(given=True, state=judging, judging_seconds=SETTLED_SECONDS)
    settled = decide(standings, ROLLOUT).settled["d-1"]
    assert (settled.state, settled.load_seconds, settled.swap_gap_ms) == ("serving", 2.5, 3.0)


def test_a_canary_that_leaves_its_bounds_ends_it_for_the_rest() -> None:
    standings = fresh(3)
    standings["d-0"] = Standing(given=True, state=said("rolled-back", reason="it rejected 90%"))
    decision = decide(standings, ROLLOUT)
    assert decision.give == ()
    assert {name: outcome.state for name, outcome in decision.settled.items()} == {
        "d-0": "rolled-back",
        "d-1": "skipped",
        "d-2": "skipped",
    }
    assert decision.settled["d-0"].reason == "it rejected 90%"
    assert decision.settled["d-1"].reason == "it was rolled back at the canary d-0"


def test_a_canary_that_is_away_too_long_gives_its_place_to_another() -> None:
    standings = fresh(3)
    standings["d-0"] = Standing(given=True, away_seconds=600)
    decision = decide(standings, ROLLOUT)
    assert decision.settled["d-0"].state == "unreachable"
    assert (decision.give, decision.canaries) == (("d-1",), frozenset({"d-1"}))


def test_a_failure_beyond_the_canaries_is_one_detectors_own() -> None:
    standings = fresh(3)
    standings["d-0"] = Standing(given=True, outcome=Outcome(state="serving"))
    standings["d-1"] = Standing(given=True, state=said("failed"))
    standings["d-2"] = Standing(given=True, state=said("loading"))
    assert {name: outcome.state for name, outcome in decide(standings, ROLLOUT).settled.items()} == {"d-1": "failed"}


def test_when_it_is_stopped_who_has_it_keeps_it_and_the_rest_is_skipped() -> None:
    standings = fresh(3)
    standings["d-0"] = Standing(given=True, state=said("watching"))
    standings["d-1"] = Standing(given=True, state=said("transferring"))
    decision = decide(standings, ROLLOUT, stopped=True)
    assert decision.give == ()
    assert {name: outcome.state for name, outcome in decision.settled.items()} == {
        "d-0": "serving",
        "d-1": "skipped",
        "d-2": "skipped",
    }
    assert [decision.settled[name].reason for name in ("d-0", "d-1")] == [STILL_WATCHED, STOPPED]


def replace_rollout(**changes: float) -> Rollout:
    return Rollout.model_validate({**ROLLOUT.model_dump(), **changes})


STATES = st.sampled_from(get_args(Phase)).map(said)
SECONDS = st.sampled_from([0.0, 10.0, 100.0, 1000.0])
OUTCOMES = st.sampled_from(["serving", "failed", "rolled-back", "unreachable", "skipped"]).map(
    lambda state: Outcome.model_validate({"state": state})
)


@st.composite
def standing(draw: st.DrawFn) -> Standing:
    if draw(st.booleans()):
        return Standing(outcome=draw(st.none() | OUTCOMES))
    return Standing(True, draw(st.none() | STATES), draw(st.none() | OUTCOMES), draw(SECONDS), draw(SECONDS))


STANDINGS = (
    st.integers(0, 6)
    .flatmap(lambda count: st.tuples(*[standing()] * count))
    .map(lambda found: dict(zip(NAMES, found, strict=False)))
)
ROLLOUTS = st.builds(
    Rollout,
    canaries=st.integers(0, 7),
    canary_seconds=st.sampled_from([0.0, 50.0]),
    wait_seconds=st.sampled_from([50.0, 5000.0]),
)


@given(STANDINGS, ROLLOUTS, st.booleans())
def test_nobody_gets_it_twice_or_after_its_end_and_no_outcome_changes(
    standings: dict[str, Standing], rollout: Rollout, stopped: bool
) -> None:
    decision = decide(standings, rollout, stopped=stopped)
    for name in decision.give:
        assert not standings[name].given
        assert standings[name].outcome is None
        assert name not in decision.settled
    assert all(standings[name].outcome is None for name in decision.settled)
    assert not (stopped and decision.give)
    if stopped:
        assert all(found.outcome or name in decision.settled for name, found in standings.items())


class World:
    """Detectors that do what hypothesis says, one step after the other."""

    def __init__(self, count: int, rollout: Rollout) -> None:
        self.rollout = rollout
        self.standings = fresh(count)

    def turn(self) -> None:
        decision = decide(self.standings, self.rollout)
        if any(name not in decision.canaries for name in decision.give):
            proven = [found for found in self.standings.values() if found.state and found.state.judges and found.state.images]
            reachable = [
                found for found in self.standings.values() if not (found.outcome and found.outcome.state == "unreachable")
            ]
            assert len(proven) >= min(self.rollout.canaries, len(reachable) - len(decision.give))
        for name, outcome in decision.settled.items():
            self.standings[name] = replace(self.standings[name], outcome=outcome)
        for name in decision.give:
            self.standings[name] = replace(self.standings[name], given=True)


@settings(max_examples=200)
@given(
    st.integers(1, 6),
    ROLLOUTS,
    st.lists(st.sampled_from(["good", "failed", "rolled-back", "away", "stands"]), min_size=6, max_size=6),
)
def test_it_comes_to_an_end_whatever_detectors_do(count: int, rollout: Rollout, fates: list[str]) -> None:
    world = World(count, rollout)
    for _ in range(4 * count + 4):
        world.turn()
        for name, fate in zip(NAMES, fates, strict=True):
            found = world.standings.get(name)
            if found is None or not found.given or found.outcome is not None:
                continue
            if fate == "away":
                world.standings[name] = replace(found, away_seconds=1e6)
            elif fate == "failed":
                world.standings[name] = replace(found, state=said("failed"))
            elif found.state is None:
                world.standings[name] = replace(found, state=said("watching", images=int(fate != "stands")))
            elif fate == "rolled-back":
                world.standings[name] = replace(found, state=said("rolled-back"))
            elif fate == "stands":
                world.standings[name] = replace(found, judging_seconds=1e6)
            else:
                world.standings[name] = replace(found, state=said("serving"), judging_seconds=1e6)
    assert all(found.outcome is not None for found in world.standings.values())
