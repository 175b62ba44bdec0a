"""What the report of a deployment tells, as far as the run has come."""

from markupsafe import Markup

from cloud.orders.watch import OrderWatch
from cloud.pages import markdown
from cloud.pages.markup import element, number, table
from cloud.pages.words import count, duration, natural, share, size
from cloud.reports.report import Report, ReportedModel, Story, remark, section
from cloud.runs.run import Run
from cloudedge.documents.kinds.deploy import Deployed, Outcome
from cloudedge.documents.tasks.inspection_deployment import InspectionDeploymentTask
from cloudedge.errors import CloudedgeError
from components.inspection_deployment.records import DEPLOY, Release, release_of

_STATES = {
    "serving": "serving",
    "failed": "failed",
    "rolled-back": "rolled back",
    "unreachable": "not reached",
    "skipped": "skipped",
}
_TITLES = ("Detector", "State", "Transfer", "Load", "Longest pause", "Images", "Rejected", "Errors", "")


def report_of(run: Run) -> Report:
    """A run, as far as it has come."""
    task, release, deployed = run.task_for(InspectionDeploymentTask), release_of(run), deployed_by(run)
    rows = _rows(deployed) if deployed else []
    models = [ReportedModel(release.deployable.name, release.deployable.sha256, release.deployable.size)] if release else []
    return Report(
        Story.of(run),
        headline=_headline(task, deployed),
        sentences=_sentences(release),
        facts=_facts(task, release),
        sections=[_detectors(rows)] if rows else (),
        # What a detector says of its reasons is quoted: no link and no picture comes of it.
        tables=[markdown.table(_TITLES, [(*row[:-1], markdown.plain(row[-1])) for row in rows])] if rows else (),
        models=models,
    )


def deployed_by(run: Run) -> Deployed | None:
    """What a run's deployment came to, once it did."""
    try:
        watch = OrderWatch.of(run, DEPLOY)
        watch.look()
    except CloudedgeError:
        return None
    results = [watched.manifest.result for watched in watch.edges.values() if watched.manifest]
    return next((result for result in results if isinstance(result, Deployed)), None)


def _headline(task: InspectionDeploymentTask, deployed: Deployed | None) -> str:
    if deployed is None:
        return f"A deployment for {task.brand} on the line {task.line}."
    verb = "judges" if deployed.serving == 1 else "judge"
    return (
        f"{deployed.serving} of {count(len(deployed.detectors), 'detector')} on {task.line} {verb} {task.brand} by the model."
    )


def _sentences(release: Release | None) -> list[str]:
    if release is None:
        return []
    if release.overridden_by:
        return [release.verdict, f"{release.overridden_by} had it deployed all the same: {release.reason}"]
    return [release.verdict]


def _facts(task: InspectionDeploymentTask, release: Release | None) -> list[tuple[str, str]]:
    facts = [("Line", task.line), ("Brand", task.brand)]
    if release:
        model = release.deployable
        facts += [("Model", model.name), ("Of run", release.run), ("Size", size(model.size)), ("SHA-256", model.sha256[:12])]
    return facts


def _rows(deployed: Deployed) -> list[tuple[str, ...]]:
    return [(name, *_cells(deployed.detectors[name])) for name in sorted(deployed.detectors, key=natural)]


def _cells(outcome: Outcome) -> tuple[str, ...]:
    loaded, judged = outcome.load_seconds > 0, outcome.images > 0
    return (
        _STATES[outcome.state],
        duration(outcome.transfer_seconds) if outcome.transfer_seconds else "",
        duration(outcome.load_seconds) if loaded else "",
        f"{outcome.swap_gap_ms:.1f} ms" if outcome.swap_gap_ms else "",
        f"{outcome.images:,}" if judged else "",
        share(outcome.reject_rate) if judged else "",
        share(outcome.error_rate) if judged else "",
        outcome.reason,
    )


def _detectors(rows: list[tuple[str, ...]]) -> Markup:
    cells = [
        [element("th", row[0], scope="row"), row[1], *map(number, row[2:-1]), element("td", row[-1], class_="remarks")]
        for row in rows
    ]
    return section(
        "The detectors",
        table(_TITLES, cells, "edges"),
        remark(
            "Images, and the shares rejected and failed, are of the time in which the new model was watched. The longest pause "
            "is how long a part waited for its judgement, at most, within a second about the swap. A detector that does not "
            "serve goes on with the model it had."
        ),
    )
