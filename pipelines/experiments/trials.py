"""What a sweep tries: the values of some fields, each combination run with several seeds."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from cloudedge.documents import TrainingTask, canonical_json
from cloudedge.errors import CloudedgeError, InvalidInput
from cloudedge.names import LONGEST_NAME
from pipelines.experiments.task import Task
from pipelines.systems import system_of

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

Over: TypeAlias = "Mapping[str, Iterable[Any] | BaseDistribution]"
"""Values to try by field, parts of the document joined by dots; or what Optuna draws them from."""

Values: TypeAlias = "dict[str, list[Any] | BaseDistribution]"
"""The same, checked: each is a list, or one of Optuna's distributions."""

Check = Callable[[Task], object]
"""Raises why a task cannot be run."""

SEED = "seed"
_OF_EACH_TRIAL = ("schema_version", "kind", "id", "name", "model_file_name")
"""Fields that a sweep sets by itself, or leaves alone."""
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

    @property
    def in_words(self) -> str:
        """Its values and its seed."""
        return in_words({**self.values, SEED: self.seed})


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
    def left(self) -> int:
        """How many runs nobody has asked for yet."""

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
            values: Of each run, None where it measured nothing; none at all where some of its runs failed.

        Raises:
            InvalidInput: the search is led by what runs measure, and this measured nothing.
        """


class Grid:
    """All combinations of some values.

    Attributes:
        study: Nobody chooses.
    """

    study: None = None

    def __init__(self, task: Task, over: Mapping[str, Sequence[Any]], seeds: int, check: Check = lambda _: None) -> None:
        """Make all trials, so that what cannot be run is refused before anything is.

        Args:
            task: What all of them have in common.
            over: Values to try by field; one that stands there twice is tried once.
            seeds: How many seeds each combination is run with, from the task's own on.
            check: Raises why a task cannot be run.

        Raises:
            InvalidInput: there is no such field, or some values make no task that can be run.
        """
        require_seeds(over, seeds)
        chosen = [dict(zip(over, values, strict=True)) for values in product(*over.values())]
        combinations = [combination_of(task, values, seeds, check) for values in chosen]
        self._left = deque({tuple(trial.task.id for trial in one.trials): one for one in combinations}.values())

    @property
    def left(self) -> int:
        """See `Search`."""
        return sum(len(one.trials) for one in self._left)

    def ask(self) -> Combination | None:
        """See `Search`."""
        return self._left.popleft() if self._left else None

    def tell(self, combination: Combination, values: Sequence[float | None]) -> None:
        """Nothing comes of it: what is tried is settled."""


def checked_values(over: Over) -> Values:
    """What there is to try by field.

    Raises:
        InvalidInput: it is neither lists of values nor Optuna's distributions, or of fields that no sweep is over.
    """
    if not (over and isinstance(over, Mapping)):
        raise InvalidInput("The sweep is over nothing: give a dictionary with a list of values for each field.")
    for field in over:
        if field in _OF_EACH_TRIAL:
            raise InvalidInput(f"No sweep is over {field}: each run has its own, or all have the same.")
        if above := [other for other in over if field.startswith(f"{other}.")]:
            raise InvalidInput(f"The sweep is over {above[0]} and over {field}, which is a part of it: leave one out.")
    return {field: _values(field, values) for field, values in over.items()}


def require_seeds(over: Iterable[str], seeds: int) -> None:
    """Make sure that there are seeds.

    Raises:
        InvalidInput: there are none, or the sweep is over them.
    """
    require_number("seeds", seeds)
    if SEED in over and seeds > 1:
        raise InvalidInput("The sweep is over the seed itself: leave seeds out.")


def require_number(name: str, value: object) -> None:
    """Make sure that something is a whole number above 0.

    Raises:
        InvalidInput: it is not.
    """
    if not isinstance(value, int) or value < 1:
        raise InvalidInput(f"{name} is {value!r}: give 1 or more.")


def combination_of(task: Task, values: Mapping[str, Any], seeds: int, check: Check = lambda _: None) -> Combination:
    """The trials of some values. The same values have the same id, so that a sweep goes on where it was.

    Raises:
        InvalidInput: there is no such field, or the values make no task that can be run.
    """
    try:
        trials = tuple(_trials(task, values, seeds))
        system_of(task.document).check(trials[0].task.document)
        check(trials[0].task)
    except CloudedgeError as error:
        raise InvalidInput(f"The sweep cannot try {in_words(values)}: {error}") from None
    return Combination(values, trials)


def _trials(task: Task, values: Mapping[str, Any], seeds: int) -> Iterator[Trial]:
    first = task.changed(values)[SEED]
    for seed in range(first, first + seeds):
        all_values = {**values, SEED: seed}
        names = {
            "id": id_after(task, "", all_values),
            "name": f"{task.name}: {in_words(all_values)}"[:200],
            **_model_of_all(task),
        }
        yield Trial(task.changed({**names, **all_values}), values, seed)


def _model_of_all(task: Task) -> dict[str, str]:
    """All trials are versions of one registered model, apart from those of the task itself."""
    if not isinstance(task.document, TrainingTask):
        return {}
    return {"model_file_name": f"{task.document.registered_model[:80]}-sweep.safetensors"}


def _values(field: str, values: Any) -> "list[Any] | BaseDistribution":
    if hasattr(values, "_asdict"):  # What all of Optuna's distributions have, which is not imported for lists.
        from optuna.distributions import BaseDistribution

        if isinstance(values, BaseDistribution):
            return values
    values = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidInput(f"{field} is {values!r}, which is neither a list of values nor one of Optuna's distributions.")
    found = [value.item() if hasattr(value, "item") else value for value in values]
    if not found:
        raise InvalidInput(f"The sweep has no values for {field}: give some, as a list.")
    try:
        canonical_json(found)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"The values for {field} have no place in a task: {error}. Give text, numbers and the like."
        ) from None
    return found


def id_after(task: Task, what: str, value: Any) -> str:
    """An id that begins as the task's, and is the same for the same value."""
    ending = f"-{what}{hashlib.sha256(canonical_json(value)).hexdigest()[:_DIGITS]}"
    return f"{task.id[: LONGEST_NAME - len(ending)].rstrip('-')}{ending}"


def in_words(values: Mapping[str, Any]) -> str:
    """Values by the last part of each field's name."""
    return ", ".join(f"{name} {value_in_words(value)}" for name, value in zip(short(values), values.values(), strict=True))


def value_in_words(value: Any) -> str:
    """A value as a table shows it."""
    if isinstance(value, Mapping):
        return " ".join(f"{name} {value_in_words(inner)}" for name, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def short(fields: Iterable[str]) -> list[str]:
    """Fields by as few last parts of their names as tell them apart."""
    parts = {field: field.split(".") for field in fields}
    found = []
    for field, own in parts.items():
        others = [other for other in parts.values() if other != parts[field]]
        least = next(
            (number for number in range(1, len(own)) if all(other[-number:] != own[-number:] for other in others)), len(own)
        )
        found.append(".".join(own[-least:]))
    return found
