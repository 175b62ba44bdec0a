"""Options that several commands share, and how results are printed."""

import getpass
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cloud.faults import Faults
from cloudedge.documents import Task, read_task
from cloudedge.errors import InvalidInput, NotFound
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


def read_task_file(path: Path) -> Task:
    """Read a task file.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it cannot be read.
        InvalidDocument: it is no task; names all its faults.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}: correct the path of the task.") from None
    except IsADirectoryError:
        raise InvalidInput(f"{path} is a folder: name the task's file in it.") from None
    except OSError as error:
        raise InvalidInput(f"Cannot read {path}: {error.strerror}. Mend that, or name another file.") from None
    return read_task(content, str(path))


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
