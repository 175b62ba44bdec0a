"""Hands a model to this line's service, and follows what becomes of it at the detectors.

The deployment goes on in the service, whatever happens to this process: its id is the order's, so that another try finds it.
"""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from cloudedge.deployable.checking import check
from cloudedge.documents import Phase, Point, RemoteFile, Stream, parse
from cloudedge.documents.deployable import MAX_DEPLOYABLE_BYTES, MAX_DEPLOYABLE_MANIFEST_BYTES, Deployable
from cloudedge.documents.kinds.deploy import Deploy, Deployed, Outcome
from cloudedge.documents.line import SERVER
from cloudedge.errors import CloudedgeError, InvalidInput, InvalidModel, StoreFailed, WorkFailed
from edge.folders import Folders
from edge.inputs import fetch
from edge.line.control import Line, require_serving
from edge.line.reports import DeploymentReport, PartReport
from edge.messages import Job, Message, Say
from edge.results import deliver

_LOOK_SECONDS = 0.2

_POINTS_SPREAD = 0.02
"""Of the time so far, at least between two points of mere progress: some hundreds of them within an hour."""

_DETECTORS_A_POINT = 30
"""Of a point's figures each has two."""

_PATIENCE_SECONDS = 60.0
"""What a service that died gets to be back. After that the runner tries again, later and later."""


def work(job: Job, asked: Deploy, say: Say) -> None:
    """Do an order to deploy.

    Raises:
        CloudedgeError: it cannot be done, or no detector judges by the model.
    """
    started = time.monotonic()
    order, folders = job.order, Folders(Path(job.state))
    if SERVER in asked.detectors:
        require_serving(folders)  # Before the files are fetched, which may be large.
    say(Message(phase=Phase.FETCHING))
    manifest = _fetched(job, order.inputs["deployable"], MAX_DEPLOYABLE_MANIFEST_BYTES, ".json")
    deployable = parse(Deployable, manifest.read_bytes(), "the input 'deployable'", MAX_DEPLOYABLE_MANIFEST_BYTES)
    if deployable.sha256 != order.inputs["model"].sha256:
        raise InvalidModel(
            f"The manifest is about the model {deployable.sha256[:12]}, and the order brings "
            f"{order.inputs['model'].sha256[:12]}. Issue it with a model and its own manifest."
        )
    model = _fetched(job, order.inputs["model"], MAX_DEPLOYABLE_BYTES, ".onnx")
    check(model, deployable)
    say(Message(phase=Phase.DEPLOYING))
    line = Line(folders)
    try:
        begin = partial(line.deploy, order.id, asked.brand, deployable, model, asked.detectors, asked.rollout, asked.bounds)
        report = _followed(line, _patiently(begin), _Teller(say, job.points))
    except SystemExit:
        # The order was cancelled, or the runner ends; then this is asked for again, and goes on.
        with suppress(CloudedgeError):
            line.stop(order.id)
        raise
    outcomes = {name: part.outcome for name, part in report.detectors.items() if part.outcome is not None}
    result = Deployed(sha256=deployable.sha256, brand=asked.brand, detectors=outcomes)
    if result.serving == 0:
        raise WorkFailed(f"No detector judges by the model {deployable.sha256[:12]}:{_listed(outcomes)}")
    deliver(job, result, time.monotonic() - started)


def _fetched(job: Job, file: RemoteFile, most: int, ending: str) -> Path:
    if file.size > most:
        raise InvalidInput(f"The order announces a file of {file.size:,} bytes; at most {most:,} are taken.")
    return fetch(job, file, Folders(Path(job.state)).received(job.order.id) / f"{file.sha256}{ending}")


def _followed(line: Line, report: DeploymentReport, teller: "_Teller") -> DeploymentReport:
    """Tell how a deployment stands until it is over.

    Raises:
        StoreFailed: the line's service has been away for long.
    """
    while True:
        teller.tell(report)
        if report.over:
            return report
        time.sleep(_LOOK_SECONDS)
        report = _patiently(partial(line.deployment, report.id))


