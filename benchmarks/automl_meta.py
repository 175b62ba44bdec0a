"""What a meta model learns from the searches that it led itself.

    python -m benchmarks.automl_meta [--tasks 200] [--searches 50 200] [--quick] [--out FILE.json]

A meta model that never saw the samples leads searches of three trials; from what these found, and from the simulated searches
that it was made of, another one is trained, as the pipeline `automl_meta` does it. Both are then compared on tasks that none of
them saw, beside the one that comes along, which knows the samples, and beside an oracle. All is simulated as in
`benchmarks.automl_search`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.automl_search import WORDS, Outcome, Task, done, oracle, ours
from benchmarks.tables import page, write
from cloudedge.automl.beginning import begin
from cloudedge.automl.meta.model import MetaModel
from cloudedge.automl.meta.shipping import SEARCHES, TABLES, drawn, read_table
from cloudedge.automl.meta.table import Table
from cloudedge.automl.meta.training import examples, train
from cloudedge.automl.searching import Search
from cloudedge.documents.automl import NothingFeasible, TraceRow
from cloudedge.documents.tasks.automl_meta import AutomlMetaTask

_TRIALS = 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, train, search again, print the tables and write the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.automl_meta", description="What a meta model learns from the searches that it led."
    )
    parser.add_argument("--tasks", type=int, default=200, help="tasks that meta models are compared on (default: 200)")
    parser.add_argument("--searches", type=int, nargs="+", default=[50, 200], help="that are learned from (default: 50 200)")
    parser.add_argument("--quick", action="store_true", help="meta models of few searches: whether it runs at all")
    parser.add_argument("--out", type=Path, help="file for the figures, as JSON")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    figures = {WORDS[known]: _compared(known, asked.tasks, asked.searches, quick=asked.quick) for known in TABLES}
    titles = "three trials led by", "accuracy"
    tables = {
        f"{words.capitalize()}, {asked.tasks} tasks": [titles, *((name, f"{value:.3f}") for name, value in found.items())]
        for words, found in figures.items()
    }
    page(asked.out, "A meta model trained anew from its own searches", tables)
    write(asked.out, {"tasks": asked.tasks, "tables": figures})


def _compared(known: str, tasks: int, searches: Sequence[int], *, quick: bool) -> dict[str, float]:
    table = read_table(known)
    others = {name: read_table(name) for name in TABLES if name != known}
    simulated = examples(drawn(others, 100 if quick else SEARCHES, 0))
    trials, steps = (1, 20) if quick else (10, 1500)
    stranger = train(simulated, "other samples", trials=trials, steps=steps)
    tests = _tasks(table, tasks, 5)
    found = {"the meta model of other samples": _accuracy(tests, stranger)}
    rows = [_led(task, stranger, number) for number, task in enumerate(_tasks(table, max(searches), 6))]
    weight = AutomlMetaTask.model_fields["row_weight"].default
    for count in searches:
        learned = examples(rows[:count], weight).and_also(simulated)
        anew = train(learned, "other samples and searches", trials=trials, steps=steps)
        found[f"one trained anew from {count} of its searches"] = _accuracy(tests, anew)
    found["the one that comes along"] = _accuracy(tests, MetaModel.load())
    found["oracle"] = _mean([oracle(task) for task in tests])
    return found


def _tasks(table: Table, count: int, seed: int) -> list[Task]:
    chance = np.random.default_rng([seed, 78])
    return [Task(table, chance) for _ in range(count)]


def _accuracy(tasks: Sequence[Task], model: MetaModel) -> float:
    return _mean([ours(task, model, _TRIALS, 0) for task in tasks])


def _mean(outcomes: Sequence[Outcome]) -> float:
    return float(np.mean([outcome.accuracy for outcome in outcomes]))


def _led(task: Task, model: MetaModel, number: int) -> TraceRow:
    begun = begin(f"search.search.edge.{number}", "edge", task.state, task.asked, task, task.data, model)
    if isinstance(begun, NothingFeasible):
        raise AssertionError("tasks are drawn so that something is feasible")
    search = Search(begun.row, begun.screen, _TRIALS)
    done(task, search)
    return search.row


if __name__ == "__main__":
    main()
