"""Pretrain, then dispatch, wait and fuse each round in tasks of their own, then evaluate, register and report.

One flat chain, to look at and to debug; a round that a run does not need does nothing.
"""

from typing import Any

from components.collaborative_training.fuse.component import fuse
from components.dispatch.component import dispatch
from components.wait.component import wait
from pipelines.collaborative_training.ends import FIRST, begin, conclude
from pipelines.dag import WAIT_SECONDS, Filled, FormShape, show_as

ROUNDS = 3
"""Rounds of the package that is kept in the repository. For another number: cloudedge compile TASK."""


def with_rounds(rounds: int, shape: FormShape = "fields") -> Any:
    """The pipeline with tasks for a number of rounds; 0 for a task without collaboration."""

    @FIRST.pipeline(
        name="collaborative-training",
        description=f"Train one model across cloud and edges without moving raw data; up to {rounds} rounds, each to look at.",
        shape=shape,
    )
    def collaborative_training(filled: Filled) -> None:
        done = begin(filled, rounds)
        for number in range(1, rounds + 1):
            done = show_as(dispatch(run=done.outputs["run"], step=str(number)), f"Round {number}: dispatch")
            done = show_as(wait(run=done.outputs["run"], step=str(number)), f"Round {number}: wait", WAIT_SECONDS)
            fused = fuse(run=done.outputs["run"], round_number=number, cloud_data=filled["cloud_data"])
            done = show_as(fused, f"Round {number}: fuse")
        conclude(filled, done)

    return collaborative_training
