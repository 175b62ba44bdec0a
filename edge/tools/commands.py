"""The site engineer's tools: what this edge does, has collected and has trained. They work beside a runner, and without one."""

import shutil
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from cloudedge.documents import Point, Stream
from cloudedge.documents.report import MOST_POINTS_KEPT
from cloudedge.errors import Conflict, InvalidInput, NotFound
from cloudedge.places import shown_path
from edge.folders import Folders
from edge.runner.ledger import Ledger
from edge.samples.store import SampleStore
from edge.tools.device import calibrate, device
from edge.tools.formats import format_in
from edge.tools.line import detectors_app, line_app
from edge.tools.printing import AsJson, State, print_json, print_table
from edge.tools.status import status_of

app = typer.Typer(
    help="The runner of an edge, and the site engineer's tools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
samples_app = typer.Typer(
    help="Samples that this edge has collected: add, query, delete. Each row of each file counts, equal ones too.",
    no_args_is_help=True,
)
models_app = typer.Typer(help="Models that this edge has trained: query, delete.", no_args_is_help=True)
app.add_typer(samples_app, name="samples")
app.add_typer(models_app, name="models")
app.add_typer(detectors_app, name="detectors")
app.add_typer(line_app, name="line")
app.command()(device)
app.command()(calibrate)


@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
def run() -> None:
    """Run the runner: do what the inbox asks for (run --help lists its options)."""


@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
def workers() -> None:
    """Run a fork server for several runners on one machine (workers --help lists its options)."""


@app.command()
def status(state: State, as_json: AsJson = False) -> None:
    """Show what the runner does, what each order does or waits for, what waits to be sent, and what is wrong."""
    found = status_of(Folders(state))
    if as_json:
        print_json(found)
        return
    print(f"runner:  {'at work' if found['running'] else 'not running'}")
    print(f"edge:    {found['edge'] or 'not known before the first inbox'}, generation {found['generation']}")
    print(f"samples: {found['samples']}")
    if found["inbox_fault"]:
        print(f"The last inbox was not followed: {found['inbox_fault']}")
    orders = [
        [*(order[name] for name in ("id", "kind", "phase")), _progress(order), _last_point(order), order["accepted_at"]]
        for order in found["orders"]
    ]
    print_table("orders", ["ORDER", "KIND", "PHASE", "PROGRESS", "LAST POINT", "ACCEPTED"], orders)
    for order in found["orders"]:
        if order["standing"]:
            print(f"{order['id']}: {_standing(order['standing'])}")
    for order in found["orders"]:
        if order["error"]:
            print(f"{order['id']}: {order['error']}")
    waiting = [[upload["order"], upload["name"], upload["tries"], upload["trouble"]] for upload in found["uploads"]]
    print_table("uploads waiting", ["ORDER", "FILE", "TRIES", "LAST TROUBLE"], waiting)
    bad = [[file["path"], file["fault"]] for file in found["bad_files"]]
    print_table("files passed over", ["FILE", "WHY"], bad)


@samples_app.command("add")
def add_samples(
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help="Files, or folders of them.")],
    state: State,
    form: Annotated[Path, typer.Option("--format", metavar="FILE", help="A data format, or a task file that has one.")],
    as_json: AsJson = False,
) -> None:
    """Add samples by hand. Each row counts, equal ones too; a file that is added again adds only rows it did not have."""
    data = format_in(form)
    store = SampleStore(Folders(state).samples)
    added = {shown_path(file): store.add(file, data) for file in files}
    if as_json:
        print_json({"added": added})
    else:
        for file, count in added.items():
            print(f"{file}: {count} new samples")


