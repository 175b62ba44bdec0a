"""Running tasks: cloudedge demo, run, validate, compile."""

import contextlib
import shlex
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import typer

from cloud.runs.run import Run
from cloudedge.documents import Task
from cloudedge.documents.tasks import SYSTEMS
from cloudedge.errors import EXIT_INTERRUPTED, InvalidInput
from cloudedge.files import atomic_write, is_outlet
from pipelines.commands.options import HOME_DEFAULT, JsonOption, RunHomeOption, TaskArgument, print_json
from pipelines.display.command_name import typed
from pipelines.display.console import console
from pipelines.display.outcome import print_outcome
from pipelines.display.summary import overview, summary
from pipelines.experiments.laptop import Laptop
from pipelines.experiments.task import Task as TaskInPython
from pipelines.experiments.task import task_in_file
from pipelines.laptop.home import Home
from pipelines.systems import system_named, system_of

_STORIES = {"automl": "pipelines.automl_demo.demo", "inspection": "pipelines.inspection_demo.demo"}
"""Demos that show several systems, and where each is."""

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Folder with cloud/, edges/<edge>/ and test/ (optional); without it the demo's digits are used."
    ),
]
EdgesOption = Annotated[
    int | None, typer.Option("--edges", min=1, max=200, help="Number of edges; without it all with samples.")
]

ShapeOption = Annotated[
    bool | None,
    typer.Option(
        "--compact/--flat", help="All rounds in one pipeline task, or a task for each step; else flat up to ten rounds."
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("demo")(demo)
    app.command("run")(run)
    app.command("validate")(validate)
    app.command("compile")(compile_task)


def demo(
    name: Annotated[
        str, typer.Argument(metavar="[SYSTEM]", help="What is shown: automl, inspection, or a system's name.")
    ] = next(iter(SYSTEMS)),
    home: RunHomeOption = HOME_DEFAULT,
    edges: Annotated[int | None, typer.Option("--edges", min=1, max=200, help="Number of edges.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a system on this machine with real data; by default, train digits across a cloud and some edges."""
    if name in _STORIES:
        if edges is not None:
            raise InvalidInput(f"The demo {name} has edges of its own: leave --edges out.")
        _tell_story(name, home, as_json)
        return
    system = system_named(name)
    shown = system.demo
    if shown is None:
        raise InvalidInput(f"{name} has no demo: run a task of yours, with cloudedge run TASK.")
    count = shown.edges if edges is None else edges
    task, opened = shown.task(count), Home(home)
    task_file = home / f"{shown.name}.json"
    atomic_write(task_file, task.to_json())
    again = _again(task_file, None, edges if edges != shown.edges else None, home, None)
    _run(task, shown.folder(home, count), None, opened, as_json, task_file, again)


def _tell_story(name: str, home: Path, as_json: bool) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def stay(page: str) -> None:
        """Keep what the demo started for whoever looks at it."""
        if not as_json and sys.stdout.isatty():
            print(f"The line's page is at {page} until you press Ctrl-C here.")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()

    try:
        summary = import_module(_STORIES[name]).show(home, lambda line: print(line, file=sys.stderr), stay)
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        print_json(summary)


def run(
    task: TaskArgument,
    data: DataOption = None,
    edges: EdgesOption = None,
    home: RunHomeOption = HOME_DEFAULT,
    compact: ShapeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a task on this machine. The same task again goes on where it was."""
    asked, opened = task_in_file(task), Home(home)
    folder = data or demo_folder(asked, home, edges, task)
    _run(asked, folder, edges, opened, as_json, task, _again(task, data, edges, home, compact), compact)


def demo_folder(task: Task, home: Path, edges: int | None, file: Path) -> Path:
    """Folder of the demo's samples, for a task about those.

    Args:
        task: The task.
        home: Where they are laid out.
        edges: Number of edges; none: as many as the task names, or as the demo has.
        file: Where the task is from.

    Raises:
        InvalidInput: it is about others.
    """
    system = system_of(task)
    folder = system.demo_data(task, home, edges)
    if folder is None:
        why = f"is about other samples than the demo's {system.demo.name}" if system.demo else "is about samples of yours"
        raise InvalidInput(f"{file} {why}: name the folder that has them with --data FOLDER.")
    return folder


def validate(task: TaskArgument, as_json: JsonOption = False) -> None:
    """Say whether a task file is right, or all that is wrong with it."""
    asked = task_in_file(task)
    system = system_of(asked)
    system.check(asked)
    if as_json:
        print_json(asked.model_dump(mode="json"))
    else:
        print(f"{task} is a valid task: {asked.name} ({asked.id}), {system.in_words(asked)}.")


def compile_task(
    task: TaskArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the pipeline package (YAML) goes.")],
    form: Annotated[
        Literal["fields", "task"],
        typer.Option("--form", help="The package's form: a field for each of the task's, or one for the whole task as JSON."),
    ] = "fields",
) -> None:
    """Compile a task to a pipeline package for Kubeflow, with the task's values as the form's defaults."""
    from pipelines.kubeflow.compile import package_of

    asked = task_in_file(task)
    system_of(asked).check(asked)
    atomic_write(output, package_of(asked, shape=form, lists=True))
    if not is_outlet(output):
        print(output)


def _again(task_file: Path, data: Path | None, edges: int | None, home: Path, compact: bool | None) -> str:
    """The command that goes on with a run, to be typed as it is."""
    words = [typed("cloudedge"), "run", str(task_file)]
    if data is not None:
        words += ["--data", str(data)]
    if edges is not None:
        words += ["--edges", str(edges)]
    if home != HOME_DEFAULT:
        words += ["--home", str(home)]
    if compact is not None:
        words += ["--compact" if compact else "--flat"]
    return shlex.join(words)


def _run(
    task: Task,
    data: Path,
    edges: int | None,
    home: Home,
    as_json: bool,
    task_file: Path,
    again: str,
    compact: bool | None = None,
) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Laptop(home.folder) as laptop:
            laptop.run(TaskInPython.of(task), data, edges=edges, compact=compact)
    except KeyboardInterrupt:
        print(f"Stopped. This command goes on where the run was: {again}", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _show(Run(home.store, task.id), home, as_json, task_file, again)


def _show(run: Run, home: Home, as_json: bool, task_file: Path, again: str) -> None:
    if as_json:
        print_json({**overview(run), **summary(run)})
    else:
        print_outcome(console(), run, home, task_file, again)
