"""Enrolling edges with a cluster and looking after them: cloudedge edges."""

import contextlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from cloud.faults import Faults
from cloud.inboxes import UnusableInbox
from cloud.patience import Away
from cloud.runs.run import Run
from cloudedge.documents import Report, parse
from cloudedge.documents.order import OrderName
from cloudedge.documents.report import MAX_REPORT_BYTES
from cloudedge.errors import CloudedgeError, InvalidInput, NotFound, StoreFailed
from cloudedge.store import Store
from pipelines.commands.options import JsonOption, print_json, print_table, say
from pipelines.target import open_target

if TYPE_CHECKING:
    from cloud.fleet.fleet import Edge, Fleet

EdgeArgument = Annotated[str, typer.Argument(metavar="EDGE", help="The edge's name.")]

_SCHEME = "configmaps://"
_AT_ONCE = 16
"""Reports read at a time."""

_COLUMNS = {
    "edge": "edge",
    "node": "node",
    "node_ready": "node ready",
    "node_seen": "seen",
    "runner": "runner",
    "restarts": "restarts",
    "work": "work",
    "heartbeat_at": "last report",
    "samples": "samples",
    "runner_version": "version",
}
"""What the list shows of a row, and under which title."""


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
    gpu: Annotated[str, typer.Option(help="Give them a GPU, by the name that the node offers it by: nvidia.com/gpu.")] = "",
    line: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65_533,
            metavar="PORT",
            help="Have the runner serve a production line: its detectors reach it at this port of the node, new ones join at "
            "the next, and people see the line's page at the one after that.",
        ),
    ] = None,
    render: Annotated[bool, typer.Option("--render", help="Print the manifests, for git, and apply nothing.")] = False,
) -> None:
    """Make an edge known and have its runner started; repeated, change how it is run. Its inbox stays as it is."""
    from cloud.fleet.enrolment import RunnerSpec, objects
    from cloud.image import EDGE_IMAGE

    runner = RunnerSpec(edge, node, image or EDGE_IMAGE, state, samples, memory, cpu, gpu, line or 0)
    if render:
        print(yaml.safe_dump_all(objects(runner, _namespace()), sort_keys=False), end="")
        return
    fleet = _fleet()
    lost = fleet.enroll(runner)
    print(
        f"The edge {edge} is enrolled in {fleet.where}: its runner is to run on node {node} (cloudedge edges show {edge}).",
        flush=True,
    )
    if lost:
        print(
            f"Its inbox could not be read and is empty now: {lost}. Orders that stood in it are lost: give their tasks again.",
            file=sys.stderr,
        )
    with contextlib.suppress(StoreFailed):  # Who may enroll need not be allowed to see nodes.
        if not fleet.has_node(node):
            told = (
                f"The cluster has no node {node} yet: the runner starts once it has joined. If the name is wrong, enroll again."
            )
            print(told, file=sys.stderr)


def list_edges(as_json: JsonOption = False) -> None:
    """List all edges: which are alive, what they do, and with which version."""
    store, faults, fleet = _store(), Faults(), _fleet()
    with ThreadPoolExecutor(_AT_ONCE) as others:  # The time goes into waiting for the store.
        rows = list(others.map(lambda edge: _row(edge, store), fleet.edges(faults)))
    if not rows:
        fleet.require_prepared()
    faults.tell(say)
    if as_json:
        print_json(rows)
    elif not rows:
        print(f"No edge is enrolled in {fleet.where}: cloudedge edges enroll.")
    else:
        titles = tuple(_COLUMNS.values())
        print_table([titles, *(tuple(_shown(row[key]) for key in _COLUMNS) for row in rows)])
        for row in rows:
            for reason in filter(None, (row["why"], row["inbox_fault"])):
                print(f"{row['edge']}: {reason}")


def show(edge: EdgeArgument, as_json: JsonOption = False) -> None:
    """Show one edge: how it stands, its open orders and what it last said of each."""
    fleet = _fleet()
    try:
        inbox = fleet.inboxes.read(edge)
    except UnusableInbox:
        inbox = None  # Its row says why.
    store = _store()
    row = next((_row(found, store) for found in fleet.edges(Faults()) if found.name == edge), None)
    if row is None:
        raise NotFound(f"The edge {edge} was removed just now.")
    orders = [
        {
            "id": order.id,
            "kind": order.work.kind,
            "state": order.state,
            "issued_at": order.issued_at,
            **_last_words(store, order.id),
        }
        for order in (inbox.orders if inbox else ())
    ]
    found = {**row, "generation": inbox.generation if inbox else None, "orders": orders}
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
    force: Annotated[bool, typer.Option("--force", help="Also if it has open orders, or its inbox cannot be read.")] = False,
) -> None:
    """Forget an edge. Its runner is ended; what it keeps on its node stays there."""
    fleet = _fleet()
    fleet.remove(edge, force=force)
    print(f"The edge {edge} is removed from {fleet.where}. Its state and samples are still on its node.")


def _fleet() -> "Fleet":
    from cloud.cluster.api import Namespace, connect
    from cloud.fleet.fleet import RIGHTS, Fleet

    return Fleet(Namespace(_namespace(), connect(), patience_seconds=10, rights=RIGHTS))


def _namespace() -> str:
    address = os.environ.get("CLOUDEDGE_INBOXES", "")
    if not address.startswith(_SCHEME):
        raise InvalidInput(
            f"CLOUDEDGE_INBOXES is {address!r}: set it to {_SCHEME}NAMESPACE, where the cluster has its edges "
            "(the manifests make cloudedge-edges). On a laptop edges are enrolled by 'cloudedge run' itself."
        )
    return address.removeprefix(_SCHEME).rstrip("/")


def _store() -> Store | None:
    """Where reports are, if the environment says so."""
    return open_target(None).store if "CLOUDEDGE_STORE" in os.environ else None


def _row(edge: "Edge", store: Store | None) -> dict[str, Any]:
    newest = edge.orders[-1] if edge.orders else edge.last_order
    words = _last_words(store, newest)
    told = {key: words.get(key) for key in ("heartbeat_at", "samples", "runner_version")}
    work = words.get("phase", "ordered") if edge.orders else "inbox unusable" if edge.inbox_fault else "idle"
    if edge.orders and words.get("progress"):
        work = f"{work}, {words['progress']}"
    if len(edge.orders) > 1:
        work = f"{work}, and {len(edge.orders) - 1} more"
    fields = {key: value for key, value in asdict(edge).items() if key != "name"}
    return {"edge": edge.name, **fields, "work": work, **told}


def _last_words(store: Store | None, order: str) -> dict[str, Any]:
    """What an edge last said of an order; nothing if there is none, or no store to look into."""
    if store is None or not order:
        return {}
    try:
        name = OrderName.parse(order)
        key = Run(store, name.run).report_key(name)
        report = parse(Report, store.get(key, MAX_REPORT_BYTES), key)
    except NotFound:
        return {"phase": "no report yet"}
    except Away:
        raise
    except CloudedgeError as error:
        return {"phase": f"its report cannot be read: {error}"}
    return {
        "phase": report.phase.value,
        "progress": ", ".join(stream.words() for stream in report.progress),
        "samples": report.samples,
        "heartbeat_at": report.heartbeat_at,
        "runner_version": report.runner_version,
        "error": report.error.message if report.error else None,
    }


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value) or "-"
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value)
