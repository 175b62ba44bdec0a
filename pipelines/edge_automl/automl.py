"""Have devices search, compare what they found, register and report."""

from typing import Any

from cloudedge.documents import DataFormat
from cloudedge.documents.data import SampleField
from cloudedge.documents.tasks.edge_automl import Allowed, EdgeAutomlTask
from components.begin.component import begin
from components.dispatch.component import dispatch
from components.edge_automl.rank.component import rank
from components.edge_automl.records import SEARCH
from components.register.component import register
from components.report.component import report
from components.wait.component import wait
from pipelines.dag import WAIT_SECONDS, Filled, FirstStep, FormShape, show_as

FIRST = FirstStep(
    begin,
    example=EdgeAutomlTask(
        name="Reading meters",
        id="meters",
        data=DataFormat(
            storage="image-folder",
            fields=(SampleField(name="image", dtype="uint8", shape=(1, 16, 16), scale=1 / 255),),
            classes=tuple("0123456789"),
        ),
        allowed=Allowed(latency_ms=1),
    ),
    given=("system",),
)


def pipeline(shape: FormShape = "fields") -> Any:
    """The pipeline."""

    @FIRST.pipeline(
        name="edge-automl",
        description="Find on each device the best model that it can bear: its queue and resources say how large a search may "
        "be, and what it cannot bear is never trained. No sample leaves a device.",
        shape=shape,
    )
    def edge_automl(filled: Filled) -> None:
        done = show_as(filled.first_task(system="edge-automl"), "Begin")
        done = show_as(dispatch(run=done.outputs["run"], step=SEARCH), "Dispatch to devices")
        done = show_as(wait(run=done.outputs["run"], step=SEARCH), "Wait for devices", WAIT_SECONDS)
        done = show_as(rank(run=done.outputs["run"]), "Rank")
        done = show_as(register(run=done.outputs["run"], passed=done.outputs["found"]), "Register")
        show_as(report(run=done.outputs["run"], registered_model=done.outputs["registered_model"]), "Report")

    return edge_automl
