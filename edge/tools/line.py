"""The site engineer's tools for a production line: its service, and its detectors."""

from typing import Annotated

import typer

from cloudedge.addresses import host_and_port, is_any, joined_address, own_address
from cloudedge.documents.inspection import NORMAL
from cloudedge.documents.line import SERVER
from cloudedge.errors import CloudedgeError, NotFound
from edge.folders import Folders
from edge.line.control import Line
from edge.line.reports import DeploymentReport, DetectorReport
from edge.line.settings import LineSettings, open_line, read_settings
from edge.tools.printing import AsJson, State, print_json, print_table

detectors_app = typer.Typer(
    help="Detectors of this production line: let one join, see how they stand, teach them, bring the model before back.",
    no_args_is_help=True,
)
line_app = typer.Typer(help="The service of a production line, which runs beside the runner.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the detector.")]


@detectors_app.command("add")
def add_detector(
    name: Name,
    state: State,
    host: Annotated[str, typer.Option(metavar="HOST", help="Under which the detector reaches this machine.")] = "",
) -> None:
    """Print a token for a detector to join with, which is good for once and an hour; or for one that is there to join anew."""
    print(Line(Folders(state)).add(name, host))


@detectors_app.command("list")
def list_detectors(state: State, as_json: AsJson = False) -> None:
    """List the detectors: who is here, what each judges, and by which model."""
    found = Line(Folders(state)).detectors()
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
        return
    rows = [
        [
            each.name,
            _presence(each),
            each.status.brand or None if each.status else None,
            each.status.model[:12] or None if each.status else None,
            each.status.images if each.status else None,
            each.status.rejects if each.status else None,
            f"{each.status.per_second:.1f}" if each.status else None,
            f"{each.status.p99_ms:.1f}" if each.status else None,
            each.recorded,
            (each.status.trouble or None) if each.status else None,
        ]
        for each in found
    ]
    header = ["DETECTOR", "HERE", "BRAND", "MODEL", "IMAGES", "REJECTS", "A SECOND", "P99 MS", "RECORDED", "TROUBLE"]
    print_table("detectors", header, rows)


@detectors_app.command("show")
def show_detector(name: Name, state: State, as_json: AsJson = False) -> None:
    """Show one detector, and its deployments."""
    line = Line(Folders(state))
    found = next((each for each in line.detectors() if each.name == name), None)
    if found is None:
        raise NotFound(f"There is no detector {name!r} on this line. 'cloudedge-edge detectors list' lists them.")
    deployments = [each for each in line.report().deployments if name in each.detectors]
    if as_json:
        shown = found.model_dump(mode="json")
        print_json({**shown, "deployments": [_of_detector(each, name) for each in deployments]})
        return
    status = found.status
    print(f"detector: {found.name}, joined {found.joined_at}")
    print(f"here:     {_presence(found)}")
    if status is not None:
        print(f"brand:    {status.brand or 'none'}")
        print(f"model:    {status.model or 'none'}")
        print(
            f"images:   {status.images}: {status.rejects} rejected, {status.unjudged} without a model, {status.errors} errors"
        )
        print(f"rate:     {status.per_second:.1f} a second, 99% within {status.p99_ms:.1f} ms")
        print(f"in step:  {'yes' if found.in_step else 'not all that is wanted is done yet'}")
        print(f"records:  {found.recorded} here, {status.backlog} still there")
        print(f"results:  {status.lost} lost on their way")
        if status.trouble:
            print(f"trouble:  {status.trouble}")
    rows = []
    for each in deployments:
        part = each.detectors[name]
        phase = part.outcome.state if part.outcome else part.state.phase if part.state else "waiting"
        reason = (part.outcome.reason if part.outcome else part.state.reason if part.state else "") or None
        rows.append([each.id, each.brand, each.sha256[:12], phase, each.begun_at, reason])
    print_table("deployments", ["DEPLOYMENT", "BRAND", "MODEL", "STATE", "BEGUN", "WHY"], rows)


@detectors_app.command("teach")
def teach(
    name: Name,
    state: State,
    brand: Annotated[str, typer.Option(help="Product variety that the images show.")],
    count: Annotated[int, typer.Option(min=1, max=100_000, help="How many images.")],
    label: Annotated[str, typer.Option(help="What they show: 'normal', or a defect's name.")] = NORMAL,
) -> None:
    """Have a detector take its next images as examples to train on."""
    Line(Folders(state)).teach(name, brand, count, label)
    print(f"The next {count} images of {brand} at {name} are taken as examples of {label!r}.")


