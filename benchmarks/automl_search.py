"""Searching for a model on a device: three trials led by the meta model beside Optuna's constrained TPE and random search.

    python -m benchmarks.automl_search [--seeds 0 1 2 3 4] [--tasks 40] [--quick] [--out FILE.json]

A task is a device, a queue and limits, drawn anew: none of them was seen in training. What networks reach is looked up in
tables of real trainings, on drawn meters and on scikit-learn's handwritten digits. The meta model that comes along knows both;
beside it is one that learned from the other table alone, so that neither these tasks nor these samples were seen in training.
What networks cost is simulated; nobody knows the true cost, not the searches either: they see a prediction that is off by 5%
(standard deviation), with a bound for that and for a busy neighbour, and a model measured above a limit is refused.

Peers in the same run: TPE with constraints as Optuna's users have it (`trial.set_constraint`; a candidate that breaks a limit
is trained all the same, and never returned), TPE that screens as ours does outside of the meta model's range, random search
among screened candidates, and the best candidate whatever it costs. They train with the loss that is best on the table on
average, which nobody knows beforehand; ours takes the meta model's. The oracle knows all, and takes the best.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.tables import page, write
from cloudedge.automl.beginning import begin
from cloudedge.automl.meta.model import MetaModel
from cloudedge.automl.meta.shipping import TABLES, learned, read_table
from cloudedge.automl.meta.simulating import Bill, Device, drawn_state, form
from cloudedge.automl.meta.table import Table
from cloudedge.automl.screen import broken, excess
from cloudedge.automl.searching import Search
from cloudedge.automl.space import networks
from cloudedge.documents import DataFormat
from cloudedge.documents.automl import Candidate, Costs, NothingFeasible, TraceRow
from cloudedge.seeds import derived_seed

WORDS = {"dials": "drawn meters", "digits": "handwritten digits"}

_ERROR = 0.05
"""Standard deviation of a prediction, as a share."""

_MARGIN = 0.15
"""By which a bound is above the prediction."""


class Task:
    """A search to do: a drawn device with a queue and limits, and a table of what candidates reach."""

    def __init__(self, table: Table, chance: np.random.Generator) -> None:
        """Draw one in which something is feasible."""
        self.table, self.data = table, form(table)
        self._places = {candidate: place for place, candidate in enumerate(table.networks)}
        self._off = np.exp(chance.normal(0, _ERROR, len(table.networks)))
        self.losses: dict[str, tuple[float, ...]] = {column.loss: column.accuracies for column in table.columns}
        self.loss = max(self.losses, key=lambda loss: float(np.mean(self.losses[loss])))
        while True:
            self.device = Device.drawn(chance)
            self.bill: Bill = self.device.bill(table.networks, self.data)
            self.state, self.asked = drawn_state(chance, self.device, self.bill)
            begun = begin("task", "simulated", self.state, self.asked, self, self.data, None)
            if not isinstance(begun, NothingFeasible):
                self.limits, self.screen = begun.row.limits, begun.screen
                break

    def costs(self, candidate: Candidate, data: DataFormat) -> Costs:
        """What is predicted, see `screen.Predictor`."""
        place = self._places[candidate]
        true, off = self.bill.costs(place), float(self._off[place])
        return Costs(
            latency_ms=true.latency_ms * off,
            latency_bound_ms=true.latency_bound_ms * off * (1 + _MARGIN),
            memory_bytes=true.memory_bytes,
            energy_joules=None if true.energy_joules is None else true.energy_joules * off * (1 + _MARGIN),
        )

    def measured(self, candidate: Candidate) -> Costs:
        """What it really costs."""
        return self.bill.costs(self._places[candidate]).model_copy(update={"origin": "measured"})

    def accuracy(self, candidate: Candidate, loss: str) -> float:
        """What it reaches."""
        return self.losses[loss][self._places[candidate]]


@dataclass(frozen=True)
class Outcome:
    """What a search came to.

    Attributes:
        accuracy: Of the model that it returns; 0: none.
        broken: Whether that one breaks a limit.
        infeasible: Trained candidates that break a limit.
        trained: Trained candidates.
    """

    accuracy: float
    broken: bool
    infeasible: int
    trained: int


def _returned(task: Task, trained: Sequence[tuple[Candidate, str]], *, refuse: bool = True) -> Outcome:
    """Measure what was trained, and return the best of what keeps the limits, or of all."""
    faults = [bool(broken(task.measured(candidate), task.limits)) for candidate, _ in trained]
    reached = [task.accuracy(candidate, loss) for candidate, loss in trained]
    order = sorted(range(len(trained)), key=lambda place: -reached[place])
    for place in order:
        if not (refuse and faults[place]):
            return Outcome(0.0 if faults[place] else reached[place], faults[place], sum(faults), len(trained))
    return Outcome(0.0, broken=False, infeasible=sum(faults), trained=len(trained))


def ours(task: Task, model: MetaModel, trials: int, seed: int) -> Outcome:
    """The search as it is: caps, order and loss by the meta model, or by TPE beyond its range."""
    begun = begin("task", "simulated", task.state, task.asked, task, task.data, model)
    if isinstance(begun, NothingFeasible):
        return Outcome(0.0, broken=False, infeasible=0, trained=0)
    return done(task, Search(begun.row, begun.screen, trials, seed))


def screened_tpe(task: Task, trials: int, seed: int) -> Outcome:
    """The search without a meta model."""
    row = _row(task)
    caps = row.hyperparameters.model_copy(update={"loss": task.loss})
    return done(task, Search(row.model_copy(update={"hyperparameters": caps}), task.screen, trials, seed))


def done(task: Task, search: Search) -> Outcome:
    """Search to the end, and look at what it returns."""
    while trial := search.ask():
        accuracy, measured = task.accuracy(trial.candidate, trial.loss), task.measured(trial.candidate)
        search.tell(trial.model_copy(update={"accuracy": accuracy, "measured": measured}))
    trained = [(trial.candidate, str(trial.loss)) for trial in search.row.trials if trial.accuracy is not None]
    outcome = _returned(task, trained)
    best = None if search.row.best is None else search.row.trials[search.row.best]
    if outcome.accuracy != (0.0 if best is None else best.accuracy):
        raise AssertionError("the search returns another model than the best one that keeps the limits")
    return outcome


def _row(task: Task) -> TraceRow:
    begun = begin("task", "simulated", task.state, task.asked, task, task.data, None)
    if isinstance(begun, NothingFeasible):
        raise AssertionError("tasks are drawn so that something is feasible")
    return begun.row


def constrained_tpe(task: Task, trials: int, seed: int) -> Outcome:
    """Optuna's TPE with constraints by its own defaults; it trains what it is at, and measures it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    space, trained = networks(), list[tuple[Candidate, str]]()
    for _ in range(trials):
        asked = study.ask()
        places = [asked.suggest_int(name, 0, len(values) - 1) for name, values in space.choices.items()]
        candidate = space.at(places)
        for limit, beyond in excess(task.measured(candidate), task.limits).items():
            asked.set_constraint(limit, min(beyond, 1e12))
        study.tell(asked, task.accuracy(candidate, task.loss))
        trained.append((candidate, task.loss))
    return _returned(task, trained)


