"""What a person does beside a detector: join it to its line, check its configuration, see how it stands."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from cloudedge.errors import InvalidDocument
from cloudedge.places import shown_path
from edge.detector.configuring import configuration_in, faults_here
from edge.detector.folders import DetectorFolders
from edge.detector.status import Standing, standing_of

app = typer.Typer(
    help="A detector of a production line: judges every part that passes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

State = Annotated[Path, typer.Option("--state", metavar="DIR", help="The detector's state directory.")]
Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="Its configuration, JSON.")]


_OLD = timedelta(seconds=15)
"""Age of a status that should have been written anew since."""


@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
def run() -> None:
    """Inspect every part, until told to end (run --help lists its options)."""


@app.command()
def join(token: Annotated[str, typer.Argument(help="What 'cloudedge-edge detectors add' printed.")], state: State) -> None:
    """Join a line: from the next start on, its edge server and this detector know each other."""
    from edge.detector.link import join as joined_by

    joined = joined_by(token, DetectorFolders(state).link)
    print(f"This detector is {joined.name} now, of the line at {joined.address}. Start it, or start it again.")


@app.command()
def check(config: Config) -> None:
    """Say all that is wrong with a configuration, the files and devices that it names among it."""
    configuration = configuration_in(config)
    faults = faults_here(configuration, config.parent.resolve())
    if faults:
        raise InvalidDocument(f"{shown_path(config)} does not fit this machine:", faults)
    print(f"{shown_path(config)} is right for this machine.")


@app.command()
def status(state: State, as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False) -> None:
    """Show what the detector does, what waits to be sent, and what is wrong."""
    standing, at_work = standing_of(DetectorFolders(state))
    if as_json:
        print(json.dumps({"running": at_work, **standing.model_dump(mode="json")}, indent=2))
        return
    for line in _lines(standing, at_work):
        print(line)


def _lines(standing: Standing, at_work: bool) -> list[str]:
    said = standing.status
    told = f"{said.at:%Y-%m-%d %H:%M:%S} UTC"
    is_old = datetime.now(UTC) - said.at > _OLD
    now = "at work" if at_work else f"not running since {told}"
    if at_work and is_old:
        now = f"{now}; this is from {told}, and none was written since: is the disk full?"
    lines = [
        f"detector:    {standing.detector or 'has joined no line'}, {now}",
        f"brand:       {said.brand or 'none'}, judged by {said.model[:12] or 'no model'}",
        f"images:      {said.images}: {said.rejects} rejected, {said.unjudged} without a model, {said.errors} errors, "
        f"{said.missed} ticks missed",
        f"speed:       {said.per_second:.1f} a second; half of them take {standing.p50_ms:.1f} ms, 99% {said.p99_ms:.1f} ms",
        f"history:     {said.disk_bytes / 2**20:.1f} MiB, {said.backlog} images to be sent, {standing.let_go} not kept",
        f"judgements:  {said.lost} lost on their way",
    ]
    for state in said.deployments:
        figures = f"{state.images} images, {state.reject_rate:.1%} rejected, {state.error_rate:.1%} errors"
        lines.append(f"deployment:  {state.id}: {state.phase}, {state.brand} by {state.sha256[:12]}; {figures}")
        if state.reason:
            lines.append(f"             {state.reason}")
    return [*lines, *(f"trouble:     {trouble}" for trouble in standing.troubles)]
