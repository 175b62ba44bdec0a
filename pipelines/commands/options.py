"""Options that several commands share, and how results are printed."""

import getpass
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cloud.faults import Faults
from pipelines.laptop.home import DEFAULT

RunHomeOption = Annotated[
    Path, typer.Option("--home", envvar="CLOUDEDGE_HOME", help="Folder that runs, models, logs and MLflow's database live in.")
]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="CLOUDEDGE_HOME",
        help="Folder that runs live in; without it the cluster of CLOUDEDGE_STORE, or the folder cloudedge-home.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, for programs.")]
TaskArgument = Annotated[Path, typer.Argument(metavar="TASK", help="The task, a JSON file.")]
RunArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the task and its run.")]
HOME_DEFAULT = DEFAULT


def actor() -> str:
    """Who types, for the operation log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def say(message: str) -> None:
    """Tell whoever types something beside the result."""
    print(message, file=sys.stderr)


def end_with(faults: Faults) -> None:
    """End a command that has done all it could, and its answer said.

    Raises:
        CloudedgeError: says what it could not do, with the exit code of the first.
    """
    faults.tell_notes(say)
    error = faults.error()
    if error:
        raise error


def print_json(value: Any) -> None:
    """Print a result for a program."""
    json.dump(value, sys.stdout, indent=2, default=_plain)
    sys.stdout.write("\n")


def _plain(value: object) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Print rows in columns, the first row being the titles."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
