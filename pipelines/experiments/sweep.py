"""A sweep: one task with many values, each combination run with several seeds."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from cloudedge.documents import canonical_json
from cloudedge.errors import InvalidInput
from cloudedge.names import LONGEST_NAME
from components.collaborative_training.page.findings import EVERYTHING
from pipelines.experiments.frames import ON_EDGES
from pipelines.experiments.run import Run
from pipelines.experiments.task import Task
from pipelines.systems import system_of

_DIGITS = 8
_SEED = "seed"


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


def trials_of(task: Task, over: Mapping[str, Sequence[Any]], seeds: int) -> list[Trial]:
    """All trials of a grid, each with its task; the same values have the same id, so that a sweep goes on where it was.

    Args:
        task: What all of them have in common.
        over: Values to try by field, parts of the document joined by dots.
        seeds: How many seeds each combination is run with, from the task's own on.

    Raises:
        InvalidInput: there is no such field, a field has no values, or a task cannot be run.
        InvalidDocument: a value makes no task.
    """
    empty = [field for field, values in over.items() if isinstance(values, str) or not len(values)]
    if empty or not over:
        raise InvalidInput(f"The sweep has no list of values for {', '.join(empty) or 'any field'}: give some, as a list.")
    if seeds < 1:
        raise InvalidInput(f"seeds is {seeds}: give 1 or more.")
    if _SEED in over and seeds > 1:
        raise InvalidInput("The sweep is over the seed itself: leave seeds out.")
    trials = []
    for chosen in product(*over.values()):
        values = dict(zip(over, chosen, strict=True))
        for number in range(seeds):
            first = values.get(_SEED, task[_SEED])
            all_values = {**values, _SEED: first + number}
            digest = hashlib.sha256(canonical_json(all_values)).hexdigest()[:_DIGITS]
            called = ", ".join(f"{field.rpartition('.')[2]} {value}" for field, value in all_values.items())
            run_id = f"{task.id[: LONGEST_NAME - _DIGITS - 1].rstrip('-')}-{digest}"
            one = task.changed(all_values, id=run_id, name=f"{task.name}: {called}"[:200])
            system_of(one.document).check(one.document)
            trials.append(Trial(one, values, first + number))
    return trials


class Sweep:
    """What came of a sweep.

    Attributes:
        trials: What was run.
        runs: The runs, in the same order.
        table: A row for each combination of values: by environment the fused model's mean accuracy over the seeds, and how far
            they spread (their standard deviation).
    """

    def __init__(self, trials: Sequence[Trial], runs: Sequence[Run]) -> None:
        """Read the runs."""
        import pandas

        self.trials, self.runs = list(trials), list(runs)
        rows = []
        for trial, run in zip(trials, runs, strict=True):
            accuracy = run.accuracy
            best = accuracy["fused"].fillna(accuracy["pretrained"])
            rows.append({**{field: str(value) for field, value in trial.values.items()}, **best.to_dict()})
        fields = list(trials[0].values)
        self._each = pandas.DataFrame(rows)
        grouped = self._each.groupby(fields, sort=False)
        self.table: pandas.DataFrame = pandas.concat({"mean": grouped.mean(), "spread": grouped.std(ddof=0)}, axis="columns")

    @property
    def best(self) -> Run:
        """The run that does best at the edges, or where none measured there on all test data.

        Raises:
            InvalidInput: no run measured anything.
        """
        measured = [name for name in (ON_EDGES, EVERYTHING) if name in self._each and self._each[name].notna().any()]
        if not measured:
            raise InvalidInput("No run of the sweep measured an accuracy, so none is the best: give edges or test data.")
        return self.runs[int(self._each[measured[0]].idxmax())]

    def __repr__(self) -> str:
        return str(self.table.round(3).to_string())

    def _repr_html_(self) -> str:
        means = [column for column in self.table.columns if column[0] == "mean"]
        shown = self.table.style.format(precision=3).highlight_max(subset=means, props="font-weight:bold")
        return str(shown.to_html())


def run_sweep(
    task: Task, over: Mapping[str, Sequence[Any]], seeds: int, run: Callable[[Task], Run], say: Callable[[str], None]
) -> Sweep:
    """Run all trials that have not been run, one after the other; each that is finished is not run again.

    Args:
        task: As for `trials_of`.
        over: As for `trials_of`.
        seeds: As for `trials_of`.
        run: Runs a task to its end.
        say: Told which one comes next.

    Raises:
        CloudedgeError: a trial cannot be run, or failed; the same call goes on there.
    """
    trials = trials_of(task, over, seeds)
    runs = []
    for number, trial in enumerate(trials, 1):
        say(f"{number} of {len(trials)}: {trial.task.name}")
        runs.append(run(trial.task))
    return Sweep(trials, runs)
