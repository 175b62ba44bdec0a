"""Train a meta model of the searches that happened, register it if it may lead, and report."""

from typing import Any

from cloudedge.documents.tasks.automl_meta import AutomlMetaTask
from components.automl_meta.learn.component import learn
from components.begin.component import begin
from components.register.component import register
from components.report.component import report
from pipelines.dag import Filled, FirstStep, FormShape, show_as

FIRST = FirstStep(begin, example=AutomlMetaTask(name="Meta model", id="automl-meta"), given=("system",))


def pipeline(shape: FormShape = "fields") -> Any:
    """The pipeline."""

    @FIRST.pipeline(
        name="automl-meta",
        description="Train the meta model of AutoML at the edge anew from the searches that happened, where enough were added; "
        "it leads the next searches if it foretells those that it never saw as well as the one in use.",
        shape=shape,
    )
    def automl_meta(filled: Filled) -> None:
        done = show_as(filled.first_task(system="automl-meta"), "Begin")
        done = show_as(learn(run=done.outputs["run"]), "Learn")
        done = show_as(register(run=done.outputs["run"], passed=done.outputs["passed"]), "Register")
        show_as(report(run=done.outputs["run"], registered_model=done.outputs["registered_model"]), "Report")

    return automl_meta
