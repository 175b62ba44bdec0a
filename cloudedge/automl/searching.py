"""The search: what is tried next, led by the meta model's caps or, outside of its range, by Optuna.

A search is what was recorded of it: what comes next follows from that alone. So one that was killed goes on where it was, at
the candidate that it was at, whose training may go on from its checkpoint; and what was trained is never trained again.

Outside of the meta model's range: Watanabe, "Tree-structured Parzen Estimator: Understanding Its Algorithm Components and Their
Roles for Better Empirical Performance", 2023, with constraints, as Optuna has it.
"""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from cloudedge.automl.screen import Screen, broken, excess
from cloudedge.automl.space import Space, below, networks
from cloudedge.documents.automl import Candidate, Hyperparameters, Limit, Limits, TraceRow, Trial
from cloudedge.errors import Conflict, InvalidInput
from cloudedge.seeds import derived_seed

if TYPE_CHECKING:
    import optuna

C = TypeVar("C", bound=Hashable)

_STARTUP = 4
"""Trained candidates before the estimator is asked. Those that are screened out count, too, and cost nothing."""

_MOST_BEYOND = 1e12
"""Where nothing is allowed at all, any cost is infinitely far beyond it, which is no number to learn from."""

_MOST_REPEATED = 10
"""Proposals in a row that are known; then what is left is taken in its order."""


class Known(NamedTuple, Generic[C]):
    """What was tried.

    Attributes:
        item: It.
        value: How good it is; None: it was screened out.
        excess: How far it is beyond each limit; 0 and below: within.
    """

    item: C
    value: float | None
    excess: Mapping[Any, float]


class Chooser(Protocol[C]):
    """Says what comes next."""

    def __iter__(self) -> Iterator[C]:
        """What was not tried yet, one after the other."""

    def tell(self, known: Known[C]) -> None:
        """Hear what came of the last one, before the next one is asked for."""


class Downward(Generic[C]):
    """From the caps downward."""

    def __init__(self, order: Sequence[C], known: Sequence[Known[C]] = ()) -> None:
        """Take up a search.

        Args:
            order: What there is, from the caps downward.
            known: What was tried.
        """
        done = {one.item for one in known}
        self._left = [item for item in order if item not in done]

    def __iter__(self) -> Iterator[C]:
        """See `Chooser`."""
        yield from self._left

    def tell(self, known: Known[C]) -> None:
        """See `Chooser`: nothing comes of it, the order is settled."""


class Tpe(Generic[C]):
    """Optuna's constrained tree-structured Parzen estimator."""

    def __init__(self, space: Space[C], seed: int, known: Sequence[Known[C]] = ()) -> None:
        """Take up a search.

        Args:
            space: What there is.
            seed: What is proposed follows from it, and from what is known.
            known: What was tried.

        Raises:
            InvalidInput: Optuna is not installed.
        """
        try:
            import optuna
        except ImportError:
            raise InvalidInput(
                "A search outside of the meta model's range needs Optuna: install cloudedge with its extra 'edge'."
            ) from None
        self._space = space
        self._done: dict[C, Known[C]] = {}
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {
            name: optuna.distributions.IntDistribution(0, len(values) - 1) for name, values in space.choices.items()
        }
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=derived_seed(seed, "tpe", len(known)) % 2**32, n_startup_trials=_STARTUP)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        optuna.logging.set_verbosity(level)
        for one in known:
            places = space.everything.get(one.item)
            if places is not None:
                self._study.enqueue_trial(dict(zip(space.choices, places, strict=True)))
                self._hear(self._study.ask(self._distributions), one)
        self._asked: optuna.trial.Trial | None = None

    def __iter__(self) -> Iterator[C]:
        """See `Chooser`."""
        while len(self._done) < len(self._space.everything):
            yield self._next()

    def tell(self, known: Known[C]) -> None:
        """See `Chooser`."""
        if self._asked is None:
            self._study.enqueue_trial(dict(zip(self._space.choices, self._space.everything[known.item], strict=True)))
            self._asked = self._study.ask(self._distributions)
        asked, self._asked = self._asked, None
        self._hear(asked, known)

    def _next(self) -> C:
        for _ in range(_MOST_REPEATED):
            asked = self._study.ask(self._distributions)
            item = self._space.at([asked.params[name] for name in self._space.choices])
            if item not in self._done:
                self._asked = asked
                return item
            self._hear(asked, self._done[item])
        self._asked = None
        return next(item for item in self._space.everything if item not in self._done)

    def _hear(self, asked: "optuna.trial.Trial", known: Known[C]) -> None:
        self._done[known.item] = known
        for limit, beyond in known.excess.items():
            asked.set_constraint(limit, min(beyond, _MOST_BEYOND))
        self._study.tell(asked, 0.0 if known.value is None else known.value)


