"""Which detectors get a model next, and what became of it where it went: decided from how all of them stand, and nothing else.

The first ones are canaries: the others get the model when these have judged by it, within their bounds, for as long as asked.
A canary that cannot be reached proves nothing, and another takes its place; one that fails, or leaves its bounds, ends it for
those that have not got it, and so does one whose line stands.

A detector serves once it has watched the model to the end. Only where that does not come, as no part does, it is not waited for
longer than for one that is away.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cloudedge.documents.inspection import Bounds, Rollout
from cloudedge.documents.kinds.deploy import Outcome
from cloudedge.documents.line import DeploymentState

SETTLED_SECONDS = 1.5
"""How long a detector must have judged by a model before it counts as serving: until then it may not have told how long parts
waited for the swap."""

STOPPED = "the deployment was stopped before"
STILL_WATCHED = "the deployment was stopped while the model was still watched"

FOR_NOW = frozenset({STOPPED, STILL_WATCHED})
"""Reasons of outcomes that hold only as long as the deployment is stopped: it may be asked for again, and goes on then."""


@dataclass(frozen=True)
class Standing:
    """How a deployment stands at one detector.

    Attributes:
        given: Whether the detector was told to get it.
        state: What the detector last said of it.
        outcome: What became of it there, once that is known.
        judging_seconds: How long it has judged by it.
        away_seconds: How long it has been away, since it was told; 0: it is here.
    """

    given: bool = False
    state: DeploymentState | None = None
    outcome: Outcome | None = None
    judging_seconds: float = 0.0
    away_seconds: float = 0.0


@dataclass(frozen=True)
class Decision:
    """What follows.

    Attributes:
        give: Detectors that get the model now.
        canaries: Those of them that are canaries.
        settled: Outcomes that are known now and were not before.
    """

    give: tuple[str, ...] = ()
    canaries: frozenset[str] = frozenset()
    settled: dict[str, Outcome] = field(default_factory=dict)


def decide(standings: Mapping[str, Standing], rollout: Rollout, bounds: Bounds, *, stopped: bool = False) -> Decision:
    """What follows from how a deployment stands.

    Args:
        standings: By detector, in the order of their turns.
        rollout: What was asked.
        bounds: For how long each detector watches the model.
        stopped: Whether nobody else is to get it.
    """
    canaries = _canaries(standings, rollout)
    settled: dict[str, Outcome] = {}
    for name, standing in standings.items():
        if standing.outcome is None:
            outcome = _outcome(standing, rollout, bounds, canary=name in canaries, stopped=stopped)
            if outcome is not None:
                settled[name] = outcome
    after = {name: replace(standing, outcome=standing.outcome or settled.get(name)) for name, standing in standings.items()}
    waiting = tuple(name for name, standing in after.items() if not standing.given and standing.outcome is None)
    canaries = _canaries(after, rollout)  # In the place of one that was found to be away there is another now.
    for name in canaries:
        why = _why_it_ends(after[name], rollout, bounds)
        if why:
            skipped = Outcome(state="skipped", reason=f"{why} at the canary {name}")
            return Decision(settled={**settled, **dict.fromkeys(waiting, skipped)})
    first = tuple(name for name in canaries if name in waiting)
    if first or all(_lets_others(after[name], rollout) for name in canaries):
        return Decision(first or waiting, frozenset(first), settled)
    return Decision(settled=settled)


def _canaries(standings: Mapping[str, Standing], rollout: Rollout) -> list[str]:
    return [name for name, standing in standings.items() if not _is(standing, "unreachable")][: rollout.canaries]


def _why_it_ends(canary: Standing, rollout: Rollout, bounds: Bounds) -> str:
    """What became of it at a canary, where that ends it for those that have not got it; empty: it goes on."""
    if _is(canary, "failed"):
        return "it failed"
    if _is(canary, "rolled-back"):
        return "it was rolled back"
    longest = _longest(rollout, bounds, canary=True)
    stands = _is(canary, "serving") and not _proven(canary, rollout) and canary.judging_seconds >= longest
    return "no part was judged" if stands else ""


def _lets_others(canary: Standing, rollout: Rollout) -> bool:
    """Whether a canary has shown enough; of one that is away nobody knows what it shows, unless that is known to the end."""
    return _proven(canary, rollout) and (not canary.away_seconds or _is(canary, "serving"))


def _proven(canary: Standing, rollout: Rollout) -> bool:
    """Whether a canary has judged by it for so long that others may.

    One that is watched and has judged nothing, as on a line that stands, has proven nothing.
    """
    state = canary.state
    judged = state is not None and (state.phase == "serving" or (state.judges and state.images > 0))
    return judged and canary.judging_seconds >= rollout.canary_seconds


def _longest(rollout: Rollout, bounds: Bounds, *, canary: bool) -> float:
    """How long the end of a watch is waited for, in seconds."""
    return max(bounds.watch_seconds, rollout.canary_seconds if canary else 0.0) + rollout.wait_seconds


def _outcome(standing: Standing, rollout: Rollout, bounds: Bounds, *, canary: bool, stopped: bool) -> Outcome | None:
    """What became of it at a detector, if that is known."""
    state, judging = standing.state, standing.judging_seconds
    judges = state is not None and state.judges
    if state is not None and state.phase in ("failed", "rolled-back"):
        return told(state, state.phase, state.reason)
    watched = state is not None and state.phase == "serving" and judging >= SETTLED_SECONDS
    if state is not None and watched and (not canary or _proven(standing, rollout)):
        return told(state, "serving", state.reason)
    if standing.given and standing.away_seconds >= rollout.wait_seconds:
        said = "it began to judge by it, and then" if judges else "it"
        return told(state, "unreachable", f"{said} was away for {rollout.wait_seconds:g} s")
    if state is not None and judges and not standing.away_seconds and judging >= _longest(rollout, bounds, canary=canary):
        return told(state, "serving", _still_watched(state, judging))
    if not stopped:
        return None
    return told(state, "serving", STILL_WATCHED) if judges else Outcome(state="skipped", reason=STOPPED)


def _still_watched(state: DeploymentState, seconds: float) -> str:
    seen = f"{state.images} images were" if state.images else "no image was"
    return f"still watched: {seen} judged within {seconds:.0f} s; it goes back by itself if it leaves its bounds"


def told(state: DeploymentState | None, outcome: str, reason: str = "") -> Outcome:
    """An outcome with the figures that a detector told."""
    figures = {} if state is None else state.model_dump(include=Outcome.model_fields.keys() - {"state", "reason"})
    return Outcome.model_validate({**figures, "state": outcome, "reason": reason})


def _is(standing: Standing, *states: str) -> bool:
    return standing.outcome is not None and standing.outcome.state in states
