"""What comes of a sweep: one task with many values, each combination run with several seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from cloud.runs.run import Run as StoredRun
from cloudedge.documents import canonical_json
from cloudedge.errors import CloudedgeError, InvalidInput
from pipelines.experiments.run import Run, final_accuracy
from pipelines.experiments.trials import Trial, short, value_in_words
from pipelines.frames import ON_EDGES

if TYPE_CHECKING:
    import optuna
    import pandas
    from rich.console import RenderableType

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
        self._rows = [each for each in combinations_of(entries) if any(entry.run for entry in each)]
        self.table: pandas.DataFrame = _table(self._rows)

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

    def drawn(self) -> "RenderableType":
        """The table, for a terminal."""
        from rich.table import Table

        shown = Table(box=None, pad_edge=False, header_style="dim")
        if self.table.empty:
            return "No run measured an accuracy."
        means, spreads = self.table["mean"], self.table["spread"]
        counts = ["runs"] if self.failures else []
        for title in (*short(means.index.names), *counts, *means.columns):
            shown.add_column(str(title))
        for number, of_seeds in enumerate(self._rows):
            values = [value_in_words(value) for value in of_seeds[0].trial.values.values()]
            done = [f"{sum(entry.run is not None for entry in of_seeds)} of {len(of_seeds)}"] if counts else []
            figures = zip(means.iloc[number], spreads.iloc[number], strict=True)
            shown.add_row(*values, *done, *(self._figure(mean, spread) for mean, spread in figures))
        return shown

    def __repr__(self) -> str:
        return "\n".join([str(self._shown().round(3).to_string()), *self.failed()])

    def _repr_html_(self) -> str:
        from cloud.pages.markup import element

        table = self._shown()
        means = [column for column in table.columns if column[0] == "mean"] if self._several else list(table.columns)
        shown = table.style.format(precision=3).highlight_max(subset=means, props="font-weight:bold")
        return "".join([shown.to_html(), *(str(element("p", line)) for line in self.failed())])

    @property
    def _several(self) -> bool:
        """Whether there are several seeds, and so a spread."""
        return any(len(of_seeds) > 1 for of_seeds in self._rows)

    def _shown(self) -> "pandas.DataFrame":
        return self.table if self._several or self.table.empty else self.table["mean"]

    def _figure(self, mean: float, spread: float) -> str:
        return f"{mean:.3f} ± {spread:.3f}" if self._several else f"{mean:.3f}"

    def failed(self) -> list[str]:
        """Which runs failed, and why, in a line each."""
        return [
            f"{entry.trial.task.id} ({entry.trial.in_words}) failed: {entry.error}" for entry in self._entries if entry.error
        ]


def combinations_of(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The trials of each combination of values."""
    found: dict[bytes, list[Entry]] = {}
    for entry in entries:
        found.setdefault(canonical_json(dict(entry.trial.values)), []).append(entry)
    return list(found.values())


def best_of(entries: Sequence[Entry]) -> tuple[Entry | None, float | None]:
    """The best run of the combination that does best over its seeds, and how good that is; None: nothing was measured.

    One of which runs failed is the best only where there is no whole one: those that were spared are no fair sample of it.
    """
    combinations = [each for each in combinations_of(entries) if any(entry.value is not None for entry in each)]
    whole = [each for each in combinations if all(entry.value is not None for entry in each)]
    measured = [[entry for entry in each if entry.value is not None] for each in whole or combinations]
    means = [(fmean(entry.value or 0.0 for entry in of_seeds), of_seeds) for of_seeds in measured]
    if not means:
        return None, None
    mean, best = max(means, key=lambda one: one[0])
    return max(best, key=lambda entry: entry.value or 0.0), mean


def accuracy_on_tests(run: Run) -> float | None:
    """The final model's accuracy on all test data; where there is none, at the edges; None: nowhere."""
    found = _final(run)
    at_edges = found.pop(ON_EDGES, None)
    return next(map(float, found.values()), at_edges)


def accuracy_of(run: Run) -> float | None:
    """The final model's accuracy on what the edges held out; where none measured there on all test data; None: nowhere."""
    return next(map(float, _final(run).values()), None)


def _table(combinations: Sequence[Sequence[Entry]]) -> "pandas.DataFrame":
    import pandas

    finals = [pandas.DataFrame([_final(entry.run) for entry in each if entry.run]) for each in combinations]
    fields = list(combinations[0][0].trial.values) if combinations else []
    rows = [[_as_label(value) for value in each[0].trial.values.values()] for each in combinations]
    index = (
        pandas.MultiIndex.from_tuples(list(map(tuple, rows)), names=fields)
        if len(fields) > 1
        else pandas.Index([row[0] for row in rows], name=fields[0] if fields else None)
    )
    means = pandas.DataFrame([final.mean() for final in finals], dtype=float).set_axis(index)
    spreads = pandas.DataFrame([final.std(ddof=0) for final in finals], dtype=float).set_axis(index)
    names = list(means.columns)
    if not names:
        return means
    columns = pandas.MultiIndex.from_tuples([(kind, name) for kind in ("mean", "spread") for name in names])
    return pandas.concat([means, spreads[names]], axis="columns").set_axis(columns, axis="columns")


def _as_label(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else value_in_words(value)


def _final(run: Run) -> dict[str, Any]:
    return dict(final_accuracy(run).dropna())