@samples_app.command("query")
def query_samples(
    state: State,
    label: Annotated[str | None, typer.Option(help="Only this class.")] = None,
    source: Annotated[str | None, typer.Option(help="Only those from this file or folder.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List samples in order of arrival."""
    found = list(islice(_store(state).query(label, source), limit))
    if as_json:
        print_json([asdict(sample) for sample in found])
        return
    rows = [[sample.id, sample.label, sample.digest[:12], sample.added_at, sample.source] for sample in found]
    print_table("samples", ["ID", "CLASS", "DIGEST", "ADDED", "FROM"], rows)


@samples_app.command("delete")
def delete_samples(
    state: State,
    ids: Annotated[list[int] | None, typer.Argument(metavar="IDS", help="Ids from 'samples query'.")] = None,
    label: Annotated[str | None, typer.Option(help="All of this class.")] = None,
    source: Annotated[str | None, typer.Option(help="All from this file or folder.")] = None,
) -> None:
    """Delete samples; reading their files again does not bring them back."""
    if not ids and label is None and source is None:
        raise InvalidInput("Say which samples to delete: give ids, --label or --source.")
    store = _store(state)
    chosen = ids or [sample.id for sample in store.query(label, source)]
    print(f"{store.delete(chosen)} samples deleted")


@models_app.command("query")
def query_models(
    state: State,
    order: Annotated[str | None, typer.Argument(help="Show the epochs of this order's model.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the models trained here, or the epochs of one."""
    ledger = _ledger(state)
    if order is not None:
        points = ledger.points(order, MOST_POINTS_KEPT)
        if not points:
            raise NotFound(f"There is no epoch of an order {order!r}. 'cloudedge-edge models query' lists the models.")
        if as_json:
            print_json([point.model_dump(mode="json") for point in points])
            return
        names = ("accuracy", "recall", "loss", "train_loss")
        epochs = [[point.sequence, *(point.values.get(name) for name in names)] for point in points]
        print_table(f"epochs of {order}", ["EPOCH", "ACCURACY", "RECALL", "LOSS", "TRAINING LOSS"], epochs)
        return
    models = ledger.models()
    if as_json:
        print_json([asdict(model) for model in models])
        return
    rows = [[m.order_id, m.samples, m.accuracy, m.recall, m.loss, m.created_at, m.path or "file removed"] for m in models]
    print_table("models", ["ORDER", "SAMPLES", "ACCURACY", "RECALL", "LOSS", "TRAINED", "FILE"], rows)


@models_app.command("delete")
def delete_model(state: State, order: Annotated[str, typer.Argument(help="The order that it was trained for.")]) -> None:
    """Delete a model, its file and its epochs; not while its order is open."""
    ledger = _ledger(state)
    if order not in {model.order_id for model in ledger.models()}:
        raise NotFound(f"There is no model of an order {order!r}. 'cloudedge-edge models query' lists them.")
    if order in {entry.order.id for entry in ledger.entries()}:
        raise Conflict(f"The order {order} is not over: its model is still to be sent. Wait, or let the cloud cancel it.")
    ledger.delete_model(order)
    shutil.rmtree(Folders(state).trained(order), ignore_errors=True)
    print(f"model of {order} deleted")


def _ledger(state: Path) -> Ledger:
    path = Folders(state).ledger
    if not path.exists():
        raise NotFound(f"No runner has used {state} yet: there is no {path.name}. Correct --state, or start a runner.")
    return Ledger(path)


def _store(state: Path) -> SampleStore:
    path = Folders(state).samples
    if not path.exists():
        raise NotFound(f"No sample was ever collected in {state}: there is no {path.name}. Correct --state, or add samples.")
    return SampleStore(path)


def _standing(standing: dict[str, Any]) -> str:
    since = f", since {standing['since']}" if standing["since"] else ""
    again = f" at {standing['again_at']}" if standing["again_at"] else ""
    return f"{' '.join(standing['now'].split())}{since}; {standing['next']}{again}"


def _progress(order: dict[str, Any]) -> str | None:
    return ", ".join(Stream.model_validate(stream).words() for stream in order["progress"]) or None


def _last_point(order: dict[str, Any]) -> str | None:
    if order["point"] is None:
        return None
    values = Point.model_validate(order["point"]).values
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items()) or None
