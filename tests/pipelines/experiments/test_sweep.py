"""What came of a sweep."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from cloudedge.errors import InvalidInput, WorkFailed
from pipelines import Run, Sweep, Task
from pipelines.experiments.sweep import Entry, accuracy_of
from pipelines.experiments.trials import Grid
from tests.components.collaborative_training.page.run_builder import RunBuilder
from tests.digits import digits_task
from tests.pipelines.experiments.test_run import Nowhere
from tests.pipelines.experiments.test_trials import RULES, all_of

DIGITS = Task.of(digits_task())


def entries(folder: Path, rounds: list[int], seeds: int) -> list[Entry]:
    trials = all_of(Grid(DIGITS, RULES, seeds))
    runs = [
        Run(RunBuilder(folder / trial.task.id, rounds=each).build(), Nowhere(folder))
        for trial, each in zip(trials, rounds, strict=True)
    ]
    return [Entry(trial, "done", run=run, value=accuracy_of(run)) for trial, run in zip(trials, runs, strict=True)]


def test_a_table_has_mean_and_spread_over_the_seeds_and_the_best_is_named(tmp_path: Path) -> None:
    sweep = Sweep(entries(tmp_path, [2, 3, 4, 5], seeds=2))

    assert sweep.table.index.tolist() == ["samples", "median"]
    each = [run.accuracy.loc["all", "fused"] for run in sweep.runs]
    assert sweep.table.loc["samples", ("mean", "all")] == pytest.approx((each[0] + each[1]) / 2)
    assert sweep.table.loc["samples", ("spread", "all")] == pytest.approx(abs(each[0] - each[1]) / 2)
    assert sweep.best is max(sweep.runs, key=lambda run: run.accuracy.loc["edges' held-out samples", "fused"])
    assert "font-weight" in sweep._repr_html_()


def test_the_best_is_of_the_combination_that_does_best_over_its_seeds(tmp_path: Path) -> None:
    values = {0: 0.99, 1: 0.10, 2: 0.80, 3: 0.90}
    found = entries(tmp_path, [2, 2, 2, 2], seeds=2)
    for number, entry in enumerate(found):
        entry.value = values[number]

    sweep = Sweep(found)

    assert sweep.best is sweep.runs[3]


def test_a_run_that_measured_nothing_at_the_edges_is_not_the_best(tmp_path: Path) -> None:
    sweep = Sweep(entries(tmp_path, [0, 2], seeds=1))

    assert sweep.best is sweep.runs[1]


def test_where_nothing_was_measured_none_is_the_best(tmp_path: Path) -> None:
    found = entries(tmp_path, [2, 2], seeds=1)
    for entry in found:
        entry.value = None

    with pytest.raises(InvalidInput, match="none is the best: give edges or test data"):
        _ = Sweep(found).best


def test_a_combination_of_which_a_run_failed_is_not_the_best_and_shows_how_many_are_done(tmp_path: Path) -> None:
    found = entries(tmp_path, [2, 2, 2, 2], seeds=2)
    found[0].state, found[0].run, found[0].value, found[0].error = "failed", None, None, WorkFailed("It diverged.")
    found[1].value, found[2].value, found[3].value = 0.99, 0.5, 0.6

    sweep = Sweep(found)

    assert sweep.best is found[3].run
    paper = Console(record=True, width=200, file=io.StringIO())
    paper.print(sweep.drawn())
    assert "samples  1 of 2" in paper.export_text()
    assert f"{found[0].trial.task.id} (rule samples, seed 3) failed: It diverged." in repr(sweep)


def test_values_that_look_alike_are_rows_of_their_own(tmp_path: Path) -> None:
    rates = {"collaboration.training.learning_rate": [0.05, 0.0500001], "pretraining.learning_rate": [0.05, 0.1]}
    trials = all_of(Grid(DIGITS, rates, 1))
    run = Run(RunBuilder(tmp_path).build(), Nowhere(tmp_path))

    sweep = Sweep([Entry(trial, "done", run=run, value=0.5) for trial in trials])

    assert sweep.table.index.tolist() == [(0.05, 0.05), (0.05, 0.1), (0.0500001, 0.05), (0.0500001, 0.1)]
    assert "±" not in str(sweep)


def test_a_sweep_that_measured_nothing_says_so(tmp_path: Path) -> None:
    found = entries(tmp_path, [0, 0], seeds=1)
    for entry in found:
        entry.run, entry.value = (
            Run(RunBuilder(tmp_path / entry.trial.task.id / "bare", rounds=0, evaluated=False).build(), Nowhere(tmp_path)),
            None,
        )

    sweep = Sweep(found)

    paper = Console(record=True, width=80, file=io.StringIO())
    paper.print(sweep.drawn())
    assert "No run measured an accuracy." in paper.export_text()
    assert sweep._repr_html_()
    assert repr(sweep)
