"""Looking at runs and ending them: cloudedge tasks, events, report."""

import os
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from cloud.faults import Faults
from cloud.pages.words import count as counted
from cloud.patience import Away
from cloud.runs.deletion import AT_ONCE, deletion_of, require_over, untouched
from cloud.runs.deletion import delete as delete_run
from cloud.runs.events import events as run_events
from cloud.runs.lifecycle import cancel as cancel_run
from cloud.runs.lifecycle import reap as reap_runs
from cloud.runs.run import Run, run_folders
from cloudedge.errors import CloudedgeError, InvalidInput, NotFound
from cloudedge.store import DirectoryStore
from pipelines.commands.options import (
    HomeOption,
    JsonOption,
    RunArgument,
    actor,
    end_with,
    print_json,
    print_table,
    say,
)
from pipelines.display.summary import UNREADABLE, overview, summary, unreadable
from pipelines.target import open_target


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    tasks = typer.Typer(help="Look at runs, end and delete them.", no_args_is_help=True)
    tasks.command("list")(list_tasks)
    tasks.command("show")(show)
    tasks.command("cancel")(cancel)
    tasks.command("reap")(reap)
    tasks.command("delete")(delete)
    app.add_typer(tasks, name="tasks")
    app.command("events")(events)
    app.command("report")(report)


