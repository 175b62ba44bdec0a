"""All commands of `cloudedge`.

Here stands what the list of commands says of each. A family of commands is imported when one of them is asked for, and with it
what it needs; so no command pays for another's libraries, and the list itself for none.
"""

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from cloudedge import __version__


class Named(NamedTuple):
    """A command, or a group of them, that has not been asked for yet.

    Attributes:
        family: The module beside this one that it is in.
        words: What it does, as it says itself.
    """

    family: str
    words: str


COMMANDS = {
    "demo": Named(
        "run", "Show a system on this machine with real data; by default, train digits across a cloud and some edges."
    ),
    "run": Named("run", "Run a task on this machine. The same task again goes on where it was."),
    "sweep": Named("sweep", "Run a task with many values on this machine. The same sweep again goes on where it was."),
    "validate": Named("run", "Say whether a task file is right, or all that is wrong with it."),
    "compile": Named(
        "run", "Compile a task to a pipeline package for Kubeflow, with the task's values as the form's defaults."
    ),
    "submit": Named("kubeflow", "Run a task on Kubeflow. After a failure the same task goes on where it was."),
    "status": Named("kubeflow", "Show how a run on Kubeflow stands, and each of its tasks."),
    "logs": Named(
        "kubeflow", "Print what the tasks of a run on Kubeflow said, from their pods in the cluster of the kubeconfig."
    ),
    "fuse": Named("fuse", "Fuse models of the same layout into one. Without --rule: --weights if given, else uniform."),
    "events": Named("runs", "Show the operation log of a run: who did what, when."),
    "report": Named("runs", "Say where the run's report is, or copy it."),
    "tasks": Named("runs", "Look at runs, end and delete them."),
    "edges": Named("edges", "Enroll edges with a cluster and look after them."),
    "data": Named("data", "Keep the cloud's own samples in a cluster's store."),
    "store": Named("store", "Prepare a cluster's object store."),
}


class Commands(TyperGroup):
    """The commands, each loaded when it is asked for."""

    def __init__(self, **settings: Any) -> None:
        """Know their names."""
        super().__init__(**settings)
        for name, (_, words) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=words))

    def load(self, name: str) -> None:
        """Bring the family of a command, in place of their names alone."""
        family = typer.Typer(rich_markup_mode=None)
        import_module(f"pipelines.commands.{COMMANDS[name].family}").add_to(family)
        self.commands.update(typer.main.get_group(family).commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load the one that is asked for."""
        if args[0] in COMMANDS:
            self.load(args[0])
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Commands,
    help="Train one model across a cloud and many edge nodes, without moving raw data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Help is shown as it is written: what stands in brackets is no markup.
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version and end."),
) -> None:
    del version