def _patiently(ask: Callable[[], DeploymentReport]) -> DeploymentReport:
    """What the line's service answers, once it does: it is started beside the runner, and again when it died.

    Raises:
        StoreFailed: it has been away for long.
    """
    asked = time.monotonic()
    while True:
        try:
            return ask()
        except StoreFailed:
            if time.monotonic() - asked > _PATIENCE_SECONDS:
                raise
            time.sleep(_LOOK_SECONDS)


class _Teller:
    """Tells how a deployment stands, when that has changed.

    Of each detector a point says how far transfer and loading have come there, from 0 to 1, if that has changed since the last
    one that said so. So a try that brings nothing about tells no point, and the runner sees that work that dies gets nowhere.
    """

    def __init__(self, say: Say, points: Sequence[Point]) -> None:
        """Go on.

        Args:
            say: Tells the runner.
            points: What earlier tries have told.
        """
        self._say = say
        self._next = points[-1].sequence + 1 if points else 0
        self._known = {name: value for point in points for name, value in point.values.items()}
        self._due = 0.0
        self._progress: tuple[Stream, ...] = ()

    def tell(self, report: DeploymentReport) -> None:
        """Tell how it stands."""
        parts = report.detectors.values()
        known = sum(part.outcome is not None for part in parts)
        begun = sum(part.outcome is not None or part.judges for part in parts)
        totals = {"serving": float(sum(_serves(part) for part in parts)), "detectors": float(len(parts))}
        progress = (
            Stream(name="watch", done=known, total=len(parts), unit="detectors"),
            Stream(name="load", done=begun, total=len(parts), unit="detectors"),
            Stream(name="transfer", done=_bytes(parts, report.size), total=_bytes_in_all(parts, report.size), unit="bytes"),
        )
        points = self._fresh_points(report, totals)
        if points or progress != self._progress:
            self._say(Message(progress=progress, gauges=totals, points=points or None))
        self._progress = progress

    def _fresh_points(self, report: DeploymentReport, totals: dict[str, float]) -> tuple[Point, ...]:
        """As many as the figures fill; the longer a deployment goes on, the fewer are made of mere progress."""
        shares = {
            name: {f"transfer/{name}": _transferred(part, report.size), f"load/{name}": _loaded(part)}
            for name, part in report.detectors.items()
        }
        changed = [each for each in shares.values() if not each.items() <= self._known.items()]
        stands_otherwise = not totals.items() <= self._known.items()
        mere_progress = changed and (report.over or report.seconds >= self._due)
        if not (stands_otherwise or mere_progress):
            return ()
        self._due = report.seconds * (1 + _POINTS_SPREAD)
        points = []
        for first in range(0, max(len(changed), 1), _DETECTORS_A_POINT):
            of_detectors = {name: share for each in changed[first : first + _DETECTORS_A_POINT] for name, share in each.items()}
            points.append(Point(sequence=self._next, seconds=report.seconds, values=totals | of_detectors))
            self._next += 1
            self._known |= totals | of_detectors
        return tuple(points)


def _serves(part: PartReport) -> bool:
    return part.judges if part.outcome is None else part.outcome.state == "serving"


def _transferred(part: PartReport, size: int) -> float:
    return 0.0 if part.state is None else _bytes([part], size) / size


def _loaded(part: PartReport) -> float:
    if part.judges:
        return 1.0
    return part.state.loaded / part.state.load_total if part.state is not None and part.state.load_total else 0.0


def _bytes(parts: Collection[PartReport], size: int) -> int:
    return sum(size if part.judges else min(part.state.transferred, size) for part in parts if part.state is not None)


def _bytes_in_all(parts: Collection[PartReport], size: int) -> int:
    """Of those that get the model; where it is known that nothing more comes, only what came counts."""
    over = [part for part in parts if part.outcome is not None]
    return _bytes(over, size) + size * (len(parts) - len(over))


def _listed(outcomes: dict[str, Outcome]) -> str:
    return "".join(
        f"\n  - {name}: {outcome.state}, {outcome.reason or 'for no known reason'}" for name, outcome in outcomes.items()
    )
