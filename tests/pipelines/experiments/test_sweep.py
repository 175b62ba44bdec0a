"""A sweep: what it runs, refused before anything is run where it cannot be, and what came of it."""

from pathlib import Path
from typing import Any

import pytest

from cloudedge.errors import CloudedgeError, WorkFailed
from pipelines import Run, Sweep, Task
from pipelines.experiments.sweep import run_sweep, trials_of
from tests.components.collaborative_training.page.run_builder import RunBuilder
from tests.digits import digits_task
from tests.pipelines.experiments.test_run import Nowhere

DIGITS = Task.of(digits_task())
RULES = {"collaboration.fusion.rule": ["samples", "median"]}


def test_every_combination_is_run_with_every_seed() -> None:
    trials = trials_of(DIGITS, {**RULES, "collaboration.rounds": [1, 2]}, seeds=3)

    assert len(trials) == len({trial.task.id for trial in trials}) == 12
    assert {trial.task["seed"] for trial in trials} == {DIGITS["seed"] + number for number in range(3)}
    assert trials[0].task.name == f"{DIGITS.name}: rule samples, rounds 1, seed {DIGITS['seed']}"
    assert all(trial.task.id.startswith("digits-") for trial in trials)


def test_the_same_values_have_the_same_run_whatever_else_the_sweep_is_over() -> None:
    few = {trial.task.id for trial in trials_of(DIGITS, RULES, seeds=1)}
    many = {trial.task.id for trial in trials_of(DIGITS, {"collaboration.fusion.rule": ["krum", "samples", "median"]}, seeds=2)}

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
def test_what_cannot_be_run_is_refused_before_anything_is(over: dict[str, Any], seeds: int, said: str) -> None:
    def run(_: Task) -> Run:
        raise AssertionError("something was run")

    with pytest.raises(CloudedgeError) as refused:
        run_sweep(DIGITS, over, seeds, run, print)

    assert said in str(refused.value)


def test_a_table_has_mean_and_spread_over_the_seeds_and_the_best_is_named(tmp_path: Path) -> None:
    trials = trials_of(DIGITS, RULES, seeds=2)
    folders = [tmp_path / str(number) for number in range(4)]
    runs = [Run(RunBuilder(folder, rounds=2 + index).build(), Nowhere(folder)) for index, folder in enumerate(folders)]

    sweep = Sweep(trials, runs)

    assert sweep.table.index.tolist() == ["samples", "median"]
    each = [run.accuracy.loc["all", "fused"] for run in runs]
    assert sweep.table.loc["samples", ("mean", "all")] == pytest.approx((each[0] + each[1]) / 2)
    assert sweep.table.loc["samples", ("spread", "all")] == pytest.approx(abs(each[0] - each[1]) / 2)
    assert sweep.best is max(runs, key=lambda run: run.accuracy.loc["edges' held-out samples", "fused"])
    assert "font-weight" in sweep._repr_html_()


def test_a_run_that_measured_nothing_at_the_edges_is_not_the_best(tmp_path: Path) -> None:
    runs = [
        Run(RunBuilder(tmp_path / str(number), rounds=rounds).build(), Nowhere(tmp_path))
        for number, rounds in enumerate([0, 2])
    ]

    assert Sweep(trials_of(DIGITS, RULES, seeds=1), runs).best is runs[1]


def test_a_trial_that_fails_ends_the_sweep_and_the_same_call_goes_on_there(tmp_path: Path) -> None:
    done: list[str] = []

    def run(task: Task) -> Run:
        if len(done) == 1:
            raise WorkFailed("The disk is full.")
        done.append(task.id)
        return Run(RunBuilder(tmp_path / task.id).build(), Nowhere(tmp_path))

    with pytest.raises(WorkFailed):
        run_sweep(DIGITS, RULES, 1, run, print)

    assert len(done) == 1
