"""Goes through a sweep: asks what to try, runs it, some at a time, shows it, and tells MLflow."""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloud.runs.run import Run as StoredRun
from cloudedge.documents import canonical_json
from cloudedge.errors import Cancelled, InvalidInput, WorkFailed
from cloudedge.names import LONGEST_NAME
from cloudedge.store import Store
from pipelines.experiments.book import Book
from pipelines.experiments.run import Run
from pipelines.experiments.sweep import Entry, Objective, Sweep, accuracy_of
from pipelines.experiments.sweep_display import sweep_display
from pipelines.experiments.sweep_in_mlflow import SweepInMlflow
from pipelines.experiments.task import Task
from pipelines.experiments.trials import Combination, Grid, Over, Search

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

_LOOK_SECONDS = 0.05
_DIGITS = 8
_OF_THE_RUN_ALONE = (2, 6, 7, 8)
"""Exit codes of what fails one run, as its values do or its edges, and no other: not those of a full disk or a dead server."""

Work = Callable[[Task], Generator[StoredRun, None, None]]
"""Works on a task to its end, in turns with others; each look gives the run, and there is one at least."""

Watch = Callable[[Sequence[Entry]], None]
"""Shown how all trials stand, again and again."""


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
        alone: Has the place for the sweep.
        require_open: Raises what ends the sweep from outside.
    """

    work: Work
    opened: Callable[[StoredRun], Run]
    store: Store
    tracking_uri: str
    books: Path
    at_once: int
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
        sampler: Optuna's.
        objective: How good a run is; none: as `accuracy_of` says.
    """

    task: Task
    over: Over
    seeds: int = 1
    trials: int | None = None
    sampler: "BaseSampler | None" = None
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
    search, book = search_of(plan, ground.books)
    mlflow = SweepInMlflow(ground.tracking_uri, ground.store, book, plan.task, search.over)
    figure = "objective" if plan.objective else "accuracy"
    with ground.alone(), sweep_display(search.trials, figure, shown=display) as show:

        def watch(entries: Sequence[Entry]) -> None:
            show(entries)
            mlflow.look(entries)

        entries = run_all(search, ground, watch, plan.objective)
        mlflow.finish(entries)
    return Sweep(entries, search.study)


def search_of(plan: Plan, books: Path) -> tuple[Search, Book]:
    """What a sweep tries, and the book of what it has tried.

    Raises:
        InvalidInput: there is no such field, or a combination cannot be run.
    """
    drawn = ", ".join(name for name, values in plan.over.items() if not isinstance(values, Sequence))
    if plan.trials is None and (drawn or plan.sampler):
        raise InvalidInput(f"Say how many combinations Optuna is to choose{drawn and f' for {drawn}'}: trials=20, say.")
    if plan.trials is None:
        values = {name: values for name, values in plan.over.items() if isinstance(values, Sequence)}
        grid = Grid(plan.task, values, plan.seeds)
        return grid, Book(books / f"{sweep_id(plan.task, values)}.json")
    from pipelines.experiments.study import Study, as_json

    book = Book(books / f"{sweep_id(plan.task, as_json(plan.over))}.json")
    return Study(plan.task, plan.over, plan.seeds, plan.trials, plan.sampler, book), book


def sweep_id(task: Task, over: Mapping[str, Any]) -> str:
    """The id of a sweep: the same for the same task and the same values."""
    digest = hashlib.sha256(canonical_json([task.fields, dict(over)])).hexdigest()[:_DIGITS]
    return f"{task.id[: LONGEST_NAME - _DIGITS - 7].rstrip('-')}-sweep-{digest}"


def run_all(search: Search, ground: Ground, watch: Watch, objective: Objective | None = None) -> list[Entry]:
    """Run all trials that have not been run, some at a time; what is finished is not run again.

    A run that fails by itself, as its values spoil it, is left behind; the others go on.

    Args:
        search: What is tried.
        ground: Where.
        watch: Shown how they stand.
        objective: How good a run is; none: as `accuracy_of` says.

    Raises:
        CloudedgeError: what no run can go on with, or why all of them failed; the same call goes on there.
    """
    rate = objective or accuracy_of
    entries: list[Entry] = []
    waiting: deque[Entry] = deque()
    at_work: dict[int, Generator[StoredRun, None, None]] = {}
    combinations: list[tuple[Combination, list[Entry]]] = []
    with ExitStack() as stack:
        while True:
            ground.require_open()
            while len(at_work) < ground.at_once:
                if not waiting and (asked := search.ask()):
                    fresh = [Entry(trial) for trial in asked.trials]
                    combinations.append((asked, fresh))
                    entries += fresh
                    waiting += fresh
                if not waiting:
                    break
                entry = waiting.popleft()
                entry.state, entry.began = "at work", time.monotonic()
                looks = at_work[id(entry)] = ground.work(entry.trial.task)
                stack.callback(looks.close)
            if not at_work:
                break
            for entry in [entry for entry in entries if id(entry) in at_work]:
                if _has_ended(entry, at_work[id(entry)], ground, rate):
                    del at_work[id(entry)]
            for combination, of_seeds in [one for one in combinations if all(entry.is_over for entry in one[1])]:
                combinations.remove((combination, of_seeds))
                search.tell(combination, [entry.value for entry in of_seeds if entry.state == "done"])
            watch(entries)
            time.sleep(_LOOK_SECONDS if at_work else 0)
    errors = [entry.error for entry in entries if entry.error]
    if errors and len(errors) == len(entries):
        raise errors[0]
    return entries


def _has_ended(entry: Entry, looks: Generator[StoredRun, None, None], ground: Ground, rate: Objective) -> bool:
    try:
        entry.stored = next(looks)
    except StopIteration:
        entry.state = "done"
        if entry.stored is not None:
            entry.run = ground.opened(entry.stored)
            entry.value = rate(entry.run)
    except (WorkFailed, Cancelled) as error:
        if error.exit_code not in _OF_THE_RUN_ALONE:
            raise
        entry.state, entry.error = "failed", error
    else:
        return False
    entry.took = time.monotonic() - entry.began
    return True
