"""Pretrain, then dispatch, wait and fuse each round in tasks of their own, then evaluate, register and report.

One flat chain, to look at and to debug; rounds that a run does not need pass the model on.
"""

from typing import Any

from components.dispatch.component import dispatch
from components.evaluate.component import evaluate
from components.fuse.component import fuse
from components.register.component import register
from components.report.component import report
from components.wait.component import wait
from pipelines.form import pipeline, pretrain_task, show_as

ROUNDS = 3
"""Rounds of the package that is kept in the repository. For another number: cloudedge compile TASK."""


def with_rounds(rounds: int) -> Any:
    """The pipeline with tasks for a number of rounds; 0 for a task without collaboration."""

    @pipeline(
        name="collaborative-training",
        description=f"Train one model across cloud and edges without moving raw data; up to {rounds} rounds, each to look at.",
    )
    def collaborative_training(form: dict[str, Any]) -> None:
        pretrained = show_as(pretrain_task(form, rounds), "Pretrain")
        run, model = pretrained.outputs["Output"], pretrained.outputs["pretrained"]
        for number in range(1, rounds + 1):
            orders = show_as(dispatch(base=model, run=run, round_number=number), f"Round {number}: dispatch")
            results = show_as(wait(run=run, round_number=number, orders=orders.output), f"Round {number}: wait")
            fused = show_as(
                fuse(
                    base=model,
                    run=run,
                    round_number=number,
                    results=results.outputs["Output"],
                    cloud_data=form["cloud_data"],
                ),
                f"Round {number}: fuse",
            )
            model = fused.outputs["fused"]
        judged = show_as(evaluate(model=model, run=run, test_data=form["test_data"]), "Evaluate")
        registered = show_as(register(run=run, passed=judged.outputs["Output"]), "Register")
        show_as(report(run=run, registered_model=registered.output), "Report")

    return collaborative_training


collaborative_training = with_rounds(ROUNDS)