class Search:
    """A search under way: ask for a candidate, train it, tell what came of it.

    Attributes:
        row: All of it: what it set out with, and what was tried. Kept after each `tell`, a search is taken up again from it.
    """

    def __init__(self, row: TraceRow, screen: Screen, most: int, seed: int = 0) -> None:
        """Begin a search, or take one up.

        Args:
            row: What it sets out with; its trials are those that are over.
            screen: Of the device, with the row's limits.
            most: Candidates that are trained, at most.
            seed: What Optuna proposes follows from it, where that leads; the same one each time that a search is taken up.

        Raises:
            InvalidInput: none may be trained.
        """
        if most < 1:
            raise InvalidInput(f"The search may train {most} candidates: give 1 or more.")
        self.row = row
        self._screen, self._most, self._seed = screen, most, seed
        self._asked: Trial | None = None

    @property
    def left(self) -> int:
        """How many more may be trained."""
        return max(0, self._most - sum(trial.accuracy is not None for trial in self.row.trials))

    def ask(self) -> Trial | None:
        """The next candidate that is worth training, with what it is expected to cost; None: the search is over.

        What it screens out on the way is noted in `row`. Asked again before anything is told, it names the same one.

        Raises:
            InvalidInput: Optuna is needed and not installed, or energy is limited and not known.
        """
        if self._asked is None and self.left:
            self._asked = self._next()
        return self._asked

    def _next(self) -> Trial | None:
        caps, too_much = self.row.hyperparameters, self._too_much()
        chooser = self._chooser()
        for candidate in chooser:
            trial = Trial(
                candidate=candidate,
                loss=caps.loss,
                seed=caps.seed,
                predicted=self._screen.costs(candidate),
                broken=self._broken(candidate, too_much),
            )
            if not trial.broken:
                return trial
            chooser.tell(self._known(trial))
            self._note(trial)
        return None

    def tell(self, trial: Trial) -> None:
        """Note a trial that is over: trained, and measured where its model is to be returned.

        Raises:
            Conflict: it was noted before, or was not trained.
        """
        if trial.accuracy is None:
            raise Conflict("A trial is told of once its candidate is trained.")
        self._require_new(trial)
        self._note(trial)

    def refuse(self, trial: Trial) -> None:
        """Note a candidate that was measured above a limit before it was trained, and so is not.

        Raises:
            Conflict: it was noted before, or trained, or breaks no limit.
        """
        if trial.accuracy is not None or trial.measured is None or not trial.broken:
            raise Conflict("A candidate is refused that was measured above a limit, and not trained.")
        self._require_new(trial)
        self._note(trial)

    def _require_new(self, trial: Trial) -> None:
        if any(_same(trial, other) for other in self.row.trials):
            raise Conflict(f"The candidate {trial.candidate.model_dump()} was told of before; each is trained once.")

    def _note(self, trial: Trial) -> None:
        self._asked = None
        trials = (*self.row.trials, trial)
        self.row = self.row.model_copy(update={"trials": trials, "best": best(trials, self._screen.limits)})

    def _too_much(self) -> dict[Limit, float]:
        """By limit the least excess that was expected of a candidate which was measured above it."""
        found: dict[Limit, float] = {}
        for trial in self.row.trials:
            for limit in broken(trial.measured, self._screen.limits) if trial.measured else ():
                expected = excess(trial.predicted, self._screen.limits)[limit]
                found[limit] = min(expected, found.get(limit, expected))
        return found

    def _broken(self, candidate: Candidate, too_much: Mapping[Limit, float]) -> tuple[Limit, ...]:
        """The limits that a candidate is expected to break: what costs no less than one that broke it would break it, too."""
        beyond = self._screen.excess(candidate)
        return tuple(limit for limit, by in beyond.items() if by > 0 or by >= too_much.get(limit, math.inf))

    def _chooser(self) -> Chooser[Candidate]:
        known = [self._known(trial) for trial in self.row.trials]
        if self.row.by == "tpe":
            return Tpe(networks(), self._seed, known)
        return Downward(below(self.row.hyperparameters, self.row.preferences), known)

    def _known(self, trial: Trial) -> Known[Candidate]:
        beyond = self._screen.excess(trial.candidate)
        if trial.measured is not None:
            beyond |= excess(trial.measured, self._screen.limits)
        return Known(trial.candidate, trial.accuracy, beyond)


def best(trials: Sequence[Trial], limits: Limits) -> int | None:
    """The place of the most accurate trial that keeps the limits as measured; of equals the fastest one.

    A model that was not measured is none to return.

    Args:
        trials: What was tried.
        limits: Those that hold.

    Returns:
        None: there is none.
    """
    kept = [
        (trial.accuracy, -trial.measured.latency_ms, -place)
        for place, trial in enumerate(trials)
        if trial.accuracy is not None and trial.measured is not None and not broken(trial.measured, limits)
    ]
    return -max(kept)[2] if kept else None


def _same(one: Trial, other: Trial) -> bool:
    return (one.candidate, one.loss, one.seed) == (other.candidate, other.loss, other.seed)


def everything() -> Hyperparameters:
    """Caps that cap nothing."""
    highest = {name: values[-1] for name, values in networks().choices.items() if name in Hyperparameters.model_fields}
    return Hyperparameters.model_validate(highest)