def list_tasks(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List all runs: since when each stands as it does, and when a step of a running one last gave a sign of life."""
    target = open_target(home)

    def row(run_id: str) -> dict[str, Any] | None:
        run = Run(target.store, run_id)
        try:
            return overview(run) if run.exists() else None
        except NotFound:  # It was deleted since.
            return None
        except Away:
            raise
        except CloudedgeError as error:
            return unreadable(run_id, error)

    with ThreadPoolExecutor(AT_ONCE) as others:  # The time goes into waiting for the store.
        rows = [found for found in others.map(row, run_folders(target.store)) if found]
    for found in rows:
        if found["state"] == UNREADABLE:
            say(f"{found['id']} cannot be shown: {found['message']}")
    if as_json:
        print_json(rows)
    elif not rows:
        print("There are no runs.")
    else:
        titles = ("id", "name", "state", "rounds", "pretrained", "fused", "since", "seen")
        print_table([titles, *(tuple(_text(row[title]) for title in titles) for row in rows)])


def show(run_id: RunArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show one run: what was asked, where it stands, what came of it."""
    target = open_target(home)
    run = Run(target.store, run_id)
    found = {**overview(run), **summary(run), "task": run.task().model_dump(mode="json")}
    if as_json:
        print_json(found)
        return
    for key, value in found.items():
        if key != "task":
            _print_value(key, value)
    print(f"task: {target.where(run.key('task.json'))}")


def cancel(run_id: RunArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Cancel a run: its pipeline ends at its next look, and its edges stop.

    Where CLOUDEDGE_KUBEFLOW is set, what Kubeflow runs of it is terminated too.
    """
    target, faults = open_target(home), Faults()
    try:
        fresh = cancel_run(target.store, target.inboxes, run_id, actor(), faults)
    except NotFound:
        # Submitted perhaps, and no step has begun.
        if home is not None or not _terminate_on_kubeflow(run_id):
            raise
        fresh, terminated = True, True
    else:
        terminated = False
        target.tell_cluster()
    if as_json:
        print_json({"id": run_id, "state": "cancelled", "already": not fresh, "cluster": target.cluster})
    else:
        print(f"Run {run_id} is cancelled." if fresh else f"Run {run_id} was cancelled already.")
    if home is None and not terminated:
        # Last, as the edges are to stop even if Kubeflow is away; a step that is terminated need close no order any more.
        _terminate_on_kubeflow(run_id)
    end_with(faults)


def _terminate_on_kubeflow(run_id: str) -> bool:
    """Terminate what Kubeflow runs of a task; whether there was something."""
    if not os.environ.get("CLOUDEDGE_KUBEFLOW"):
        return False
    from pipelines.kubeflow.client import Kubeflow, KubeflowSettings

    kubeflow = Kubeflow(KubeflowSettings())
    runs = kubeflow.under_way(run_id)
    for run in runs:
        kubeflow.terminate(run)
        print(f"Kubeflow's run of it is terminated: {run.url}", file=sys.stderr)
    return bool(runs)


def reap(
    home: HomeOption = None,
    silent_seconds: Annotated[
        float, typer.Option(help="A run whose step gives no sign of life for this many seconds is taken for dead.")
    ] = 600,
    between_seconds: Annotated[float, typer.Option(help="So is one whose next step does not begin for this many.")] = 3600,
    as_json: JsonOption = False,
) -> None:
    """Close the orders of runs that are over or dead, so that no edge works for nothing."""
    target, faults = open_target(home), Faults()
    closed = dict(reap_runs(target.store, target.inboxes, actor(), silent_seconds, between_seconds, faults))
    if closed:
        target.tell_cluster()
    if as_json:
        print_json(closed)
    elif not closed:
        print("There is nothing to close.")
    else:
        for run, orders in closed.items():
            print(f"{run}: {len(orders)} orders closed.")
    end_with(faults)


def delete(
    run_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of the runs to delete.")] = None,
    older_than: Annotated[
        str, typer.Option(metavar="AGE", help="All runs that are over and untouched for so long: 30d, 12h.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before runs are deleted by age.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete runs for good: their models, results, reports and logs. What MLflow was told stays there.

    A run that is under way is refused; cancel it first. After an interruption the same command removes the rest.
    """
    if bool(run_ids) == bool(older_than):
        raise InvalidInput("Name the runs to delete, or say how old they are (--older-than 30d): one of the two.")
    target, unseen, faults = open_target(home), Faults(), Faults()
    chosen = list(dict.fromkeys(run_ids or untouched(target.store, _seconds(older_than), unseen)))
    unseen.tell(say)
    if run_ids:
        _each(chosen, lambda run_id: require_over(target.store, run_id))  # Before the first one is deleted.
    elif chosen and not yes and not _agreed(chosen):
        print("Nothing is deleted.", file=sys.stderr)
        return
    rows: list[dict[str, Any]] = []

    def delete_one(run_id: str) -> None:
        again = deletion_of(Run(target.store, run_id)) is not None
        deletion, count = delete_run(target.store, target.inboxes, run_id, actor(), faults)
        if target.home is not None:
            target.home.forget(run_id)
        rows.append(
            {
                "id": run_id,
                "objects": count,
                "already": again,
                "at": deletion.at,
                "by": deletion.actor,
                "cluster": target.cluster,
            }
        )

    try:
        _each(chosen, delete_one)
    finally:
        if rows:
            target.tell_cluster()
        if as_json:
            print_json(rows)
        elif not chosen:
            print(f"No run is over and untouched for {older_than}.")
        else:
            print("\n".join(map(_deleted, rows)))
        faults.tell(say)


def _deleted(row: dict[str, Any]) -> str:
    objects = counted(row["objects"], "object")
    if not row["already"]:
        return f"Run {row['id']} is deleted: {objects}."
    left = f"; what was left of it is gone now: {objects}" if row["objects"] else ""
    return f"Run {row['id']} was deleted already, on {row['at']:%Y-%m-%d %H:%M:%S} UTC by {row['by']}{left}."


def _each(run_ids: list[str], do: Callable[[str], None]) -> None:
    """Do something with each run; one that cannot be used holds up no other.

    Raises:
        CloudedgeError: says of each such run why, with the exit code of the first.
    """
    faults = Faults()
    for run_id in run_ids:
        with faults.apart():
            do(run_id)
    end_with(faults)


def _agreed(run_ids: list[str]) -> bool:
    print("\n".join(run_ids), file=sys.stderr)
    if not sys.stdin.isatty():
        raise InvalidInput(f"{counted(len(run_ids), 'run')} would be deleted: add --yes, as there is nobody to ask here.")
    return typer.confirm(f"Delete {counted(len(run_ids), 'run')} for good?", err=True)


def _seconds(age: str) -> float:
    found = re.fullmatch(r"([0-9]{1,6})([dh])", age)
    if not found:
        raise InvalidInput(f"--older-than is {age!r}: give a number of days or hours, such as 30d or 12h.")
    return int(found[1]) * {"d": 86_400.0, "h": 3600.0}[found[2]]


def events(run_id: RunArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the operation log of a run: who did what, when."""
    target = open_target(home)
    Run(target.store, run_id).require_exists()
    found = [event for _, event in run_events(target.store, run_id)]
    if as_json:
        print_json([event.model_dump(mode="json") for event in found])
        return
    rows = [
        (
            f"{event.at:%Y-%m-%d %H:%M:%S}",
            event.actor,
            event.action,
            ", ".join(f"{k} {_short(v)}" for k, v in event.details.items()),
        )
        for event in found
    ]
    print_table([("when (UTC)", "who", "what", "with"), *rows])


def report(
    run_id: RunArgument,
    home: HomeOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Copy the page to this file.")] = None,
) -> None:
    """Say where the run's report is, or copy it."""
    target = open_target(home)
    run = Run(target.store, run_id)
    run.require_exists()
    try:
        page = target.store.get(run.key("report.html"), 64 * 1024 * 1024)
    except NotFound:
        raise NotFound(
            f"Run {run_id} has no report yet: it is written at the run's end (cloudedge tasks show {run_id})."
        ) from None
    if output is None:
        print(target.where(run.key("report.html")))
        if not isinstance(target.store, DirectoryStore):
            print(f"To read it, copy it here: cloudedge report {run_id} -o {run_id}.html", file=sys.stderr)
        return
    from cloudedge.files import atomic_write, is_outlet

    atomic_write(output, page)
    if not is_outlet(output):
        print(output)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        text = ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    else:
        text = (", ".join(map(_text, value)) or "none") if isinstance(value, list) else _text(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _print_value(key: str, value: Any, depth: int = 0) -> None:
    indent = "  " * depth
    if isinstance(value, dict):
        print(f"{indent}{key}:")
        for inner, content in value.items():
            _print_value(inner, content, depth + 1)
    else:
        print(f"{indent}{key}: {_text(value)}")
