"""Have the line's edge server train, judge the very file that will be deployed, register and report."""

from typing import Any

from cloudedge.documents.inspection import InspectionTraining
from cloudedge.documents.tasks.inspection_training import InspectionTrainingTask
from components.begin.component import begin
from components.dispatch.component import dispatch
from components.inspection_training.gate.component import gate
from components.inspection_training.records import TRAIN
from components.register.component import register
from components.report.component import report
from components.wait.component import wait
from pipelines.dag import WAIT_SECONDS, Filled, FirstStep, FormShape, show_as

FIRST = FirstStep(
    begin,
    example=InspectionTrainingTask(
        name="Inspection of brick", id="brick", line="line-1", training=InspectionTraining(brand="brick")
    ),
    given=("system",),
    further={"test_data": ("", "Where the test set is, store:NAME; empty: none, and the gate refuses.")},
)


def pipeline(shape: FormShape = "fields") -> Any:
    """The pipeline."""

    @FIRST.pipeline(
        name="inspection-training",
        description="Train an inspection model at a production line's edge server and judge it in the cloud; no image leaves "
        "the line.",
        shape=shape,
    )
    def inspection_training(filled: Filled) -> None:
        done = show_as(filled.first_task(system="inspection-training"), "Begin")
        done = show_as(dispatch(run=done.outputs["run"], step=TRAIN), "Dispatch to the line")
        done = show_as(wait(run=done.outputs["run"], step=TRAIN), "Wait for the line", WAIT_SECONDS)
        done = show_as(gate(run=done.outputs["run"], test_data=filled["test_data"]), "Gate")
        done = show_as(register(run=done.outputs["run"], passed=done.outputs["passed"]), "Register")
        show_as(report(run=done.outputs["run"], registered_model=done.outputs["registered_model"]), "Report")

    return inspection_training
