"""What a sweep tries: the values of some fields, each combination run with several seeds."""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from cloudedge.documents import TrainingTask, canonical_json
from cloudedge.errors import InvalidInput
from cloudedge.names import LONGEST_NAME
from pipelines.experiments.task import Task
from pipelines.systems import system_of

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

Over: TypeAlias = "Mapping[str, Sequence[Any] | BaseDistribution]"
"""Values to try by field, parts of the document joined by dots; or what Optuna draws them from."""

SEED = "seed"
_DIGITS = 8


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        task: What it asks for.
        values: What was chosen for it, by field.
        seed: Its seed.
    """

    task: Task
    values: Mapping[str, Any]
    seed: int


@dataclass(frozen=True, eq=False)
class Combination:
    """Values that are tried together, with one seed or several.

    Attributes:
        values: What was chosen, by field.
        trials: The runs, one a seed.
    """

    values: Mapping[str, Any]
    trials: tuple[Trial, ...]


class Search(Protocol):
    """Which values a sweep tries, one combination after another."""

    @property
    def over(self) -> Mapping[str, Any]:
        """What is tried by field, as JSON has it."""

    @property
    def trials(self) -> int:
        """How many runs there are."""

    @property
    def study(self) -> "optuna.Study | None":
        """Optuna's, if it chooses."""

    def ask(self) -> Combination | None:
        """The next one; None: there is nothing more to try.

        Raises:
            InvalidInput: what there is to try makes no task that can be run.
        """

    def tell(self, combination: Combination, values: Sequence[float | None]) -> None:
        """Hear how good one is.

        Args:
            combination: What was tried.
            values: Of each run that did not fail; None: it measured nothing.

        Raises:
            InvalidInput: the search is led by what runs measure, and this measured nothing.
        """


class Grid:
    """All combinations of some values.

    Attributes:
        over: The values by field.
        trials: How many runs there are.
        study: Nobody chooses.
    """

    study: None = None

    def __init__(self, task: Task, over: Mapping[str, Sequence[Any]], seeds: int) -> None:
        """Make all trials, so that what cannot be run is refused before anything is.

        Args:
            task: What all of them have in common.
            over: Values to try by field.
            seeds: How many seeds each combination is run with, from the task's own on.

        Raises:
            InvalidInput: there is no such field, a field has no values, or some make no task that can be run.
        """
        require_values(over, seeds)
        self.over = {field: list(values) for field, values in over.items()}
        chosen = [dict(zip(over, values, strict=True)) for values in product(*over.values())]
        self._left = deque(combination_of(task, values, seeds) for values in chosen)
        self.trials = sum(len(one.trials) for one in self._left)

    def ask(self) -> Combination | None:
        """See `Search`."""
        return self._left.popleft() if self._left else None

    def tell(self, combination: Combination, values: Sequence[float | None]) -> None:
        """Nothing comes of it: what is tried is settled."""


def require_values(over: Over, seeds: int) -> None:
    """Make sure that there is something to try.

    Raises:
        InvalidInput: a field has no list of values, or there are no seeds.
    """
    empty = [
        field for field, values in over.items() if isinstance(values, str) or (isinstance(values, Sequence) and not values)
    ]
    if empty or not over:
        raise InvalidInput(f"The sweep has no list of values for {', '.join(empty) or 'any field'}: give some, as a list.")
    if seeds < 1:
        raise InvalidInput(f"seeds is {seeds}: give 1 or more.")
    if SEED in over and seeds > 1:
        raise InvalidInput("The sweep is over the seed itself: leave seeds out.")


def combination_of(task: Task, values: Mapping[str, Any], seeds: int) -> Combination:
    """The trials of some values. The same values have the same id, so that a sweep goes on where it was.

    Raises:
        InvalidInput: there is no such field, or the values make no task that can be run.
    """
    try:
        return Combination(values, tuple(_trials(task, values, seeds)))
    except InvalidInput as error:
        raise InvalidInput(f"The sweep cannot try {in_words(values)}: {error}") from None


def _trials(task: Task, values: Mapping[str, Any], seeds: int) -> Iterator[Trial]:
    first = values.get(SEED, task[SEED])
    for seed in range(first, first + seeds):
        all_values = {**values, SEED: seed}
        digest = hashlib.sha256(canonical_json(all_values)).hexdigest()[:_DIGITS]
        run_id = f"{task.id[: LONGEST_NAME - _DIGITS - 1].rstrip('-')}-{digest}"
        names = {"id": run_id, "name": f"{task.name}: {in_words(all_values)}"[:200], **_model_of_all(task)}
        one = task.changed({**names, **all_values})
        system_of(one.document).check(one.document)
        yield Trial(one, values, seed)


def _model_of_all(task: Task) -> dict[str, str]:
    """All trials are versions of one registered model, apart from those of the task itself."""
    if not isinstance(task.document, TrainingTask):
        return {}
    return {"model_file_name": f"{task.document.registered_model[:80]}-sweep.safetensors"}


def in_words(values: Mapping[str, Any]) -> str:
    """Values by the last part of each field's name."""
    return ", ".join(f"{short(field)} {value_in_words(value)}" for field, value in values.items())


def value_in_words(value: Any) -> str:
    """A value as a table shows it."""
    if isinstance(value, Mapping):
        return " ".join(f"{name} {value_in_words(inner)}" for name, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def short(field: str) -> str:
    """The last part of a field's name."""
    return field.rpartition(".")[2]
