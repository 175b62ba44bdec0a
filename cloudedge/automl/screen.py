"""What a device cannot bear is never trained: which limits hold, which candidates keep them, and what to do where none does.

A candidate is judged by the bound of its latency and not by the expected one, as the limit holds beside a busy neighbour, too.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from cloudedge.automl.space import channels, networks
from cloudedge.documents import DataFormat
from cloudedge.documents.automl import (
    MOST_MILLISECONDS,
    Candidate,
    Change,
    Costs,
    DeviceState,
    Limit,
    Limits,
    NothingFeasible,
    QueuedJob,
    Remedy,
)
from cloudedge.errors import InvalidInput

BACKLOG_SHARE = 0.1
"""Share of the queue's work that an inference has to wait for, where nothing else is said."""

_LEAST_EXPONENT = -300
"""Of a number that is rounded; nothing costs so little."""

_LEAST_WATCHED = timedelta(days=1)
"""Most of what comes and goes on a device does so within a day."""

_LEAST_LOOKS = 100
"""A clock that is put right makes few looks seem to be of a long time; and of fewer, the twentieth lowest is little known."""

_THOUSAND = 999.5
"""From here on three digits round to a thousand, which is written out."""

REFERENCE = Candidate(layers=3, filters=16, kernel=3)
"""A network of middle size, whose expected costs say how fast a device is."""


class Predictor(Protocol):
    """Knows what candidates cost on the device."""

    def costs(self, candidate: Candidate, data: DataFormat) -> Costs:
        """What a candidate is expected to cost."""


@dataclass(frozen=True)
class Bounds:
    """The limits that hold.

    Attributes:
        limits: What a model may cost.
        why: Where each comes from, by its name.
    """

    limits: Limits
    why: Mapping[Limit, str]


def deadline(jobs: Sequence[QueuedJob], share: float = BACKLOG_SHARE) -> float | None:
    """How long an inference may take beside a queue, in seconds: the tightest deadline less a share of the backlog.

    Args:
        jobs: The queue.
        share: Of the backlog, which an inference has to wait for.

    Returns:
        Negative where the wait alone exceeds the deadline; None without a queue.
    """
    if not jobs:
        return None
    return min(job.latency_limit for job in jobs) - share * backlog(jobs)


def backlog(jobs: Iterable[QueuedJob]) -> float:
    """Seconds that the queue takes, each of its jobs where it runs fastest."""
    return sum(fastest(job) for job in jobs)


def fastest(job: QueuedJob) -> float:
    """Seconds that a job takes where it runs fastest."""
    return job.runtime_cpu if job.runtime_npu is None else min(job.runtime_cpu, job.runtime_npu)


def bounds(asked: Limits, state: DeviceState, share: float = BACKLOG_SHARE) -> Bounds:
    """The limits that hold: those asked for, as far as the queue and the memory leave room for them, now and usually.

    Args:
        asked: What a model may cost by itself.
        state: The device's queue and resources.
        share: Of the queue's backlog that an inference has to wait for.
    """
    why: dict[Limit, str] = {}
    latency, left = asked.latency_ms, deadline(state.jobs, share)
    if latency is not None:
        why["latency"] = "asked for"
    if left is not None and (latency is None or 1000 * left < latency):
        latency = min(max(0.0, 1000 * left), MOST_MILLISECONDS)
        tightest = min(job.latency_limit for job in state.jobs)
        why["latency"] = (
            f"the queue's tightest deadline of {milliseconds(1000 * tightest)} less {share:.0%} of its work of "
            f"{milliseconds(1000 * backlog(state.jobs))}"
        )
    lasting, where = _lasting_memory(state)
    memory = lasting if asked.memory_bytes is None else min(lasting, asked.memory_bytes)
    why["memory"] = "asked for" if memory == asked.memory_bytes else where
    if asked.energy_joules is not None:
        why["energy"] = "asked for"
    free = state.resources.free_memory_cpu
    training = free if asked.training_bytes is None else min(free, asked.training_bytes)
    why["training memory"] = "asked for" if training == asked.training_bytes else "free on the device"
    limits = Limits(latency_ms=latency, memory_bytes=memory, energy_joules=asked.energy_joules, training_bytes=training)
    return Bounds(limits, why)


