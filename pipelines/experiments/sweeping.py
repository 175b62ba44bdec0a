"""Goes through a sweep: asks what to try, runs it, some at a time, shows it, and tells MLflow."""

import math
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloud.runs.run import Run as StoredRun
from cloudedge.errors import Cancelled, InvalidInput, WorkFailed
from cloudedge.store import Store
from pipelines.experiments.book import Book
from pipelines.experiments.run import Run
from pipelines.experiments.sweep import Entry, Objective, Sweep, accuracy_of, accuracy_on_tests
from pipelines.experiments.sweep_display import sweep_display
from pipelines.experiments.sweep_in_mlflow import SweepInMlflow
from pipelines.experiments.task import Task
from pipelines.experiments.trials import (
    Check,
    Combination,
    Grid,
    Over,
    Search,
    Values,
    checked_values,
    id_after,
    require_number,
)

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

_LOOK_SECONDS = 0.05
_OF_THE_RUN_ALONE = (2, 6, 7, 8)
"""Exit codes of what fails one run, as its values do or its edges, and no other: not those of a full disk or a dead server."""

Work = Callable[[Task], Generator[StoredRun, None, None]]
"""Works on a task to its end, in turns with others; each look gives the run, and there is one at least."""

Watch = Callable[[int], None]
"""Called again and again, with the number of runs that nobody has asked for yet."""


@dataclass(frozen=True)
class Ground:
    """Where a sweep's runs are.

    Attributes:
        work: Works on a task.
        opened: A run, as whoever asked for the sweep gets it.
        store: Has the runs.
        tracking_uri: MLflow's address; empty: there is none, or nobody knows it here.
        books: Folder of what sweeps remember.
        at_once: How many runs at a time.
        check: Raises why a task cannot be run there.
        alone: Has the place for the sweep.
        require_open: Raises what ends the sweep from outside.
    """

    work: Work
    opened: Callable[[StoredRun], Run]
    store: Store
    tracking_uri: str
    books: Path
    at_once: int
    check: Check = lambda _: None
    alone: Callable[[], AbstractContextManager[None]] = nullcontext
    require_open: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Plan:
    """What a sweep is to try.

    Attributes:
        task: What all runs have in common.
        over: By field, a list of values or one of Optuna's distributions.
        seeds: How many seeds each combination is run with.
        trials: How many combinations Optuna chooses; none: all that there are, one after another.
        sampler: Optuna's, or the name of one: tpe or random.
        objective: How good a run is; none: as `accuracy_of` says.
    """

    task: Task
    over: Over
    seeds: int = 1
    trials: int | None = None
    sampler: "BaseSampler | str | None" = None
    objective: Objective | None = None


def run_sweep(plan: Plan, ground: Ground, *, display: bool) -> Sweep:
    """Run what has not been run. Called again after whatever ended it, it goes on where it was.

    Args:
        plan: What is tried.
        ground: Where.
        display: Whether to show how the runs stand meanwhile.

    Raises:
        InvalidInput: there is no such field, or a combination cannot be run; nothing is run then.
        CloudedgeError: what no run can go on with, or why all of them failed.
    """
    over = checked_values(plan.over)
    require_number("at_once", ground.at_once)
    search, book = search_of(plan, over, ground)
    mlflow = SweepInMlflow(ground.tracking_uri, ground.store, book, plan.task, over)
    entries: list[Entry] = []
    rate = plan.objective or (accuracy_on_tests if _changes_edges(over) else accuracy_of)
    figure = "objective" if plan.objective else "accuracy"
    with ground.alone(), sweep_display(figure, shown=display) as show:

        def watch(left: int) -> None:
            show(entries, len(entries) + left)
            mlflow.look(entries)

        try:
            run_all(search, ground, entries, watch, rate)
        except BaseException:
            mlflow.finish(entries, stopped=True)
            raise
        mlflow.finish(entries)
    errors = [entry.error for entry in entries if entry.error]
    if errors and len(errors) == len(entries):
        first = errors[0]
        if len(errors) == 1:
            raise first
        error = WorkFailed(f"All {len(errors)} runs failed. {entries[0].trial.task.id}, the first: {first}")
        error.exit_code = first.exit_code
        raise error
    return Sweep(entries, search.study)


