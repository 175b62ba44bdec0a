"""What a fusion rule is. Each stands in a file of its own in `cloud/fusion/rules`, where it is found by its name.

A rule is one of three kinds, and the file's `RULE`:

- `Averaging`: the fused model is a weighted average; the rule gives the weights.
- `CoordinateWise`: each number of the fused model is computed from the same number of all models.
- `ServerOptimizer`: the averaged change is a gradient for an optimizer that remembers earlier rounds.
"""

import pkgutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from cloud.fusion import rules
from cloudedge.documents import canonical_json, parse
from cloudedge.documents.base import Part
from cloudedge.errors import InvalidInput

Floats = npt.NDArray[np.floating[Any]]


class NoSetting(Part):
    """The setting of a rule that has none."""

    called = "setting: it has none"


SettingT = TypeVar("SettingT", bound=Part)


@dataclass(frozen=True)
class Contribution:
    """An edge's model as fusion sees it, after its file has been checked.

    Attributes:
        edge: Name of the edge.
        path: The model's file.
        samples: Samples that it was trained on, held-out ones excluded.
        accuracy: Share of the edge's held-out samples classified correctly, 0 to 1; none: it has no such sample.
        round: Round that it was trained in.
        sha256: Digest of the file.
    """

    edge: str
    path: Path
    samples: int
    accuracy: float | None
    round: int
    sha256: str


class Candidates(Protocol):
    """The models of one fusion, as an averaging rule may look at them."""

    @property
    def contributions(self) -> Sequence[Contribution]:
        """The edges' models, ordered by edge."""

    def score(self, weights: Sequence[float]) -> float:
        """Held-out accuracy of the model that these weights give; of the base model if all are 0.

        Raises:
            InvalidInput: nobody can measure accuracy here.
        """

    def squared_distances(self) -> npt.NDArray[np.float64]:
        """Squared Euclidean distances between the models, shape (contributions, contributions)."""


@dataclass(frozen=True)
class Averaging(Generic[SettingT]):
    """A rule that gives one weight per contribution, in their order.

    Attributes:
        weights: From the models and the setting to weights, at least 0; what counts is their proportion.
            Where all are 0 the base model stays.
        setting: What `fusion.parameters` may hold.
        check: Raises InvalidInput where the setting does not suit the names of the edges that take part; none: it suits any.
        measures: Whether it asks for scores, so that there must be samples in the cloud to measure on.
    """

    weights: Callable[[Candidates, SettingT], Sequence[float]]
    setting: type[SettingT]
    check: Callable[[Collection[str], SettingT], None] | None = None
    measures: bool = False


@dataclass(frozen=True)
class CoordinateWise(Generic[SettingT]):
    """A rule that computes each number by itself.

    Attributes:
        combine: From a block of all models, shape (models, n), and the setting to the fused block, shape (n,).
            The block may be overwritten.
        setting: What `fusion.parameters` may hold.
    """

    combine: Callable[[Floats, SettingT], Floats]
    setting: type[SettingT]


@dataclass(frozen=True)
class ServerOptimizer(Generic[SettingT]):
    """A rule that takes a step from the base model, in a direction that the average gives.

    Attributes:
        memory: What is remembered of each number from round to round, and its value before the first, by name.
        step: From the base (n,), the average minus the base (n,), the memory (each (n,)) and the setting to the fused
            block (n,) and the new memory.
        setting: What `fusion.parameters` may hold.
    """

    memory: Callable[[SettingT], Mapping[str, float]]
    step: Callable[[Floats, Floats, Mapping[str, Floats], SettingT], tuple[Floats, Mapping[str, Floats]]]
    setting: type[SettingT]


AnyRule = Averaging[Any] | CoordinateWise[Any] | ServerOptimizer[Any]


def rule_names() -> list[str]:
    """Names of all rules: their files' names, with hyphens for underscores."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(rules.__path__))


def find_rule(name: str, parameters: Mapping[str, Any], edges: Collection[str] = ()) -> tuple[AnyRule, Any]:
    """A rule by its name, and its setting.

    Args:
        name: The rule's.
        parameters: What a task gives it.
        edges: Names of the edges whose models it will have; none: not known yet.

    Raises:
        InvalidInput: there is no such rule, these are not its parameters, or they do not suit the edges.
    """
    if name not in rule_names():
        raise InvalidInput(f"There is no fusion rule {name!r}. There are: {', '.join(rule_names())}.")
    rule: AnyRule = import_module(f"{rules.__name__}.{name.replace('-', '_')}").RULE
    setting = parse(rule.setting, canonical_json(dict(parameters)), f"What fusion.parameters gives the rule {name!r}")
    if edges and isinstance(rule, Averaging) and rule.check is not None:
        rule.check(edges, setting)
    return rule, setting
