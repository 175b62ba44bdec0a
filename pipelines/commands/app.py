"""All commands of `cloudedge`."""

import typer

from cloudedge import __version__
from pipelines.commands import data, edges, fuse, kubeflow, run, store, tasks

app = typer.Typer(
    help="Train one model across a cloud and many edge nodes, without moving raw data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
run.add_to(app)
kubeflow.add_to(app)
fuse.add_to(app)
tasks.add_to(app)
edges.add_to(app)
data.add_to(app)
store.add_to(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version and end."),
) -> None:
    del version
