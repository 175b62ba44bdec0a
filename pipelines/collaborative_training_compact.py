"""Pretrain, then all rounds in one task, then evaluate, register and report.

The same steps as `collaborative_training` and the same bytes, for tens and hundreds of rounds.
"""

from typing import Any

from components.collaborate.component import collaborate
from components.evaluate.component import evaluate
from components.register.component import register
from components.report.component import report
from pipelines.form import pipeline, pretrain_task, show_as

MOST_ROUNDS = 100_000
"""As many as a task may ask for."""


@pipeline(
    name="collaborative-training-compact",
    description="Train one model across cloud and edges without moving raw data; all rounds in one task, any number of them.",
)
def collaborative_training_compact(form: dict[str, Any]) -> None:
    """Lay out the tasks."""
    pretrained = show_as(pretrain_task(form, MOST_ROUNDS), "Pretrain")
    run = pretrained.outputs["Output"]
    rounds = show_as(collaborate(base=pretrained.outputs["pretrained"], run=run, cloud_data=form["cloud_data"]), "All rounds")
    judged = show_as(evaluate(model=rounds.outputs["fused"], run=run, test_data=form["test_data"]), "Evaluate")
    registered = show_as(register(run=run, passed=judged.outputs["Output"]), "Register")
    show_as(report(run=run, registered_model=registered.output), "Report")
