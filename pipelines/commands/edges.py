"""Enrolling edges with a cluster and looking after them: cloudedge edges."""

import os
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from cloudedge.documents import Report, parse
from cloudedge.documents.report import MAX_REPORT_BYTES
from cloudedge.errors import InvalidInput, NotFound
from cloudedge.store import Store
from components.shared.run import Run
from pipelines.commands.options import JsonOption, print_json, print_table
from pipelines.place import open_place

if TYPE_CHECKING:
    from components.shared.fleet import Edge, Fleet

EdgeArgument = Annotated[str, typer.Argument(metavar="EDGE", help="The edge's name.")]

_SCHEME = "configmaps://"


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    edges = typer.Typer(help="Enroll edges with a cluster and look after them.", no_args_is_help=True)
    edges.command("enroll")(enroll)
    edges.command("list")(list_edges)
    edges.command("show")(show)
    edges.command("remove")(remove)
    app.add_typer(edges, name="edges")


def enroll(
    edge: EdgeArgument,
    node: Annotated[str, typer.Option(help="The KubeEdge node that the runner is pinned to.")],
    image: Annotated[str, typer.Option(help="The runner's image; by default the one of this version.")] = "",
    state: Annotated[
        str, typer.Option(help="Folder on the node for the runner's state, its user's own.")
    ] = "/var/lib/cloudedge",
    samples: Annotated[str, typer.Option(help="Folder on the node where sensors put samples.")] = "",
    memory: Annotated[str, typer.Option(help="Most memory for the runner and its work.")] = "2Gi",
    cpu: Annotated[str, typer.Option(help="Most processors for them.")] = "2",
    render: Annotated[bool, typer.Option("--render", help="Print the manifests, for git, and apply nothing.")] = False,
) -> None:
    """Make an edge known and have its runner started; repeated, change how it is run. Its inbox stays as it is."""
    from components.shared.enrolment import IMAGE, Runner, objects

    runner = Runner(edge, node, image or IMAGE, state, samples, memory, cpu)
    if render:
        print(yaml.safe_dump_all(objects(runner, _namespace()), sort_keys=False), end="")
        return
    _fleet().enroll(runner)
    print(f"The edge {edge} is enrolled: its runner is to run on node {node} (cloudedge edges show {edge}).")


def list_edges(as_json: JsonOption = False) -> None:
    """List all edges: which are alive, what they do, and with which version."""
    rows = [_row(edge) for edge in _fleet().edges()]
    if as_json:
        print_json(rows)
    elif not rows:
        print("No edge is enrolled (cloudedge edges enroll).")
    else:
        print_table([("edge", "node", "node ready", "seen", "runner", "restarts", "image"), *(_cells(row) for row in rows)])


def show(edge: EdgeArgument, as_json: JsonOption = False) -> None:
    """Show one edge: how it stands, its open orders and what it last said of each."""
    fleet = _fleet()
    inbox = fleet.inboxes.read(edge)
    row = next(_row(found) for found in fleet.edges() if found.name == edge)
    store = open_place(None).store if "CLOUDEDGE_STORE" in os.environ else None
    orders = [
        {
            "id": order.id,
            "kind": order.kind,
            "state": order.state,
            "issued_at": order.issued_at.isoformat(timespec="seconds"),
            **(_last_words(store, Run(store, order.run).report_key(order)) if store else {}),
        }
        for order in inbox.orders
    ]
    found = {**row, "generation": inbox.generation, "orders": orders}
    if as_json:
        print_json(found)
        return
    for key, value in found.items():
        if key != "orders":
            print(f"{key}: {_shown(value)}")
    for order in orders:
        print("order: " + ", ".join(f"{key} {_shown(value)}" for key, value in order.items()))


def remove(
    edge: EdgeArgument,
    force: Annotated[bool, typer.Option("--force", help="Also if it has open orders.")] = False,
) -> None:
    """Forget an edge. Its runner is ended; what it keeps on its node stays there."""
    _fleet().remove(edge, force=force)
    print(f"The edge {edge} is removed. Its state and samples are still on its node.")


def _fleet() -> "Fleet":
    from components.shared.fleet import Fleet
    from components.shared.kubernetes_api import Namespace, connect

    return Fleet(Namespace(_namespace(), connect(), patience_seconds=10))


def _namespace() -> str:
    address = os.environ.get("CLOUDEDGE_INBOXES", "")
    if not address.startswith(_SCHEME):
        raise InvalidInput(
            f"CLOUDEDGE_INBOXES is {address!r}: set it to {_SCHEME}NAMESPACE, where the cluster has its edges "
            "(the manifests make cloudedge-edges). On a laptop edges are enrolled by 'cloudedge run' itself."
        )
    return address.removeprefix(_SCHEME).rstrip("/")


def _row(edge: "Edge") -> dict[str, Any]:
    return {"edge": edge.name, **{key: value for key, value in asdict(edge).items() if key != "name"}}


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    keys = ("edge", "node", "node_ready", "node_seen", "runner", "restarts", "image")
    return tuple(_shown(row[key]) for key in keys)


def _last_words(store: Store, key: str) -> dict[str, Any]:
    try:
        report = parse(Report, store.get(key, MAX_REPORT_BYTES), key)
    except NotFound:
        return {"phase": "no report yet"}
    except InvalidInput as error:
        return {"phase": f"its report cannot be read: {error}"}
    return {
        "phase": report.phase.value,
        "epoch": f"{report.epoch} of {report.epochs}",
        "samples": report.samples,
        "heartbeat_at": report.heartbeat_at.isoformat(timespec="seconds"),
        "runner_version": report.runner_version,
        "error": report.error.message if report.error else None,
    }


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value)
