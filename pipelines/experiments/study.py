"""A sweep whose values Optuna chooses, each after what the former ones brought."""

import json
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import optuna

from cloudedge.documents import canonical_json
from cloudedge.errors import InvalidInput
from pipelines.experiments.book import Book
from pipelines.experiments.task import Task
from pipelines.experiments.trials import SEED, Check, Combination, Values, combination_of, require_number, require_seeds

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial as Asked

_MOST_DRAWN = 100
"""Draws in a row of values that do not go together; more than that, and hardly any do."""


class Study:
    """Asks Optuna what to try next. What was tried is in a book, so that the same sweep goes on with it.

    Attributes:
        study: Optuna's own, for its plots and importances.
    """

    def __init__(
        self,
        task: Task,
        over: Values,
        seeds: int,
        trials: int,
        sampler: "BaseSampler | str | None",
        book: Book,
        check: Check = lambda _: None,
    ) -> None:
        """Take up what was tried.

        Args:
            task: What all trials have in common.
            over: By field, a list of values or one of Optuna's distributions.
            seeds: How many seeds each combination is run with; Optuna hears their mean.
            trials: How many combinations are tried, with those in the book.
            sampler: Optuna's, or the name of one, which then has the task's seed: tpe or random; none: tpe.
            book: What was tried before.
            check: Raises why a task cannot be run.

        Raises:
            InvalidInput: there is no such field, or the values at an end of a distribution cannot be run.
        """
        require_seeds(over, seeds)
        require_number("trials", trials)
        self._task, self._seeds, self._left, self._book, self._check = task, seeds, trials, book, check
        self._drawn_from, self._values = {}, {}
        for field, values in over.items():
            self._drawn_from[field], self._values[field] = _distribution(values)
            for value in _ends(self._drawn_from[field]):
                combination_of(task, {field: self._values[field].get(value, value)}, 1, check)
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        own = _sampler(sampler, task[SEED], len(book.asked))
        self.study = optuna.create_study(direction="maximize", sampler=own, study_name=task.id)
        optuna.logging.set_verbosity(level)
        self._again = len(book.asked)
        for asked in book.asked:
            self.study.enqueue_trial({field: _as_choice(value) for field, value in asked.items()})
        self._asked: dict[Combination, Asked] = {}

    @property
    def left(self) -> int:
        """See `Search`."""
        return self._left * self._seeds

    def ask(self) -> Combination | None:
        """See `Search`."""
        if not self._left:
            return None
        self._left -= 1
        for _ in range(_MOST_DRAWN):
            asked = self.study.ask(self._drawn_from)
            values = {field: self._values[field].get(value, value) for field, value in asked.params.items()}
            try:
                found = combination_of(self._task, values, self._seeds, self._check)
            except InvalidInput as refused:
                why = refused
                self.study.tell(asked, state=optuna.trial.TrialState.FAIL)
                continue
            if self._again:
                self._again -= 1
            else:
                self._book.ask(values)
            self._asked[found] = asked
            return found
        raise InvalidInput(f"{_MOST_DRAWN} times in a row, values were drawn that do not go together, the last time: {why}")

    def tell(self, combination: Combination, values: Sequence[float | None]) -> None:
        """See `Search`."""
        asked, measured = self._asked.pop(combination), [value for value in values if value is not None]
        if measured:
            self.study.tell(asked, fmean(measured))
        elif values:
            raise InvalidInput("The runs measure no accuracy, so Optuna has nothing to choose by: give edges or test data.")
        else:
            self.study.tell(asked, state=optuna.trial.TrialState.FAIL)


def as_json(over: Values) -> dict[str, Any]:
    """Values and distributions, as JSON has them."""
    return {
        field: values if isinstance(values, list) else json.loads(optuna.distributions.distribution_to_json(values))
        for field, values in over.items()
    }


def _sampler(sampler: "BaseSampler | str | None", seed: int, tried: int) -> "BaseSampler":
    """The sampler. Where some was tried, it does not draw again what it drew first."""
    if sampler in (None, "tpe"):
        return optuna.samplers.TPESampler(seed=seed + tried)
    if sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed + tried)
    if not isinstance(sampler, optuna.samplers.BaseSampler):
        raise InvalidInput(f"sampler is {sampler!r}: give tpe, random, or one of Optuna's samplers.")
    if tried:
        sampler.reseed_rng()
    return sampler


def _distribution(values: "list[Any] | BaseDistribution") -> "tuple[BaseDistribution, dict[Any, Any]]":
    """What Optuna draws from, and what stands for each of its choices that is none of its types."""
    if not isinstance(values, list):
        return values, {}
    choices = {_as_choice(value): value for value in values}
    return optuna.distributions.CategoricalDistribution(list(choices)), choices


def _ends(distribution: "BaseDistribution") -> list[Any]:
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return list(distribution.choices)
    return [getattr(distribution, end) for end in ("low", "high") if hasattr(distribution, end)]


def _as_choice(value: Any) -> Any:
    """What Optuna takes for a choice: of a list, say, its text."""
    return value if value is None or isinstance(value, bool | int | float | str) else canonical_json(value).decode()
