"""Pretrain, then all rounds in one task, then evaluate, register and report.

The same steps as `collaborative_training` and the same bytes, for tens and hundreds of rounds.
"""

from typing import Any

from components.collaborative_training.collaborate.component import collaborate
from pipelines.collaborative_training.ends import FIRST, begin, conclude
from pipelines.dag import Filled, FormShape, show_as

MOST_ROUNDS = 100_000
"""As many as a task may ask for."""

_ROUNDS_SECONDS = 366 * 24 * 3600


def all_rounds_in_one(shape: FormShape = "fields") -> Any:
    """The pipeline with one task for all rounds."""

    @FIRST.pipeline(
        name="collaborative-training-compact",
        description="Train one model across cloud and edges without moving raw data; all rounds in one task, any number of "
        "them.",
        shape=shape,
    )
    def collaborative_training_compact(filled: Filled) -> None:
        done = begin(filled, MOST_ROUNDS)
        rounds = collaborate(run=done.outputs["run"], cloud_data=filled["cloud_data"])
        done = show_as(rounds, "All rounds", _ROUNDS_SECONDS)
        conclude(filled, done)

    return collaborative_training_compact
