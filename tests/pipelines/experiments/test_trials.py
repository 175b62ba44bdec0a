"""What a sweep tries, refused before anything is run where it cannot be."""

from typing import Any

import pytest

from cloudedge.errors import CloudedgeError
from pipelines import Task
from pipelines.experiments.trials import Grid, Trial
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

    trials = all_of(grid)

    assert len(trials) == len({trial.task.id for trial in trials}) == grid.trials == 12
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
        ({}, 1, "no list of values for any field"),
        ({"collaboration.rounds": []}, 1, "no list of values for collaboration.rounds"),
        ({"collaboration.fusion.rule": "samples"}, 1, "no list of values for collaboration.fusion.rule"),
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
