"""What a sweep tries, refused before anything is run where it cannot be."""

from typing import Any

import numpy
import pandas
import pytest

from cloudedge.errors import CloudedgeError, InvalidInput
from pipelines import Task
from pipelines.experiments.trials import Grid, Trial, checked_values, short
from tests.digits import digits_task

DIGITS = Task.of(digits_task())
RULES = {"collaboration.fusion.rule": ["samples", "median"]}


def all_of(grid: Grid) -> list[Trial]:
    found: list[Trial] = []
    while combination := grid.ask():
        found += combination.trials
    return found


def test_every_combination_is_run_with_every_seed() -> None:
    grid = Grid(DIGITS, {**RULES, "collaboration.rounds": [1, 2]}, seeds=3)

    left, trials = grid.left, all_of(grid)

    assert len(trials) == len({trial.task.id for trial in trials}) == left == 12
    assert grid.left == 0
    assert {trial.task["seed"] for trial in trials} == {DIGITS["seed"] + number for number in range(3)}
    assert trials[0].task.name == f"{DIGITS.name}: rule samples, rounds 1, seed {DIGITS['seed']}"
    assert all(trial.task.id.startswith("digits-") for trial in trials)


def test_the_same_values_have_the_same_run_whatever_else_the_sweep_is_over() -> None:
    few = {trial.task.id for trial in all_of(Grid(DIGITS, RULES, seeds=1))}
    rules = {"collaboration.fusion.rule": ["krum", "samples", "median"]}
    many = {trial.task.id for trial in all_of(Grid(DIGITS, rules, seeds=2))}

    assert few < many


@pytest.mark.parametrize(
    ("over", "seeds", "said"),
    [
        ({"seed": ["a"]}, 1, "seed: found 'a'"),
        ({"seed": [0.5]}, 1, "seed: found 0.5"),
        ({"collaboration.fuson.rule": ["samples"]}, 1, "no field 'collaboration.fuson.rule'"),
        ({"collaboration.rounds": [1, 0]}, 1, "collaboration.rounds: found 0; give 1 or more"),
        ({"collaboration.fusion.rule": ["samples", "magic"]}, 1, "magic"),
        (RULES, 0, "seeds is 0: give 1 or more"),
        ({"seed": [1, 2]}, 2, "over the seed itself: leave seeds out"),
    ],
)
def test_what_cannot_be_run_is_refused(over: dict[str, Any], seeds: int, said: str) -> None:
    with pytest.raises(CloudedgeError) as refused:
        Grid(DIGITS, over, seeds)

    assert said in str(refused.value)


def test_what_stands_twice_is_tried_once() -> None:
    assert len(all_of(Grid(DIGITS, {"collaboration.rounds": [1, 2, 1]}, seeds=2))) == 4


def test_what_the_place_cannot_run_is_refused_with_its_values() -> None:
    def check(task: Task) -> None:
        if task["collaboration.rounds"] == 2:
            raise InvalidInput("There is no hall-9.")

    with pytest.raises(InvalidInput, match=r"The sweep cannot try rounds 2: There is no hall-9\."):
        Grid(DIGITS, {"collaboration.rounds": [1, 2]}, 1, check)


def test_a_trials_values_are_not_changed_by_what_else_is_chosen() -> None:
    mine = {"rule": "samples"}

    trials = all_of(Grid(DIGITS, {"collaboration.fusion": [mine]}, seeds=1))

    assert trials[0].task["collaboration.fusion.rule"] == "samples"
    assert mine == {"rule": "samples"}


@pytest.mark.parametrize(
    "values", [[2, 3], (2, 3), range(2, 4), numpy.array([2, 3]), pandas.Series([2, 3]), {2: 1, 3: 1}.keys()]
)
def test_values_may_be_whatever_holds_some(values: Any) -> None:
    assert checked_values({"collaboration.rounds": values}) == {"collaboration.rounds": [2, 3]}


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({}, "over nothing"),
        (["collaboration.rounds"], "over nothing"),
        ({"collaboration.rounds": []}, "no values for collaboration.rounds"),
        ({"collaboration.rounds": 2}, "is 2, which is neither a list"),
        ({"collaboration.fusion.rule": "samples"}, "is 'samples', which is neither a list"),
        ({"collaboration.rounds": [object()]}, "have no place in a task"),
        ({"name": ["a", "b"]}, "No sweep is over name"),
        ({"collaboration": [{}], "collaboration.rounds": [1]}, "which is a part of it: leave one out"),
    ],
)
def test_what_is_no_choice_of_values_is_refused(over: Any, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked_values(over)

    assert said in str(refused.value)


def test_fields_are_named_by_as_few_parts_as_tell_them_apart() -> None:
    fields = ["collaboration.training.learning_rate", "pretraining.learning_rate", "collaboration.rounds"]

    assert short(fields) == ["training.learning_rate", "pretraining.learning_rate", "rounds"]
