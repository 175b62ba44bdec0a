"""What something composed of parts costs, learned from whole ones that were measured: parts that are alike cost alike.

A whole's cost is the sum over its parts of an estimate, linear in what the part does, times one plus a smooth function of what
the part is; that function has a Gaussian process before it. As a sum of Gaussian processes is one, whole measurements are all
that it takes, and it needs no clock inside of the runtime.

Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006: algorithm 2.1, leave-one-out by (5.10) to (5.12),
hyperparameters by the marginal likelihood (5.8). Duvenaud et al., "Additive Gaussian Processes", NIPS 2011, for the sum.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_STEPS = (2.0, 1.4, 1.2)
"""Factors by which hyperparameters are moved in search of better ones, coarsest first."""

_LEAST, _MOST = 1e-3, 30.0
"""Bounds of a hyperparameter."""


@dataclass(frozen=True)
class Whole:
    """Something composed of parts.

    Attributes:
        work: What each part does (parts, works): counts that its cost is about linear in; not negative.
        kind: What each part is (parts, features): parts at small distances behave alike.
        other: What the whole does beside its parts (others): as `work`, once.
    """

    work: Array
    kind: Array
    other: Array

    @property
    def row(self) -> Array:
        """All counts of the whole."""
        return np.concatenate([self.work.sum(0), self.other])


@dataclass(frozen=True)
class Hyperparameters:
    """Of the process.

    Attributes:
        amplitude: How far parts are off their linear estimate, relative to it.
        noise: How far measured wholes are off, relative to them.
        scales: Distance in each feature over which parts become unlike.
    """

    amplitude: float
    noise: float
    scales: tuple[float, ...]


USUAL = Hyperparameters(0.3, 0.02, (1.5,))
"""Those that a search begins with; the one scale is each feature's."""


class Regression:
    """A model of costs that is fitted."""

    def __init__(
        self,
        wholes: Sequence[Whole],
        costs: Array,
        hyperparameters: Hyperparameters | None = None,
        until: float = float("inf"),
    ) -> None:
        """Fit it.

        Args:
            wholes: What was measured.
            costs: What each cost (wholes), positive.
            hyperparameters: Of the process; none: they are searched for, which takes about a second.
            until: When that search ends at the latest, by `time.monotonic`.
        """
        rows = np.array([whole.row for whole in wholes])
        self._linear = _not_negative(rows / costs[:, np.newaxis])
        self._parts = _Parts(wholes, self._linear)
        self._target = costs / self._parts.estimates - 1
        self.hyperparameters = hyperparameters or self._searched(wholes[0].kind.shape[1], until)
        self._inverse, _ = self._solved(self.hyperparameters)
        self._weights = self._inverse @ self._target

    def predict(self, wholes: Sequence[Whole]) -> Array:
        """Expected costs (wholes)."""
        asked = _Parts(wholes, self._linear)
        found = 1 + _covariance(asked, self._parts, self.hyperparameters) @ self._weights
        # A cost is never negative, whatever is extrapolated.
        costs: Array = asked.estimates * np.maximum(found, 0.1)
        return costs

    @cached_property
    def left_out(self) -> Array:
        """What would be expected of each measured whole, had it not been measured (wholes)."""
        found = 1 + self._target - self._weights / np.diag(self._inverse)
        costs: Array = self._parts.estimates * np.maximum(found, 0.1)
        return costs

    def _solved(self, chosen: Hyperparameters) -> tuple[Array, float]:
        """Inverse of the covariance of what was measured, and how likely that is: the logarithm, but for a constant."""
        covariance = _covariance(self._parts, self._parts, chosen) + chosen.noise**2 * np.eye(len(self._target))
        factor = np.linalg.inv(np.linalg.cholesky(covariance))
        inverse = factor.T @ factor
        likelihood = np.log(np.diag(factor)).sum() - self._target @ inverse @ self._target / 2
        return inverse, float(likelihood)

    def _searched(self, features: int, until: float) -> Hyperparameters:
        """The most likely hyperparameters near those that usually are, one after the other."""
        found = np.array([USUAL.amplitude, USUAL.noise, *USUAL.scales * features])
        best = self._likelihood(found)
        for step in _STEPS:
            for place in range(len(found)):
                for factor in (step, 1 / step):
                    tried = found.copy()
                    tried[place] = np.clip(tried[place] * factor, _LEAST, _MOST)
                    while time.monotonic() < until and (likelihood := self._likelihood(tried)) > best + 1e-3:
                        found, best = tried.copy(), likelihood
                        tried[place] = np.clip(tried[place] * factor, _LEAST, _MOST)
        return _named(found)

    def _likelihood(self, values: Array) -> float:
        try:
            return self._solved(_named(values))[1]
        except np.linalg.LinAlgError:
            return -np.inf


class _Parts:
    """All parts of some wholes, one after the other."""

    def __init__(self, wholes: Sequence[Whole], linear: Array) -> None:
        works = wholes[0].work.shape[1]
        self.estimates = np.array([whole.row @ linear for whole in wholes])
        self.kind = np.concatenate([whole.kind for whole in wholes])
        counts = [len(whole.kind) for whole in wholes]
        self.shares = np.zeros((len(wholes), len(self.kind)))
        """Of each part in the estimate of its whole (wholes, parts)."""
        first = 0
        for place, (whole, count) in enumerate(zip(wholes, counts, strict=True)):
            self.shares[place, first : first + count] = whole.work @ linear[:works] / self.estimates[place]
            first += count


def _covariance(some: _Parts, others: _Parts, chosen: Hyperparameters) -> Array:
    scales = np.array(chosen.scales)
    left, right = some.kind / scales, others.kind / scales
    squares = (left**2).sum(1)[:, np.newaxis] + (right**2).sum(1) - 2 * left @ right.T
    found: Array = chosen.amplitude**2 * (some.shares @ np.exp(-np.maximum(squares, 0) / 2) @ others.shares.T)
    return found


def _named(values: Array) -> Hyperparameters:
    amplitude, noise, *scales = map(float, values)
    return Hyperparameters(amplitude, noise, tuple(scales))


def _not_negative(rows: Array) -> Array:
    """Coefficients by which rows come nearest to 1, none of them negative: those that would be are left out."""
    sizes = np.maximum(np.abs(rows).max(0), 1e-300)
    found, kept = np.zeros(rows.shape[1]), np.arange(rows.shape[1])
    while len(kept):
        solved = np.linalg.lstsq(rows[:, kept] / sizes[kept], np.ones(len(rows)), rcond=1e-9)[0]
        if (solved >= 0).all():
            found[kept] = solved / sizes[kept]
            break
        kept = np.delete(kept, np.argmin(solved))
    return found
