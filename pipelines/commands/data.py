"""The cloud's own samples in a cluster's store: cloudedge data."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cloud import datasets
from cloud.pages.words import count
from cloudedge.places import shown_path
from cloudedge.store import DirectoryStore
from pipelines.commands.options import HomeOption, JsonOption, print_json
from pipelines.target import open_target

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The dataset's name; a run names it as store:NAME.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    data = typer.Typer(help="Keep the cloud's own samples in a cluster's store.", no_args_is_help=True)
    data.command("put")(put)
    data.command("list")(list_datasets)
    data.command("delete")(delete)
    app.add_typer(data, name="data")


def put(
    name: NameArgument,
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder, or one file, that holds the samples.")],
    home: HomeOption = None,
) -> None:
    """Put samples into the store, in place of those that have the name."""
    store = open_target(home).store
    files = size = 0
    for path, bytes_of_it in datasets.put(store, name, source):
        files, size = files + 1, size + bytes_of_it
        print(f"{shown_path(path)}  {bytes_of_it} bytes")
    print(f"{count(files, 'file')}, {size} bytes are in the store: use them as {datasets.SCHEME}{name}")
    if isinstance(store, DirectoryStore):
        print(f"That is the store of this machine's runs, {store.root}; for a cluster's, set CLOUDEDGE_STORE.", file=sys.stderr)


def list_datasets(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the datasets in the store."""
    found = datasets.names(open_target(home).store)
    if as_json:
        print_json(found)
    else:
        print("\n".join(found) or "There are no datasets (cloudedge data put).")


def delete(name: NameArgument, home: HomeOption = None) -> None:
    """Remove a dataset from the store."""
    print(f"Files removed: {datasets.delete(open_target(home).store, name)}.")
