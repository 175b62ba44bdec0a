"""Release: the model that a deployment names is found, and deployed only if its gate let it pass or a person says so."""

import hashlib
import re

from cloud.runs.run import Run
from cloud.step import Step, step
from cloud.tracking import TrackingRecord
from cloud.tracking.versions import version_named
from cloudedge.documents.deployable import Deployable
from cloudedge.documents.line import SERVER
from cloudedge.documents.tasks.inspection_deployment import InspectionDeploymentTask
from cloudedge.errors import InvalidInput, NotFound
from cloudedge.names import NAME
from components.inspection_deployment.records import Release, manifest_key, model_key, release_of
from components.systems import Offered, steps_of


def release_model(run_id: str) -> Release:
    """Settle what a run deploys.

    Raises:
        NotFound: there is no such model.
        InvalidInput: its gate refused it or it is for another brand, and nobody overrode that.
        InvalidModel: it was altered, or cannot be run where it is to be deployed.
    """
    with step(run_id, "release") as work:
        release = release_of(work.run)
        if release is None:
            release = _released(work, work.run.task_for(InspectionDeploymentTask))
        work.say(f"{release.deployable.name} of run {release.run}: {release.verdict}")
        return release


def _released(work: Step, task: InspectionDeploymentTask) -> Release:
    from cloudedge.deployable.checking import check

    source, sha256 = _source(work, task.model)
    offered = steps_of(source.task()).offer(source, work.scratch(), sha256)
    passed, verdict = _word(task, offered)
    if not passed and not task.override.by.strip():
        raise InvalidInput(
            f"The model of run {source.id} may not be deployed. {verdict} To deploy it all the same, say who says so and why "
            "in override.by and override.reason; both are kept in the operation log."
        )
    check(offered.file, offered.deployable)
    _require_images(task, offered.deployable)
    deployable = offered.deployable.model_copy(update={"brand": task.brand})
    content = deployable.to_json()
    work.store.put_file(model_key(work.run), offered.file)
    work.store.put(manifest_key(work.run), content)
    release = Release(
        run=source.id,
        deployable=deployable,
        manifest_sha256=hashlib.sha256(content).hexdigest(),
        manifest_size=len(content),
        passed=passed,
        verdict=verdict,
        overridden_by="" if passed else task.override.by,
        reason="" if passed else task.override.reason,
    )
    work.run.put(work.run.key("release.json"), release)
    details = {"model": deployable.name, "of": source.id, "sha256": deployable.sha256}
    if passed:
        work.log("released", **details)
    else:
        work.log("overridden", by=release.overridden_by, reason=release.reason, verdict=verdict, **details)
    at = work.written_at(work.run.key("release.json"))
    tags = {"cloudedge.sha256": deployable.sha256, "cloudedge.model_of": source.id}
    work.track("release", TrackingRecord(at=at, tags=tags))
    return release


def _word(task: InspectionDeploymentTask, offered: Offered) -> tuple[bool, str]:
    """Whether the model may be deployed for the brand without anybody's word, and why."""
    brand = offered.deployable.brand
    if brand and brand != task.brand:
        return False, f"It was trained and judged for the brand {brand}, and brand is {task.brand}."
    return offered.passed, offered.verdict


def _require_images(task: InspectionDeploymentTask, deployable: Deployable) -> None:
    """Make sure that whoever gets the model can run it: a detector has images, the edge server answers whoever asks it.

    Raises:
        InvalidInput: a detector is to get a model that takes something else.
    """
    if deployable.image is None and task.detectors != (SERVER,):
        takes = ", ".join(f"{each.name} ({each.datatype} of shape {list(each.shape)})" for each in deployable.inputs)
        raise InvalidInput(
            f"The model {deployable.name} takes {takes}, and a detector judges 8-bit images, in colours or gray, of 8 to 1024 "
            f"pixels a side. Deploy it to the edge server itself, which serves it: give the detectors as [{SERVER!r}]."
        )


def _source(work: Step, model: str) -> tuple[Run, str]:
    """The run that made a model: that of this id, or the one that a registered model's version is of, with its digest."""
    if re.fullmatch(NAME, model) and Run(work.store, model).exists():
        return Run(work.store, model), ""
    address = work.settings.registry_uri or work.settings.tracking_uri
    if not address:
        raise NotFound(f"There is no run {model!r}, and no MLflow is named whose registry may have a model of this name.")
    version = version_named(address, model)
    return Run(work.store, version.run), version.sha256
