"""Sweeps on this machine: cloudedge sweep."""

import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloud.runs.run import Run as StoredRun
from cloudedge.documents.base import parse
from cloudedge.documents.sweep import Range, SweepFile
from cloudedge.errors import EXIT_INTERRUPTED, InvalidInput
from pipelines.commands.options import HOME_DEFAULT, JsonOption, RunHomeOption, print_json
from pipelines.commands.run import DataOption, demo_folder
from pipelines.display.console import console
from pipelines.display.outcome import print_places
from pipelines.experiments.laptop import Laptop
from pipelines.experiments.run import final_accuracy
from pipelines.experiments.task import Task, file_content
from pipelines.experiments.trials import in_words
from pipelines.laptop.home import Home

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from pipelines.experiments.run import Run
    from pipelines.experiments.sweep import Sweep

_WIDTH_OF_A_FILE = 500
_MOST_BYTES = 16 * 1024 * 1024


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sweep")(sweep)


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The sweep, a JSON file: a task and the values to try.")],
    data: DataOption = None,
    at_once: Annotated[
        int | None,
        typer.Option("--at-once", min=1, max=64, help="Runs at a time; without it as many as have a core for each edge."),
    ] = None,
    home: RunHomeOption = HOME_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Run a task with many values on this machine. The same sweep again goes on where it was."""
    asked = parse(SweepFile, file_content(file, "sweep"), str(file), _MOST_BYTES)
    task = Task.from_file(file.parent / asked.task) if isinstance(asked.task, str) else Task(asked.task)
    if asked.trials is None and (ranges := [field for field, values in asked.over.items() if isinstance(values, Range)]):
        raise InvalidInput(
            f"{file}: for {', '.join(ranges)} there is a range: say with trials how many values Optuna is to draw."
        )
    over: dict[str, Any] = {field: _drawn_from(values) for field, values in asked.over.items()}
    folder = data or demo_folder(task.document, home, None, file)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Laptop(home) as laptop:
            sampler = asked.sampler if asked.trials else None
            found = laptop.sweep(task, over, folder, seeds=asked.seeds, trials=asked.trials, sampler=sampler, at_once=at_once)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on where the sweep was.", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    best = None
    with suppress(InvalidInput):  # Nothing was measured.
        best = found.best
    if as_json:
        print_json(_described(found, best))
    else:
        _print(found, best, Home(home))


def _drawn_from(values: tuple[Any, ...] | Range) -> "list[Any] | BaseDistribution":
    if not isinstance(values, Range):
        return list(values)
    from optuna.distributions import FloatDistribution, IntDistribution

    if values.whole:
        return IntDistribution(int(values.low), int(values.high), log=values.log, step=int(values.step or 1))
    return FloatDistribution(values.low, values.high, log=values.log, step=values.step)


def _described(found: "Sweep", best: "Run | None") -> dict[str, Any]:
    runs = [
        {
            "id": run.id,
            "values": dict(trial.values),
            "seed": trial.seed,
            "accuracy": final_accuracy(run).dropna().to_dict(),
        }
        for trial, run in zip(found.trials, found.runs, strict=True)
    ]
    return {"runs": runs, "best": best and best.id, "failures": {run: str(error) for run, error in found.failures.items()}}


def _print(found: "Sweep", best: "Run | None", home: Home) -> None:
    out = console()
    if not out.is_terminal:
        out.width = max(out.width, _WIDTH_OF_A_FILE)
    out.print(found.drawn())
    if best is not None:
        values = next(trial.values for trial, run in zip(found.trials, found.runs, strict=True) if run is best)
        print(f"\nBest      {best.id}, with {in_words(values)}")
        print_places(out, StoredRun(home.store, best.id), home)
    for line in found.failed():
        print(line, file=sys.stderr)
