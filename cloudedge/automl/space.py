"""Which networks a search chooses from, and in which order it tries them: from the caps downward."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any, Generic, TypeVar

from cloudedge.documents.automl import FILTERS, KERNELS, MOST_LAYERS, Candidate, Hyperparameters
from cloudedge.documents.training import ModelSpec

LEAST_FILTERS = FILTERS[0]
"""Channels of a layer are never fewer."""

_LEAST = 1e-12
"""Less likely than this is as this."""

Preferences = Mapping[str, Sequence[float]]

C = TypeVar("C", bound=Hashable)


@dataclass(frozen=True)
class Space(Generic[C]):
    """Combinations of a few choices.

    Attributes:
        choices: By name, each from the smallest to the largest.
        make: What some choices are. Different ones may be the same thing, which is in the space once.
        everything: All that is in it by the places of its choices; of equal things the first.
    """

    choices: Mapping[str, Sequence[Any]]
    make: Callable[..., C]
    everything: Mapping[C, tuple[int, ...]] = field(init=False)

    def __post_init__(self) -> None:
        """List everything."""
        found: dict[C, tuple[int, ...]] = {}
        for places in product(*(range(len(values)) for values in self.choices.values())):
            found.setdefault(self.at(places), places)
        object.__setattr__(self, "everything", found)

    def at(self, places: Sequence[int]) -> C:
        """What stands at some places of the choices."""
        chosen = {name: values[place] for (name, values), place in zip(self.choices.items(), places, strict=True)}
        return self.make(**chosen)

    def below(self, caps: Mapping[str, Any], preferences: Preferences | None = None) -> list[C]:
        """All that exceeds no cap, from the caps downward: the fewer steps below them the earlier, then the larger one first.

        Args:
            caps: Largest value by name of the choice; what has none is not capped.
            preferences: How likely each choice is the best one, by name, the smallest choice first. Then the likely come
                before the unlikely, and steps decide among equals.
        """
        likely = preferences or {}
        highest = [values.index(caps[name]) if name in caps else len(values) - 1 for name, values in self.choices.items()]
        within = {
            item: places
            for item, places in self.everything.items()
            if all(place <= most for place, most in zip(places, highest, strict=True))
        }

        def key(item: C) -> tuple[float, int, list[int]]:
            places = dict(zip(self.choices, within[item], strict=True))
            unlikely = -sum(math.log(max(shares[places[name]], _LEAST)) for name, shares in likely.items())
            return unlikely, sum(highest) - sum(places.values()), [-place for place in places.values()]

        return sorted(within, key=key)


def channels(candidate: Candidate) -> tuple[int, ...]:
    """Channels of each of its layers, first one first."""
    if not candidate.growing:
        return (candidate.filters,) * candidate.layers
    return tuple(max(LEAST_FILTERS, candidate.filters >> later) for later in reversed(range(candidate.layers)))


def spec(candidate: Candidate) -> ModelSpec:
    """The network that a candidate is. Its batch normalisation costs nothing once it is folded into the convolutions."""
    parameters = {"channels": list(channels(candidate)), "kernel": candidate.kernel, "norm": "batch"}
    return ModelSpec(architecture="convnet", parameters=parameters)


def canonical(candidate: Candidate) -> Candidate:
    """The same network, said in one way: it grows only where its channels differ."""
    return candidate.model_copy(update={"growing": candidate.growing and len(set(channels(candidate))) > 1})


def _candidate(layers: int, filters: Any, kernel: Any, growing: bool) -> Candidate:
    return canonical(Candidate(layers=layers, filters=filters, kernel=kernel, growing=growing))


@cache
def networks() -> Space[Candidate]:
    """All candidates."""
    return Space(
        {"layers": range(1, MOST_LAYERS + 1), "filters": FILTERS, "kernel": KERNELS, "growing": (True, False)}, _candidate
    )


def below(caps: Hyperparameters, preferences: Preferences | None = None) -> list[Candidate]:
    """Candidates that exceed no cap, in the order of `Space.below`."""
    return networks().below({"layers": caps.layers, "filters": caps.filters, "kernel": caps.kernel}, preferences)