def random_search(task: Task, trials: int, seed: int) -> Outcome:
    """Some of the screened candidates."""
    feasible = task.screen.feasible()
    chosen = np.random.default_rng(seed).permutation(len(feasible))[:trials]
    return _returned(task, [(feasible[place], task.loss) for place in chosen])


def blind(task: Task) -> Outcome:
    """The best candidate, whatever it costs."""
    loss, accuracies = max(task.losses.items(), key=lambda item: max(item[1]))
    return _returned(task, [(task.table.networks[int(np.argmax(accuracies))], loss)], refuse=False)


def oracle(task: Task) -> Outcome:
    """The best of all candidates and losses that keep the limits."""
    kept = [candidate for candidate in task.table.networks if not broken(task.measured(candidate), task.limits)]
    return _returned(task, [(candidate, loss) for candidate in kept for loss in task.losses])


def methods(model: MetaModel, stranger: MetaModel) -> dict[str, Callable[[Task, int], Outcome]]:
    """What is compared, by name."""
    return {
        "best candidate, blind to limits": lambda task, _: blind(task),
        "constrained TPE (Optuna), 12 trials": lambda task, seed: constrained_tpe(task, 12, seed),
        "screened TPE, 12 trials": lambda task, seed: screened_tpe(task, 12, seed),
        "random, screened, 12 trials": lambda task, seed: random_search(task, 12, seed),
        "random, screened, 15 trials": lambda task, seed: random_search(task, 15, seed),
        "random, screened, 3 trials": lambda task, seed: random_search(task, 3, seed),
        "meta model and screen, 1 trial": lambda task, seed: ours(task, model, 1, seed),
        "meta model and screen, 3 trials": lambda task, seed: ours(task, model, 3, seed),
        "meta model of other samples, 3 trials": lambda task, seed: ours(task, stranger, 3, seed),
        "oracle": lambda task, _: oracle(task),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, print the tables, write the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.automl_search", description="Searching led by the meta model beside TPE and random search."
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="as many rounds (default: 0 1 2 3 4)")
    parser.add_argument("--tasks", type=int, default=40, help="tasks a seed and table (default: 40)")
    parser.add_argument("--quick", action="store_true", help="other meta models of few searches: whether it runs at all")
    parser.add_argument("--meta", type=Path, default=None, help="folder of another meta model than the one that comes along")
    parser.add_argument("--out", type=Path, help="file for the figures, as JSON")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = MetaModel.load(asked.meta) if asked.meta else MetaModel.load()
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for known in TABLES:
        table, words = read_table(known), WORDS[known]
        others = [name for name in TABLES if name != known]
        stranger = learned(others, 100, trials=1, steps=20) if asked.quick else learned(others, trials=3)
        outcomes_of: dict[str, list[Outcome]] = {}
        by_seed: dict[str, list[float]] = {}
        for seed in asked.seeds:
            chance = np.random.default_rng([seed, 77])
            tasks = [Task(table, chance) for _ in range(asked.tasks)]
            for name, method in methods(model, stranger).items():
                outcomes = [method(task, derived_seed(seed, number) % 2**31) for number, task in enumerate(tasks)]
                outcomes_of.setdefault(name, []).extend(outcomes)
                by_seed.setdefault(name, []).append(float(np.mean([outcome.accuracy for outcome in outcomes])))
        figures[words] = {name: _figures(outcomes, by_seed[name]) for name, outcomes in outcomes_of.items()}
    what = f"{len(asked.seeds)} seeds of {asked.tasks} tasks"
    tables = {f"{words.capitalize()}, {what}": _rows(found) for words, found in figures.items()}
    page(asked.out, "Searching for a model on a device", tables)
    write(asked.out, {"seeds": asked.seeds, "tasks": asked.tasks, "trained_on": model.card.trained_on, "tables": figures})


def _rows(found: dict[str, dict[str, float]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("search", "accuracy", "by seed", "trainings", "in vain", "broken limits")]
    for name, each in found.items():
        spread = f"{each['least_seed']:.3f} to {each['most_seed']:.3f}"
        trainings = f"{each['trained']:.1f}", f"{each['infeasible']:.2f}", f"{each['broken']:.0%}"
        rows.append((name, f"{each['accuracy']:.3f}", spread, *trainings))
    return rows


def _figures(outcomes: Sequence[Outcome], by_seed: Sequence[float]) -> dict[str, float]:
    return {
        "accuracy": float(np.mean([outcome.accuracy for outcome in outcomes])),
        "least_seed": min(by_seed),
        "most_seed": max(by_seed),
        "broken": float(np.mean([outcome.broken for outcome in outcomes])),
        "infeasible": float(np.mean([outcome.infeasible for outcome in outcomes])),
        "trained": float(np.mean([outcome.trained for outcome in outcomes])),
    }


if __name__ == "__main__":
    main()
