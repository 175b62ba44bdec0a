"""Several runs beside each other."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cloud.tracking import flat_params
from cloudedge.errors import InvalidInput
from pipelines.experiments.run import Run, final_accuracy
from pipelines.experiments.trials import SEED
from pipelines.frames import ON_EDGES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SAYS_NOTHING = ("schema_version", "kind", "id", "name")
"""Fields that any two tasks differ in."""


class Comparison:
    """What some runs differ in, and how good their models are.

    Attributes:
        runs: The runs.
        table: A row a run, or one for those that differ in nothing but their seeds: the fields of the task in which the rows
            differ, and by environment the fused model's accuracy (of a run without edges the pretrained one's). Of several
            seeds it is their mean, their number is in the column `seeds`, and how far they spread, their standard deviation,
            in a column `± environment`.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        """Read them.

        Raises:
            InvalidInput: there is none, or one is not finished.
        """
        import pandas

        runs = [runs] if isinstance(runs, Run) else list(runs)
        if not runs:
            raise InvalidInput("There is no run to compare: name some.")
        unfinished = [repr(run) for run in runs if run.state != "finished"]
        if unfinished:
            raise InvalidInput(f"Only finished runs are compared; these are not: {'; '.join(unfinished)}.")
        self.runs = list(runs)
        settings = {name: _settings(run) for name, run in zip(_names(runs), runs, strict=True)}
        self._groups = _of_the_same_settings(dict(zip(settings, runs, strict=True)), settings)
        first = [settings[next(iter(group))] for group in self._groups]
        self._differing = [name for name in first[0] if len({each.get(name) for each in first}) > 1]
        several = any(len(group) > 1 for group in self._groups)
        rows = []
        for group, values in zip(self._groups, first, strict=True):
            each = pandas.DataFrame([final_accuracy(run) for run in group.values()])
            spread = {f"± {name}": value for name, value in each.std(ddof=0).items()} if several else {}
            shown = {field: values.get(field, "") for field in self._differing} | ({"seeds": len(group)} if several else {})
            rows.append({"run": next(iter(group)), **shown, **each.mean().to_dict(), **spread})
        self.table = pandas.DataFrame(rows).set_index("run")

    def plot(self) -> "Figure":
        """Draw the accuracy on the edges over the rounds, and that by environment; of several seeds, how far they spread."""
        import matplotlib.pyplot as plt
        import pandas
        from matplotlib.ticker import MaxNLocator

        figure, (over_rounds, by_environment) = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
        labels = [self._label(name) for name in self.table.index]
        for label, group in zip(labels, self._groups, strict=True):
            each = pandas.DataFrame([run.rounds["accuracy on edges"].dropna() for run in group.values()])
            mean, spread = each.mean(), each.std(ddof=0)
            (line,) = over_rounds.plot(mean.index, mean, marker="o", label=label)
            if len(group) > 1:
                over_rounds.fill_between(mean.index, mean - spread, mean + spread, color=line.get_color(), alpha=0.2)
        over_rounds.set(xlabel="round", ylabel="accuracy", title="On the edges' held-out samples", ylim=(0, 1))
        over_rounds.xaxis.set_major_locator(MaxNLocator(integer=True))
        over_rounds.legend(title=", ".join(name.rpartition(".")[2] for name in self._differing) or "run")
        tests = self.table[[name for name in self._environments() if name != ON_EDGES]]
        if len(tests.columns):
            spread = self.table.reindex(columns=[f"± {name}" for name in tests]).fillna(0)
            tests.index = spread.index = labels
            tests.T.plot.barh(ax=by_environment, xerr=spread.to_numpy(), legend=False, xlabel="accuracy", xlim=(0, 1))
            by_environment.set(title="On test samples, by environment", ylabel="")
            by_environment.invert_yaxis()
        plt.close(figure)  # A cell shows what it is given, and not once more what was drawn.
        return figure

    def _environments(self) -> list[str]:
        others = {*self._differing, "seeds"}
        return [name for name in self.table.columns if name not in others and not name.startswith("± ")]

    def _label(self, name: str) -> str:
        values: Mapping[str, Any] = self.table.loc[name]
        return ", ".join(_short_number(str(values[field])) for field in self._differing) or name

    def __repr__(self) -> str:
        return str(self.table.round(3).to_string())

    def _repr_html_(self) -> str:
        best = self.table.style.format(precision=3).highlight_max(subset=self._environments(), props="font-weight:bold")
        shown: str = best.to_html()
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


def _of_the_same_settings(runs: Mapping[str, Run], settings: Mapping[str, Mapping[str, str]]) -> list[dict[str, Run]]:
    """The runs by name, together where they differ in nothing but their seeds; those of one seed, too, stay apart."""
    groups: dict[tuple[tuple[str, str], ...], list[dict[str, Run]]] = {}
    for name, run in runs.items():
        alike = groups.setdefault(tuple((field, value) for field, value in settings[name].items() if field != SEED), [])
        seed = settings[name].get(SEED)
        free = next((group for group in alike if all(settings[other].get(SEED) != seed for other in group)), None)
        if free is None:
            alike.append({name: run})
        else:
            free[name] = run
    return [group for alike in groups.values() for group in alike]


def _short_number(value: str) -> str:
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


def _settings(run: Run) -> dict[str, str]:
    return flat_params({name: value for name, value in run.task.fields.items() if name not in _SAYS_NOTHING})