def search_of(plan: Plan, over: Values, ground: Ground) -> tuple[Search, Book]:
    """What a sweep tries, and the book of what it has tried.

    Raises:
        InvalidInput: there is no such field, or a combination cannot be run.
    """
    drawn = ", ".join(name for name, values in over.items() if not isinstance(values, list))
    if plan.trials is None and (drawn or plan.sampler):
        raise InvalidInput(f"Say how many combinations Optuna is to choose{drawn and f' for {drawn}'}: trials=20, say.")
    if plan.trials is None:
        lists = {name: values for name, values in over.items() if isinstance(values, list)}
        grid = Grid(plan.task, lists, plan.seeds, ground.check)
        # With more values it is the same sweep.
        return grid, Book(ground.books / f"{sweep_id(plan.task, sorted(lists))}.json")
    try:
        from pipelines.experiments.study import Study, as_json
    except ModuleNotFoundError:
        raise InvalidInput("Optuna is not installed, so it cannot choose values: pip install 'cloudedge[cloud]'.") from None

    book = Book(ground.books / f"{sweep_id(plan.task, as_json(over))}.json")
    return Study(plan.task, over, plan.seeds, plan.trials, plan.sampler, book, ground.check), book


def _changes_edges(over: Values) -> bool:
    """Whether runs have other edges, so that what those held out is no measure to compare them by."""
    return any(field in ("collaborate", "collaboration", "collaboration.edges") for field in over)


def sweep_id(task: Task, over: Any) -> str:
    """The id of a sweep: the same for the same task and what it is over."""
    return id_after(task, "sweep-", [task.fields, over])


def run_all(search: Search, ground: Ground, entries: list[Entry], watch: Watch, rate: Objective) -> None:
    """Run all trials that have not been run, some at a time; what is finished is not run again.

    A run that fails by itself, as its values spoil it, is left behind; the others go on. Values that are chosen once more, as
    Optuna may, are not run once more.

    Args:
        search: What is tried.
        ground: Where.
        entries: Filled with the trials as they are asked for, each once.
        watch: Shown how they stand.
        rate: How good a run is.

    Raises:
        CloudedgeError: what no run can go on with; the same call goes on there.
    """
    known: dict[str, Entry] = {}
    waiting: deque[Entry] = deque()
    at_work: dict[str, Generator[StoredRun, None, None]] = {}
    combinations: list[tuple[Combination, list[Entry]]] = []
    with ExitStack() as stack:
        while True:
            ground.require_open()
            while len(at_work) < ground.at_once:
                if not waiting and (asked := search.ask()):
                    fresh = [Entry(trial) for trial in asked.trials if trial.task.id not in known]
                    known |= {entry.trial.task.id: entry for entry in fresh}
                    combinations.append((asked, [known[trial.task.id] for trial in asked.trials]))
                    entries += fresh
                    waiting += fresh
                    if not fresh:
                        _tell(search, combinations)
                        continue
                if not waiting:
                    break
                entry = waiting.popleft()
                entry.state, entry.began = "at work", time.monotonic()
                looks = at_work[entry.trial.task.id] = ground.work(entry.trial.task)
                stack.callback(looks.close)
            if not at_work:
                break
            for run_id in list(at_work):
                if _has_ended(known[run_id], at_work[run_id], ground, rate):
                    del at_work[run_id]
            _tell(search, combinations)
            watch(search.left)
            time.sleep(_LOOK_SECONDS if at_work else 0)


def _tell(search: Search, combinations: list[tuple[Combination, list[Entry]]]) -> None:
    """Tell the search of combinations whose runs are over."""
    for combination, of_seeds in [one for one in combinations if all(entry.is_over for entry in one[1])]:
        combinations.remove((combination, of_seeds))
        failed = any(entry.state == "failed" for entry in of_seeds)
        search.tell(combination, [] if failed else [entry.value for entry in of_seeds])


def _has_ended(entry: Entry, looks: Generator[StoredRun, None, None], ground: Ground, rate: Objective) -> bool:
    try:
        entry.stored = next(looks)
    except StopIteration:
        entry.state = "done"
        if entry.stored is not None:
            entry.run = ground.opened(entry.stored)
            entry.value = _rated(entry.run, rate)
    except (WorkFailed, Cancelled) as error:
        if error.exit_code not in _OF_THE_RUN_ALONE:
            raise
        entry.state, entry.error = "failed", error
    else:
        return False
    entry.took = time.monotonic() - entry.began
    return True


def _rated(run: Run, rate: Objective) -> float | None:
    value = rate(run)
    try:
        found = None if value is None else float(value)
    except (TypeError, ValueError):
        raise InvalidInput(f"The objective says of the run {run.id!r} {value!r}: let it return a number, or None.") from None
    return found if found is None or math.isfinite(found) else None
