"""Hands a model to this line's service, and follows what becomes of it at the detectors.

The deployment goes on in the service, whatever happens to this process: its id is the order's, so that another try finds it.
"""

import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from cloudedge.deployable.checking import check
from cloudedge.documents import Phase, Point, RemoteFile, Stream, parse
from cloudedge.documents.deployable import MAX_DEPLOYABLE_BYTES, MAX_DEPLOYABLE_MANIFEST_BYTES, Deployable
from cloudedge.documents.kinds.deploy import Deploy, Deployed, Outcome
from cloudedge.errors import CloudedgeError, InvalidInput, InvalidModel, StoreFailed, WorkFailed
from edge.folders import Folders
from edge.inputs import fetch
from edge.line.control import Line
from edge.line.reports import DeploymentReport, PartReport
from edge.messages import Job, Message, Say
from edge.results import deliver

_LOOK_SECONDS = 0.2

_PATIENCE_SECONDS = 60.0
"""What a service that died gets to be back. After that the runner tries again, later and later."""


def work(job: Job, asked: Deploy, say: Say) -> None:
    """Do an order to deploy.

    Raises:
        CloudedgeError: it cannot be done, or no detector judges by the model.
    """
    started = time.monotonic()
    order, folders = job.order, Folders(Path(job.state))
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
        report = line.deploy(order.id, asked.brand, deployable, model, asked.detectors, asked.rollout, asked.bounds)
        report = _followed(line, report, _Teller(say))
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
    answered = time.monotonic()
    while True:
        teller.tell(report)
        if report.over:
            return report
        time.sleep(_LOOK_SECONDS)
        try:
            report = line.deployment(report.id)
            answered = time.monotonic()
        except StoreFailed:  # It is started again when it died.
            if time.monotonic() - answered > _PATIENCE_SECONDS:
                raise


class _Teller:
    """Tells how a deployment stands, when that has changed.

    Each detector leads to two points: it judges by the model, or it is known what became of it there, whichever is first; and
    the latter. So the series goes on where it was, in whichever try.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._points = 0
        self._told: tuple[Stream, ...] = ()

    def tell(self, report: DeploymentReport) -> None:
        """Tell how it stands."""
        parts = report.detectors.values()
        known = sum(part.outcome is not None for part in parts)
        begun = sum(part.outcome is not None or part.judges for part in parts)
        values = {"serving": float(sum(_serves(part) for part in parts)), "detectors": float(len(parts))}
        reached = known + begun + 1
        seconds = report.seconds
        points = tuple(Point(sequence=sequence, seconds=seconds, values=values) for sequence in range(self._points, reached))
        progress = (
            Stream(name="load", done=begun, total=len(parts), unit="detectors"),
            Stream(name="transfer", done=_bytes(parts, report.size), total=_bytes_in_all(parts, report.size), unit="bytes"),
        )
        if points or progress != self._told:
            self._say(Message(progress=progress, gauges=values, points=points or None))
        self._points, self._told = max(self._points, reached), progress


def _serves(part: PartReport) -> bool:
    return part.judges if part.outcome is None else part.outcome.state == "serving"


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