def _lasting_memory(state: DeviceState) -> tuple[int, str]:
    """Bytes that a model may count on, which stays on the device, and where that comes from: free now, and nearly always.

    Its training is over soon, and has what is free now.
    """
    now = state.resources.free_memory_cpu, "free on the device"
    usual = state.usual
    memory = usual and usual.figures.get("free_memory_cpu")
    if not usual or not memory or memory.looks < _LEAST_LOOKS or usual.until - usual.since < _LEAST_WATCHED:
        return now
    days = round((usual.until - usual.since) / timedelta(days=1))
    last = f"the last {days} days" if days > 1 else "the last day"
    return min(now, (int(memory.low), f"free on the device at 95% of the moments of {last}"))


def excess(costs: Costs, limits: Limits) -> dict[Limit, float]:
    """How much of a cost is beyond its limit, by the limits that there are: 0 at the limit, 1 at twice it, below 0 within.

    Raises:
        InvalidInput: energy is limited, and what the candidate takes is not known.
    """
    found: dict[Limit, float] = {}
    for limit, (needed, allowed) in _compared(costs, limits).items():
        found[limit] = needed / allowed - 1 if allowed else (float("inf") if needed else 0.0)
    return found


def broken(costs: Costs, limits: Limits) -> tuple[Limit, ...]:
    """The limits that these costs break.

    Raises:
        InvalidInput: see `excess`.
    """
    return tuple(limit for limit, beyond in excess(costs, limits).items() if beyond > 0)


class Screen:
    """Knows of each candidate whether it keeps the limits, each asked about once.

    Attributes:
        limits: Those that hold.
    """

    def __init__(
        self, predictor: Predictor, data: DataFormat, limits: Limits, training: Callable[[Candidate], int] | None = None
    ) -> None:
        """Begin with no candidate.

        Args:
            predictor: Of the device.
            data: What the candidates learn from.
            limits: Those that hold, see `bounds`.
            training: Bytes that a candidate's training takes; none: its limit is not looked at.
        """
        self.limits = limits
        self._training = training
        self._predictor, self._data = predictor, data
        self._known: dict[Candidate, Costs] = {}

    def costs(self, candidate: Candidate) -> Costs:
        """What a candidate is expected to cost."""
        if candidate not in self._known:
            found = self._predictor.costs(candidate, self._data)
            if self._training is not None:
                found = found.model_copy(update={"training_bytes": self._training(candidate)})
            self._known[candidate] = found
        return self._known[candidate]

    def broken(self, candidate: Candidate) -> tuple[Limit, ...]:
        """The limits that a candidate is expected to break.

        Raises:
            InvalidInput: see `excess`.
        """
        return broken(self.costs(candidate), self.limits)

    def excess(self, candidate: Candidate) -> dict[Limit, float]:
        """How far a candidate is expected to be beyond each limit.

        Raises:
            InvalidInput: see `excess`.
        """
        return excess(self.costs(candidate), self.limits)

    def feasible(self, candidates: Iterable[Candidate] | None = None) -> list[Candidate]:
        """Those that are expected to keep all limits, in their order; of all candidates where none are given."""
        return [each for each in (networks().everything if candidates is None else candidates) if not self.broken(each)]

    def nothing_feasible(self, why: Mapping[Limit, str]) -> NothingFeasible | None:
        """What is in the way where no candidate keeps all limits; None where one does.

        Args:
            why: Where the limits come from.
        """
        beyond = {each: {limit: by for limit, by in self.excess(each).items() if by > 0} for each in networks().everything}
        if not all(beyond.values()):
            return None
        # For each set of limits the candidate that needs the least of them: of a set that holds another one, nobody wants it.
        least: dict[frozenset[Limit], Candidate] = {}
        for candidate, limits in beyond.items():
            kept = least.setdefault(frozenset(limits), candidate)
            if self._distance(candidate, limits) < self._distance(kept, beyond[kept]):
                least[frozenset(limits)] = candidate
        useful = [each for limits, each in least.items() if not any(other < limits for other in least)]
        useful.sort(key=lambda each: (len(beyond[each]), self._distance(each, beyond[each])))
        remedies = tuple(self._remedy(each, beyond[each]) for each in useful)
        return NothingFeasible(candidates=len(beyond), binding=remedies[0].changes[0].limit, remedies=remedies, why=dict(why))

    def _distance(self, candidate: Candidate, beyond: Mapping[Limit, float]) -> tuple[float, list[float]]:
        """How much has to change; where nothing at all is allowed, what the candidate needs decides."""
        compared = _compared(self.costs(candidate), self.limits)
        return max(beyond.values()), [compared[limit][0] for limit in beyond]

    def _remedy(self, candidate: Candidate, beyond: Mapping[Limit, float]) -> Remedy:
        compared = _compared(self.costs(candidate), self.limits)
        order = sorted(beyond, key=lambda limit: -beyond[limit])
        changes = [Change(limit=limit, needed=compared[limit][0], allowed=compared[limit][1]) for limit in order]
        return Remedy(candidate=candidate, predicted=self.costs(candidate), changes=tuple(changes))


