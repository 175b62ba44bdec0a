"""What comes of a sweep: one task with many values, each combination run with several seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from cloud.runs.run import Run as StoredRun
from cloudedge.documents import canonical_json
from cloudedge.errors import CloudedgeError, InvalidInput
from pipelines.experiments.run import Run
from pipelines.experiments.trials import Trial, short, value_in_words

if TYPE_CHECKING:
    import optuna
    import pandas
    from rich.table import Table

State = Literal["waiting", "at work", "done", "failed"]

Objective = Callable[[Run], float | None]
"""How good a run is; None: it measured nothing."""


@dataclass
class Entry:
    """One trial, and how it stands.

    Attributes:
        trial: What is run.
        state: Whether it was.
        stored: Its run's objects, as soon as there are any.
        run: Its run, when it is done.
        value: How good it is, when it is done.
        error: Why it failed.
        began: When it began, in seconds of a monotonic clock.
        took: Seconds that it took.
    """

    trial: Trial
    state: State = "waiting"
    stored: StoredRun | None = None
    run: Run | None = None
    value: float | None = None
    error: CloudedgeError | None = None
    began: float = 0.0
    took: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in ("done", "failed")


class Sweep:
    """What came of a sweep.

    Attributes:
        runs: The finished runs.
        trials: What each of them tried, in the same order.
        failures: Why the others failed, by their ids.
        table: A row for each combination of values: by environment the fused model's mean accuracy over the seeds, and how far
            they spread (their standard deviation).
        study: Optuna's study, where it chose the values; for its plots, and for what mattered how much.
    """

    def __init__(self, entries: Sequence[Entry], study: "optuna.Study | None" = None) -> None:
        """Read the runs.

        Args:
            entries: The trials, each done or failed.
            study: Optuna's.
        """
        import pandas

        self.runs = [entry.run for entry in entries if entry.run]
        self.trials = [entry.trial for entry in entries if entry.run]
        self.failures = {entry.trial.task.id: entry.error for entry in entries if entry.error}
        self.study = study
        self._entries = entries
        rows = [_row(trial, run) for trial, run in zip(self.trials, self.runs, strict=True)]
        fields = list(self.trials[0].values)
        grouped = pandas.DataFrame(rows).groupby(fields, sort=False)
        self.table: pandas.DataFrame = pandas.concat({"mean": grouped.mean(), "spread": grouped.std(ddof=0)}, axis="columns")

    @property
    def best(self) -> Run:
        """The best run of the combination that does best over its seeds.

        Best is by the accuracy at the edges, or where none measured there on all test data, if no objective was given.

        Raises:
            InvalidInput: no run measured anything.
        """
        best, _ = best_of(self._entries)
        if best is None or best.run is None:
            raise InvalidInput("No run of the sweep measured an accuracy, so none is the best: give edges or test data.")
        return best.run

    def drawn(self) -> "Table":
        """The table, for a terminal."""
        from rich.table import Table

        shown = Table(box=None, pad_edge=False, header_style="dim")
        means, fields = self.table["mean"], [short(name) for name in self.table.index.names]
        for title in (*fields, *means.columns):
            shown.add_column(str(title))
        for values, mean, spread in zip(means.index, means.to_numpy(), self.table["spread"].to_numpy(), strict=True):
            figures = [self._figure(each, other) for each, other in zip(mean, spread, strict=True)]
            shown.add_row(*(values if isinstance(values, tuple) else (values,)), *figures)
        return shown

    def __repr__(self) -> str:
        return "\n".join([str(self._shown().round(3).to_string()), *self._failed()])

    def _repr_html_(self) -> str:
        from cloud.pages.markup import element

        table = self._shown()
        means = [column for column in table.columns if column[0] == "mean"] if self._several else list(table.columns)
        shown = table.style.format(precision=3).highlight_max(subset=means, props="font-weight:bold")
        return "".join([shown.to_html(), *(str(element("p", line)) for line in self._failed())])

    @property
    def _several(self) -> bool:
        """Whether there are several seeds, and so a spread."""
        return len(self.trials) > len(self.table)

    def _shown(self) -> "pandas.DataFrame":
        return self.table if self._several else self.table["mean"]

    def _figure(self, mean: float, spread: float) -> str:
        return f"{mean:.3f} ± {spread:.3f}" if self._several else f"{mean:.3f}"

    def _failed(self) -> list[str]:
        return [f"{run_id} failed: {error}" for run_id, error in self.failures.items()]


def best_of(entries: Sequence[Entry]) -> tuple[Entry | None, float | None]:
    """The best run of the combination that does best over its seeds, and how good that is; None: nothing was measured."""
    combinations: dict[bytes, list[Entry]] = {}
    for entry in entries:
        if entry.value is not None:
            combinations.setdefault(canonical_json(dict(entry.trial.values)), []).append(entry)
    means = [(fmean(entry.value or 0.0 for entry in of_seeds), of_seeds) for of_seeds in combinations.values()]
    if not means:
        return None, None
    mean, best = max(means, key=lambda one: one[0])
    return max(best, key=lambda entry: entry.value or 0.0), mean


def accuracy_of(run: Run) -> float | None:
    """The final model's accuracy on what the edges held out; where none measured there on all test data; None: nowhere."""
    return next(map(float, _final(run).values()), None)


def _row(trial: Trial, run: Run) -> dict[str, Any]:
    values = {name: value_in_words(value) for name, value in trial.values.items()}
    return {**values, **_final(run)}


def _final(run: Run) -> dict[str, Any]:
    accuracy = run.accuracy
    best: dict[str, Any] = accuracy["fused"].fillna(accuracy["pretrained"]).dropna().to_dict()
    return best
