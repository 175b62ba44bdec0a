"""Running tasks: cloudedge demo, run, validate, compile."""

import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from cloud.fusion.rule import find_rule
from cloud.runs.run import Run
from cloudedge.documents import DataFormat, Task
from cloudedge.errors import EXIT_INTERRUPTED, InvalidInput
from cloudedge.files import atomic_write, is_outlet
from components.collaborative_training.pretrain.parameters import parameters_of
from pipelines.commands.options import HOME_DEFAULT, JsonOption, RunHomeOption, TaskArgument, print_json, read_task
from pipelines.display.console import console
from pipelines.display.live import RunDisplay, last_words
from pipelines.display.programs import typed
from pipelines.display.results import print_outcome
from pipelines.display.summary import overview, summary
from pipelines.laptop.home import Home
from pipelines.laptop.run import Data, run_task

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Folder with cloud/, edges/<edge>/ and test/ (optional); without it the demo's digits are used."
    ),
]
EdgesOption = Annotated[
    int | None, typer.Option("--edges", min=1, max=200, help="Number of edges; without it all with samples.")
]

_DEMO_EDGES = 4

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
    home: RunHomeOption = HOME_DEFAULT,
    edges: Annotated[int, typer.Option("--edges", min=1, max=20, help="Number of edges.")] = _DEMO_EDGES,
    as_json: JsonOption = False,
) -> None:
    """Train digits across a cloud and some edges on this machine, and show what collaboration bought."""
    from pipelines.collaborative_training.demo import demo_task

    task, place = demo_task(edges), Home(home)
    task_file = home / "digits.json"
    atomic_write(task_file, task.to_json())
    again = _again(task_file, None, edges if edges != _DEMO_EDGES else None, home, None)
    _run(task, _demo_data(home, edges), None, place, as_json, task_file, again)


def run(
    task: TaskArgument,
    data: DataOption = None,
    edges: EdgesOption = None,
    home: RunHomeOption = HOME_DEFAULT,
    compact: ShapeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a task on this machine. The same task again goes on where it was."""
    asked, place = read_task(task), Home(home)
    if data is None:
        _require_digits(asked, task)
    folder = data if data is not None else _demo_data(home, edges or _DEMO_EDGES)
    _run(asked, folder, edges, place, as_json, task, _again(task, data, edges, home, compact), compact)


def validate(task: TaskArgument, as_json: JsonOption = False) -> None:
    """Say whether a task file is right, or all that is wrong with it."""
    asked = read_task(task)
    check_names(asked)
    if as_json:
        print_json(asked.model_dump(mode="json"))
    else:
        how = f"{asked.collaboration.rounds} rounds" if asked.collaborate else "pretraining only"
        print(f"{task} is a valid task: {asked.name} ({asked.id}), {asked.model.architecture}, {how}.")


def check_names(task: Task) -> None:
    """Find what the document's form cannot know: what no pipeline carries, and architectures and rules that there are none of.

    Raises:
        InvalidInput: says all that is wrong.
    """
    from cloudedge.models import build

    faults: list[str] = []
    checks: list[Callable[[], object]] = [lambda: parameters_of(task), lambda: build(task.model, task.data, task.seed)]
    if task.collaborate:
        fusion = task.collaboration.fusion
        checks.append(lambda: find_rule(fusion.rule, fusion.parameters, task.collaboration.edges))
    for check in checks:
        try:
            check()
        except InvalidInput as error:
            faults.append(str(error))
    if faults:
        raise InvalidInput("\n".join(faults))


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

    asked = read_task(task)
    check_names(asked)
    atomic_write(output, package_of(asked, form=form, lists=True))
    if not is_outlet(output):
        print(output)


def _require_digits(task: Task, task_file: Path) -> None:
    """Make sure that a task without a folder of samples is about the demo's, before anything of it is begun.

    Raises:
        InvalidInput: it is not.
    """
    from pipelines.collaborative_training.demo.digits import DATA

    def looks(data: DataFormat) -> tuple[object, ...]:
        return data.storage, data.classes, [(field.name, field.shape) for field in data.fields]

    if looks(task.data) != looks(DATA):
        raise InvalidInput(
            f"{task_file} is about other samples than the demo's digits: name the folder that has yours with --data FOLDER."
        )


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


def _demo_data(home: Path, edges: int) -> Path:
    from pipelines.collaborative_training.demo import write_digits

    folder = home / "data" / f"digits-{edges}"
    if not (folder / "cloud").exists():
        write_digits(folder, edges)
    return folder


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
        log = home.logs(task.id) / "pipeline.log"
        with RunDisplay(console(stderr=True), lambda: last_words(log)) as display:
            run = run_task(task, Data(data), edges, home, display, compact)
    except KeyboardInterrupt:
        print(f"Stopped. This command goes on where the run was: {again}", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _show(run, home, as_json, task_file, again)


def _show(run: Run, home: Home, as_json: bool, task_file: Path, again: str) -> None:
    if as_json:
        print_json({**overview(run), **summary(run)})
    else:
        print_outcome(console(), run, home, task_file, again)