def in_words(found: NothingFeasible) -> str:
    """The answer for a person: what binds, by how much, and what would have to change."""
    first, *others = found.remedies
    names = " and the ".join(change.limit for change in first.changes)
    binds = "binds" if len(first.changes) == 1 else "bind"
    needs = []
    for change in first.changes:
        source = f" ({found.why[change.limit]})" if change.limit in found.why else ""
        allowed = f"the limit of {amount(change.limit, change.allowed)}{source}"
        by = (
            f"{times(change.needed / change.allowed)} times {allowed}"
            if change.allowed
            else f"where nothing is allowed{source}"
        )
        needs.append(f"{amount(change.limit, change.needed)} of {change.limit}, {by}")
    lines = [
        f"Nothing was trained: none of the {found.candidates} networks keeps all limits. The {names} {binds}.",
        f"The nearest one, {candidate_in_words(first.candidate)}, needs {'; and '.join(needs)}.",
        f"It would fit if {_asked(first)}{_device(first)}.",
    ]
    lines += [f"Or if {_asked(other)}: {candidate_in_words(other.candidate)} would." for other in others]
    return "\n".join(lines)


def candidate_in_words(candidate: Candidate) -> str:
    """A network, as a sentence names it."""
    layers = "1 layer" if candidate.layers == 1 else f"{candidate.layers} layers"
    numbers = channels(candidate)
    width = f"{numbers[0]} to {numbers[-1]} filters" if numbers[0] != numbers[-1] else f"{numbers[0]} filters"
    return f"{layers} of {width} with kernels of {candidate.kernel}"


def milliseconds(value: float) -> str:
    """A time."""
    return f"{times(value)} ms" if value < _THOUSAND else f"{times(value / 1000)} s"


def times(factor: float) -> str:
    """How many times."""
    return f"{factor:.3g}" if factor < _THOUSAND else f"{factor:,.0f}"


def amount(limit: Limit, value: float) -> str:
    """A cost, rounded up, so that a limit that is set to it is kept."""
    if value > 0:
        step = 10.0 ** max(_LEAST_EXPONENT, math.floor(math.log10(value)) - 2)
        value = math.ceil(value / step * (1 - 1e-9)) * step
    if limit == "latency":
        return milliseconds(value)
    return f"{times(value)} J" if limit == "energy" else f"{value:,.0f} bytes"


def _compared(costs: Costs, limits: Limits) -> dict[Limit, tuple[float, float]]:
    """Needed and allowed, by the limits that there are."""
    found: dict[Limit, tuple[float, float]] = {}
    if limits.latency_ms is not None:
        found["latency"] = costs.latency_bound_ms, limits.latency_ms
    if limits.memory_bytes is not None:
        found["memory"] = costs.memory_bytes, limits.memory_bytes
    if limits.energy_joules is not None:
        if costs.energy_joules is None:
            raise unknown_energy(limits.energy_joules)
        found["energy"] = costs.energy_joules, limits.energy_joules
    if limits.training_bytes is not None and costs.training_bytes is not None:
        found["training memory"] = costs.training_bytes, limits.training_bytes
    return found


def unknown_energy(limit: float) -> InvalidInput:
    """Refuses a limit in joules on a device of which nobody knows what it takes."""
    return InvalidInput(
        f"Energy is limited to {limit:g} J, but what a network takes is not known on this device: its meter cannot be read. "
        "Give idle_watts and busy_watts in its description, or leave the limit out."
    )


def _asked(remedy: Remedy) -> str:
    return f"{' and '.join(f'{amount(each.limit, each.needed)} of {each.limit}' for each in remedy.changes)} were allowed"


def _device(remedy: Remedy) -> str:
    """What a device would have to be for the same limit."""
    match remedy.changes:
        case [Change(limit="latency", needed=needed, allowed=allowed)] if allowed:
            return f", or on a device {times(needed / allowed)} times as fast"
        case [Change(limit="training memory")]:
            return ", or with smaller batches"
    return ""
