"""Ranking: the devices' results side by side, each believed only as far as its files bear it out."""

from cloud.runs.run import Run
from cloud.runs.step_records import Delivery
from cloud.step import Step, step
from cloud.tracking import MetricPoint, TrackingRecord
from cloud.tracking.mlflow_records import flat_params
from cloudedge.automl.screen import broken
from cloudedge.documents import parse
from cloudedge.documents.automl import Costs, Trial
from cloudedge.documents.deployable import MAX_DEPLOYABLE_BYTES, MAX_DEPLOYABLE_MANIFEST_BYTES, Deployable, image_form
from cloudedge.documents.kinds.search import Searched
from cloudedge.documents.tasks.edge_automl import EdgeAutomlTask
from cloudedge.errors import CloudedgeError, InvalidModel, NotFound, StoreFailed
from cloudedge.files import atomic_write
from components.edge_automl.page.findings import Findings, Tried, gather
from components.edge_automl.records import DEPLOYABLE, MODEL, SEARCH, RankedDevice, Ranking, ranking_of
from components.edge_automl.registration import registration_of

_MOST_FAULT = 2000


def rank_run(run_id: str) -> Ranking:
    """Compare the models that the devices of a run have found.

    Raises:
        NotFound: no device has delivered.
    """
    with step(run_id, "rank") as work:
        waited = work.run.waited(SEARCH)
        if waited is None or not waited.delivered:
            raise NotFound(f"No device of run {run_id} has delivered yet: run the steps before.")
        ranking = ranking_of(work.run)
        if ranking is None:
            ranking = _ranked(work, waited.delivered)
            work.run.put(work.run.key("ranking.json"), ranking)
            best = ranking.devices[ranking.best].result if ranking.best else None
            work.log("ranked", best=ranking.best, accuracy=best.accuracy if best else None, devices=sorted(ranking.devices))
        for edge, device in sorted(ranking.devices.items()):
            work.say(f"{edge}: {device.words}")
        found = gather(work.run)
        for story in found.devices:
            if story.fault:
                work.say(f"{story.name}: {story.fault}")
        _track(work, ranking, found)
        return ranking


def figures_of(ranking: Ranking) -> dict[str, float]:
    """What there is to compare, by name and device."""
    found: dict[str, float] = {}
    for edge, device in sorted(ranking.devices.items()):
        result = device.result
        if device.deployable is None or result.costs is None or result.accuracy is None:
            continue
        found[f"accuracy/{edge}"] = result.accuracy
        found |= {f"{name}/{edge}": value for name, value in _costs(result.costs).items()}
    return found


def _ranked(work: Step, delivered: tuple[Delivery, ...]) -> Ranking:
    devices = {}
    for delivery in delivered:
        try:
            result = work.run.manifest(delivery).result
        except StoreFailed:
            raise
        except CloudedgeError as error:
            work.say(f"{delivery.edge}: what it delivered cannot be read: {error}")
            continue
        if not isinstance(result, Searched):
            work.say(f"{delivery.edge} delivered a result of another kind: {result.kind}.")
            continue
        devices[delivery.edge] = _device(work, delivery, result)
    able = {edge: device.result for edge, device in devices.items() if device.deployable}

    def key(edge: str) -> tuple[float, float, str]:
        result = able[edge]
        return -(result.accuracy or 0.0), result.costs.latency_bound_ms if result.costs else 0.0, edge

    return Ranking(devices=devices, best=min(able, key=key, default=""))


def _device(work: Step, delivery: Delivery, result: Searched) -> RankedDevice:
    if not result.sha256:
        return RankedDevice(result=result)
    try:
        return RankedDevice(result=result, deployable=_checked(work, delivery, result))
    except StoreFailed:
        raise
    except CloudedgeError as error:
        return RankedDevice(result=result, fault=str(error)[:_MOST_FAULT])


