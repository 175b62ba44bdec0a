"""Settle what is deployed, have the line's edge server deploy it, and report."""

from typing import Any

from cloudedge.documents.tasks.inspection_deployment import InspectionDeploymentTask
from components.begin.component import begin
from components.dispatch.component import dispatch
from components.inspection_deployment.records import DEPLOY
from components.inspection_deployment.release.component import release
from components.report.component import report
from components.wait.component import wait
from pipelines.dag import WAIT_SECONDS, Filled, FirstStep, FormShape, show_as

FIRST = FirstStep(
    begin,
    example=InspectionDeploymentTask(
        name="Deployment of brick", id="brick-deployment", line="line-1", brand="brick", model="brick"
    ),
    given=("system",),
)


def pipeline(shape: FormShape = "fields") -> Any:
    """The pipeline."""

    @FIRST.pipeline(
        name="inspection-deployment",
        description="Hand a model that passed its gate to detectors of a production line, which swap it without a missed part.",
        shape=shape,
    )
    def inspection_deployment(filled: Filled) -> None:
        done = show_as(filled.first_task(system="inspection-deployment"), "Begin")
        done = show_as(release(run=done.outputs["run"]), "Release")
        done = show_as(dispatch(run=done.outputs["run"], step=DEPLOY), "Dispatch to the line")
        done = show_as(wait(run=done.outputs["run"], step=DEPLOY), "Wait for the line", WAIT_SECONDS)
        show_as(report(run=done.outputs["run"], registered_model=""), "Report")

    return inspection_deployment
