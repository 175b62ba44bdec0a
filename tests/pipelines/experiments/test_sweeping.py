"""A sweep goes through its trials: some at a time, past those that fail, and on where it was."""

import io
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cloud.runs.run import Run as StoredRun
from cloudedge.errors import CloudedgeError, InvalidInput, StoreFailed, WorkFailed
from cloudedge.store import DirectoryStore
from pipelines import Run, Task
from pipelines.experiments.sweep import Entry
from pipelines.experiments.sweeping import Ground, Plan, run_sweep
from tests.components.collaborative_training.page.run_builder import RunBuilder
from tests.digits import digits_task
from tests.pipelines.experiments.test_run import Nowhere

DIGITS = Task.of(digits_task())
RULE = "collaboration.fusion.rule"
RULES = {RULE: ["samples", "median", "krum"]}


class Works:
    """Has runs that take three looks each, and counts those that are at work."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begun: list[str] = []
        self.stopped: list[str] = []
        self.at_work = 0
        self.most_at_work = 0
        self.fails: dict[str, Exception] = {}

    def __call__(self, task: Task) -> Generator[StoredRun, None, None]:
        rule = task[RULE]
        self.begun.append(rule)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        stored = RunBuilder(self.folder / task.id).build()
        try:
            for _ in range(3):
                yield stored
            if rule in self.fails:
                raise self.fails[rule]
        except GeneratorExit:
            self.stopped.append(rule)
            raise
        finally:
            self.at_work -= 1


@pytest.fixture
def works(tmp_path: Path) -> Works:
    return Works(tmp_path / "runs")


def ground(works: Works, at_once: int = 1, require_open: Callable[[], object] = lambda: None) -> Ground:
    folder = works.folder.parent
    store = DirectoryStore(folder / "store")

    def opened(run: StoredRun) -> Run:
        return Run(run, Nowhere(folder))

    return Ground(works, opened, store, "", folder / "sweeps", at_once, require_open=require_open)


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_so_many_are_at_work_at_a_time(works: Works, at_once: int) -> None:
    sweep = run_sweep(Plan(DIGITS, RULES, seeds=2), ground(works, at_once), display=False)

    assert works.begun == ["samples", "samples", "median", "median", "krum", "krum"]
    assert works.most_at_work == at_once
    assert len(sweep.runs) == 6
    assert sweep.table.index.tolist() == ["samples", "median", "krum"]


def test_a_run_that_fails_by_itself_is_left_behind(works: Works) -> None:
    works.fails["median"] = WorkFailed("The training diverged.")

    sweep = run_sweep(Plan(DIGITS, RULES), ground(works), display=False)

    assert [trial.values[RULE] for trial in sweep.trials] == ["samples", "krum"]
    assert "(rule median, seed 3) failed: The training diverged." in repr(sweep)
    assert "failed: The training diverged." in sweep._repr_html_()


def test_where_all_fail_it_is_said_why(works: Works) -> None:
    works.fails = {rule: WorkFailed(f"{rule} is broken.") for rule in RULES[RULE]}

    with pytest.raises(WorkFailed, match=r"All 3 runs failed\. digits-\w+, the first: samples is broken\."):
        run_sweep(Plan(DIGITS, RULES), ground(works), display=False)


def full_disk() -> WorkFailed:
    """As a step that found the disk full ends a run."""
    error = WorkFailed("The disk is full.")
    error.exit_code = StoreFailed.exit_code
    return error


@pytest.mark.parametrize("error", [full_disk(), StoreFailed("The disk is full."), InvalidInput("There are no samples.")])
def test_what_every_run_would_fail_of_ends_it_and_stops_what_is_at_work(works: Works, error: CloudedgeError) -> None:
    works.fails["samples"] = error

    with pytest.raises(CloudedgeError) as ended:
        run_sweep(Plan(DIGITS, RULES), ground(works, at_once=2), display=False)

    assert ended.value is error
    assert (works.begun, works.stopped) == (["samples", "median"], ["median"])


def test_an_interrupt_stops_what_is_at_work(works: Works) -> None:
    looks = 0

    def interrupt() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(Plan(DIGITS, RULES), ground(works, 2, interrupt), display=False)

    assert sorted(works.stopped) == ["median", "samples"]


def test_optuna_is_told_how_good_they_are(works: Works) -> None:
    sweep = run_sweep(Plan(DIGITS, RULES, trials=4, objective=lambda run: 0.25), ground(works), display=False)

    assert sweep.study is not None
    assert [trial.value for trial in sweep.study.trials] == [0.25] * 4


def test_values_that_are_chosen_again_are_run_once(works: Works) -> None:
    sweep = run_sweep(Plan(DIGITS, RULES, trials=12), ground(works, at_once=3), display=False)

    assert len(works.begun) == len(set(works.begun)) == len(sweep.runs) <= 3
    assert sweep.study is not None
    assert [trial.state.name for trial in sweep.study.trials] == ["COMPLETE"] * 12


@pytest.mark.parametrize(("value", "found"), [(None, None), (float("nan"), None), (0.5, 0.5), (True, 1.0)])
def test_what_is_no_number_is_not_the_best(works: Works, value: float | None, found: float | None) -> None:
    values = iter([-1.0, value, -1.0])
    plan = Plan(DIGITS, RULES, objective=lambda run: next(values))

    sweep = run_sweep(plan, ground(works), display=False)

    best = next(trial.values[RULE] for trial, run in zip(sweep.trials, sweep.runs, strict=True) if run is sweep.best)
    assert (best == "median") == (found is not None)


def test_an_objective_that_gives_no_number_is_named(works: Works) -> None:
    plan = Plan(DIGITS, RULES, objective=lambda run: "good")  # type: ignore[arg-type, return-value]

    with pytest.raises(InvalidInput, match="The objective says of the run 'digits' 'good': let it return a number"):
        run_sweep(plan, ground(works), display=False)


@pytest.mark.parametrize(("more", "said"), [({"sampler": "tpe"}, "choose: trials=20"), ({}, "choose for seed: trials=20")])
def test_how_many_are_to_be_chosen_must_be_said(works: Works, more: dict[str, Any], said: str) -> None:
    from optuna.distributions import IntDistribution

    over = RULES if more else {"seed": IntDistribution(0, 5)}
    with pytest.raises(InvalidInput, match=said):
        run_sweep(Plan(DIGITS, over, **more), ground(works), display=False)


def test_without_a_terminal_a_line_is_printed_for_each_that_ends(works: Works, capsys: pytest.CaptureFixture[str]) -> None:
    works.fails["median"] = WorkFailed("The training diverged.\nMore of it.")

    run_sweep(Plan(DIGITS, RULES), ground(works), display=True)

    first, second, _ = capsys.readouterr().err.splitlines()
    assert first.startswith("1 of 3: rule samples, seed 3: done in ")
    assert ", accuracy 0.9" in first
    assert second.startswith("2 of 3: rule median, seed 3: failed after ")
    assert second.endswith(": The training diverged. More of it.")


def test_what_is_shown_names_all_that_have_begun() -> None:
    from rich.console import Console

    from pipelines.experiments.sweep_display import picture
    from pipelines.experiments.trials import Grid

    entries: Sequence[Entry] = [Entry(trial) for trial in _trials(Grid(DIGITS, RULES, 1))]
    entries[0].state, entries[0].value, entries[0].took = "done", 0.9123, 4.2
    entries[1].state = "at work"
    paper = Console(record=True, width=100, file=io.StringIO())

    paper.print(picture(entries, 3, 61.0, "accuracy"))

    text = paper.export_text()
    assert "1 of 3 runs done, 1 min 1 s, best so far 0.912 with rule samples, seed 3" in text
    assert "samples" in text
    assert "at work" in text
    assert "krum" not in text


def _trials(grid: Any) -> list[Any]:
    found: list[Any] = []
    while combination := grid.ask():
        found += combination.trials
    return found