def _checked(work: Step, delivery: Delivery, result: Searched) -> Deployable:
    """The manifest of a device's model, which is what it says.

    Raises:
        CloudedgeError: it is not, or it breaks a limit.
    """
    from cloudedge.deployable.checking import check

    manifest = work.run.manifest(delivery)
    content = work.run.output(delivery, DEPLOYABLE, MAX_DEPLOYABLE_MANIFEST_BYTES, manifest)
    deployable = parse(Deployable, content, f"The manifest of {delivery.edge}'s model", MAX_DEPLOYABLE_MANIFEST_BYTES)
    if deployable.sha256 != result.sha256:
        raise InvalidModel(f"{delivery.edge} describes another model than it found.")
    if result.candidate is None or result.costs is None or result.accuracy is None:
        raise InvalidModel(f"{delivery.edge} does not say which network its model is, and what that reaches and costs.")
    task, of = work.run.task_for(EdgeAutomlTask), deployable.lineage
    asked = (task.registered_model, task.data.classes, image_form(task.data), work.run.id, delivery.edge)
    if (deployable.name, deployable.classes, deployable.image, of.run, of.edge) != asked:
        raise InvalidModel(f"{delivery.edge} describes a model of another name, form or origin than it was asked for.")
    # The limits that a device says it kept may be wider than those that it was asked to keep.
    for limits in (result.limits, task.allowed.limits):
        if exceeded := broken(result.costs, limits):
            raise InvalidModel(f"{delivery.edge} measured its model above its limit of {' and '.join(exceeded)}.")
    path = work.scratch() / f"{delivery.edge}.onnx"
    atomic_write(path, work.run.output(delivery, MODEL, MAX_DEPLOYABLE_BYTES, manifest))
    check(path, deployable)
    return deployable


def _track(work: Step, ranking: Ranking, found: Findings) -> None:
    """Tell MLflow of the models, and of each trial as a run of its own; and have the models registered beside the best one."""
    at, task = work.written_at(work.run.key("ranking.json")), work.run.task_for(EdgeAutomlTask)
    metrics = [MetricPoint(key=name, value=value, step=0, at=at) for name, value in figures_of(ranking).items()]
    records = [TrackingRecord(at=at, metrics=tuple(metrics), tags={"cloudedge.best": ranking.best})]
    for device in found.devices:
        tried = (one for one in device.tried() if one.trial.measured or one.trial.fault)
        for number, one in enumerate(tried, start=1):
            trial = one.trial
            points = (MetricPoint(key=name, value=value, step=0, at=at) for name, value in _figures(trial).items())
            records.append(
                TrackingRecord(
                    child=f"edge/{device.name}/trial-{number:03d}",
                    edge=device.name,
                    at=at,
                    params=flat_params({**trial.candidate.model_dump(), "loss": trial.loss, "seed": trial.seed}),
                    metrics=tuple(points),
                    tags={"cloudedge.trial": _became(one)},
                    status="failed" if trial.fault else "finished",
                )
            )
    work.track("rank", *records)
    for edge, ranked in sorted(ranking.devices.items()):
        accurate = (ranked.result.accuracy or 0.0) > task.least
        if ranked.deployable and accurate and edge != ranking.best:
            work.track(f"rank-{edge}", registration=registration_of(work.run, ranking, edge, found))


def _became(tried: Tried) -> str:
    if tried.trial.fault:
        return "failed"
    if tried.chosen:
        return "chosen"
    return "kept" if tried.kept else "refused"


def _figures(trial: Trial) -> dict[str, float]:
    found = {"epochs": float(trial.epochs), "seconds": trial.seconds}
    if trial.accuracy is not None:
        found["accuracy"] = trial.accuracy
    if trial.measured:
        found |= _costs(trial.measured)
    return found | {f"predicted_{name}": value for name, value in _costs(trial.predicted).items()}


def _costs(costs: Costs) -> dict[str, float]:
    return {name: float(value) for name, value in costs.model_dump(exclude={"origin"}).items() if value is not None}


def model_of(run: Run, sha256: str) -> tuple[Delivery, RankedDevice]:
    """A model that a device has found.

    Args:
        run: The run.
        sha256: Digest of its file; empty: the best one.

    Raises:
        NotFound: there is none, or the run was not ranked.
    """
    ranking, waited = ranking_of(run), run.waited(SEARCH)
    if ranking is None or waited is None:
        raise NotFound(f"Run {run.id} was not ranked yet: run that step first.")
    for delivery in waited.delivered:
        device = ranking.devices.get(delivery.edge)
        wanted = device and device.deployable and (device.result.sha256 == sha256 if sha256 else delivery.edge == ranking.best)
        if device and wanted:
            return delivery, device
    what = f"the model {sha256[:12]}" if sha256 else "a model"
    raise NotFound(f"No device of run {run.id} has found {what}; its report says why.")