@detectors_app.command("brand")
def use_brand(
    name: Name,
    brand: Annotated[str, typer.Argument(metavar="BRAND", help="Product variety that runs now; '' for none.")],
    state: State,
) -> None:
    """Have a detector judge parts of a brand from now on, by that brand's model."""
    Line(Folders(state)).brand(name, brand)
    print(f"{name} judges {f'parts of {brand}' if brand else 'nothing'} from now on.")


@detectors_app.command("rollback")
def rollback(
    name: Name,
    state: State,
    brand: Annotated[str, typer.Option(help="Whose parts; by default those of the brand that runs.")] = "",
) -> None:
    """Have a detector judge by the model that it had before."""
    line = Line(Folders(state))
    brand = line.rollback(name, brand)
    here = any(each.connected for each in line.detectors() if each.name == name)
    when = "" if here or name == SERVER else ", as soon as it is here"
    print(f"{name} judges parts of {brand} by the model before{when}.")


@detectors_app.command("remove")
def remove_detector(name: Name, state: State) -> None:
    """Make a detector a stranger: it gets nothing more, and sends nothing more. What it recorded stays here."""
    Line(Folders(state)).remove(name)
    print(f"{name} is no detector of this line any more.")


@line_app.command("open")
def begin_line(
    state: State,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where detectors are answered.")],
    join: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where new ones join; by default the port after it.")] = "",
    page: Annotated[str, typer.Option(metavar="HOST:PORT", help="The page for people; by default the port after that.")] = "",
    models: Annotated[
        tuple[str, str],
        typer.Option(metavar="HTTP GRPC", help="HOST:PORT twice: answer by models that are deployed to 'server'."),
    ] = ("", ""),
    history_gib: Annotated[float | None, typer.Option(min=0.001, help="What recorded images may take, in GiB (20).")] = None,
    history_days: Annotated[float | None, typer.Option(min=0.001, help="How long they are kept, in days (90).")] = None,
) -> None:
    """Make this the edge server of a production line. The runner starts its service, or starts it anew as it is told now."""
    folders = Folders(state)
    settings = open_line(folders, listen, join, page, models, history_gib, history_days)
    _print_settings(folders, settings)


@line_app.command("show")
def show_line(state: State, as_json: AsJson = False) -> None:
    """Show where the line's service listens, the address of its page, and what is wrong."""
    folders = Folders(state)
    settings = read_settings(folders)
    if as_json:
        found = settings.model_dump(mode="json") | {"page_url": _page_url(settings), "running": _trouble(folders) is not None}
        print_json(found)
        return
    _print_settings(folders, settings)


def _print_settings(folders: Folders, settings: LineSettings) -> None:
    trouble = _trouble(folders)
    print(f"service:   {'at work' if trouble is not None else 'not at work; it runs beside the runner'}")
    print(f"detectors: {settings.listen}, new ones join at {settings.join}")
    print(f"page:      {_page_url(settings)}")
    if settings.serves:
        print(f"models:    {settings.models_http} (HTTP), {settings.models_grpc} (gRPC)")
    print(f"history:   {settings.history_gib:g} GiB, {settings.history_days:g} days")
    if trouble:
        print(f"trouble:   {trouble}")


def _trouble(folders: Folders) -> str | None:
    """What the service says is wrong; none: it does not run."""
    try:
        return Line(folders).report().trouble
    except CloudedgeError:
        return None


def _page_url(settings: LineSettings) -> str:
    host, port = host_and_port(settings.page)
    place = joined_address(own_address() if is_any(host) else host, port)
    return f"http://{place}/" + (f"?key={settings.page_key}" if settings.page_needs_key else "")


def _presence(found: DetectorReport) -> str:
    if found.connected:
        return "yes"
    return f"{'away' if found.status else 'not seen'} for {found.away_seconds:.0f} s"


def _of_detector(report: DeploymentReport, name: str) -> dict[str, object]:
    shown = report.model_dump(mode="json", exclude={"detectors"})
    return {**shown, **report.detectors[name].model_dump(mode="json")}
