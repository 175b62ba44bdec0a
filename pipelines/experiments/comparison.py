"""Several runs beside each other."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cloud.tracking import flat_params
from cloudedge.errors import InvalidInput
from pipelines.experiments.frames import ON_EDGES
from pipelines.experiments.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SAYS_NOTHING = ("schema_version", "kind", "id", "name")
"""Fields that any two tasks differ in."""


class Comparison:
    """What some runs differ in, and how good their models are.

    Attributes:
        runs: The runs.
        table: A row a run: the fields of the task in which they differ, and the fused model's accuracy (of a run without edges
            the pretrained one's) by environment.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        """Read them.

        Raises:
            InvalidInput: there is none, or one is not finished.
        """
        import pandas

        if not runs:
            raise InvalidInput("There is no run to compare: name some.")
        unfinished = [repr(run) for run in runs if run.state != "finished"]
        if unfinished:
            raise InvalidInput(f"Only finished runs are compared; these are not: {'; '.join(unfinished)}.")
        self.runs = list(runs)
        settings = [_settings(run) for run in runs]
        differing = [name for name in settings[0] if len({each.get(name) for each in settings}) > 1]
        rows, names = [], _names(runs)
        for name, run, values in zip(names, runs, settings, strict=True):
            accuracy = run.accuracy
            best = accuracy["fused"].fillna(accuracy["pretrained"])
            rows.append({"run": name, **{field: values.get(field, "") for field in differing}, **best.to_dict()})
        self.table = pandas.DataFrame(rows).set_index("run")
        self._differing = differing

    def plot(self) -> "Figure":
        """Draw the accuracy on the edges over the rounds, and that by environment."""
        import matplotlib.pyplot as plt

        figure, (over_rounds, by_environment) = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
        labels = [self._label(name) for name in self.table.index]
        for label, run in zip(labels, self.runs, strict=True):
            history = run.rounds["accuracy on edges"].dropna()
            over_rounds.plot(history.index, history.values, marker="o", label=label)
        over_rounds.set(xlabel="round", ylabel="accuracy", title="On the edges' held-out samples", ylim=(0, 1))
        over_rounds.legend(title=", ".join(name.rpartition(".")[2] for name in self._differing) or "run")
        tests = self.table.drop(columns=[*self._differing, ON_EDGES], errors="ignore")
        if len(tests.columns):
            tests.index = labels
            tests.T.plot.barh(ax=by_environment, legend=False, xlabel="accuracy", xlim=(0, 1))
            by_environment.set(title="On test samples, by environment", ylabel="")
            by_environment.invert_yaxis()
        plt.close(figure)  # A cell shows what it is given, and not once more what was drawn.
        return figure

    def _label(self, name: str) -> str:
        values: Mapping[str, Any] = self.table.loc[name]
        return ", ".join(str(values[field]) for field in self._differing) or name

    def __repr__(self) -> str:
        return str(self.table.round(3).to_string())

    def _repr_html_(self) -> str:
        figures = [name for name in self.table.columns if name not in self._differing]
        shown: str = self.table.style.format(precision=3).highlight_max(subset=figures, props="font-weight:bold").to_html()
        return shown


def compare(runs: Sequence[Run]) -> Comparison:
    """Lay runs beside each other.

    Args:
        runs: Finished runs of collaborative training.

    Raises:
        InvalidInput: there is none, or one is not finished.
    """
    return Comparison(runs)


def _names(runs: Sequence[Run]) -> list[str]:
    """The runs' ids; of several with one id, as from several homes, the others are numbered."""
    seen: Counter[str] = Counter()
    names = []
    for run in runs:
        seen[run.id] += 1
        names.append(run.id if seen[run.id] == 1 else f"{run.id} ({seen[run.id]})")
    return names


def _settings(run: Run) -> dict[str, str]:
    return flat_params({name: value for name, value in run.task.fields.items() if name not in _SAYS_NOTHING})
