"""What a finished run brought, and where to look next."""

import shlex
from pathlib import Path

from rich.console import Console

from cloud.runs.run import Run
from pipelines.display.command_name import typed
from pipelines.laptop.home import Home
from pipelines.systems import system_of

_RUNS_PAGE = "http://127.0.0.1:5000/#/experiments/1/runs"
"""MLflow's own first page shows traces of language models; in a home's database our experiment is the first that was made."""


def print_outcome(console: Console, run: Run, home: Home, task_file: Path, again: str) -> None:
    """Print the figures of a run, where to look next, and the command that runs its task file again."""
    console.print()
    system_of(run.task()).print_outcome(console, run)
    print_places(console, run, home)
    console.print(f"Task      {task_file}   (change it, give it another id, and: {again})", soft_wrap=True)


def print_places(console: Console, run: Run, home: Home) -> None:
    """Print where a run's report is, and how MLflow shows it."""
    console.print(f"Report    {home.store.root / run.key('report.html')}", soft_wrap=True)
    mlflow = shlex.join([typed("mlflow"), "ui", "--backend-store-uri", home.tracking_uri])
    console.print(f"MLflow    {mlflow}", soft_wrap=True)
    console.print(f"          then open {_RUNS_PAGE}", soft_wrap=True)
