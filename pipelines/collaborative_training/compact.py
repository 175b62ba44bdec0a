"""Pretrain, then all rounds in one task, then evaluate, register and report.

The same steps as `collaborative_training` and the same bytes, for tens and hundreds of rounds.
"""

from typing import Any

from components.collaborative_training.collaborate.component import collaborate
from pipelines.collaborative_training.form import Form, conclude, pipeline, pretrain_task, show_as

MOST_ROUNDS = 100_000
"""As many as a task may ask for."""


def all_rounds_in_one(form: Form = "fields") -> Any:
    """The pipeline with one task for all rounds."""

    @pipeline(
        name="collaborative-training-compact",
        description="Train one model across cloud and edges without moving raw data; all rounds in one task, any number of "
        "them.",
        form=form,
    )
    def collaborative_training_compact(filled: dict[str, Any]) -> None:
        done = show_as(pretrain_task(filled, MOST_ROUNDS), "Pretrain")
        rounds = collaborate(run=done.outputs["run"], cloud_data=filled["cloud_data"])
        done = show_as(rounds, "All rounds")
        conclude(filled, done)

    return collaborative_training_compact


collaborative_training_compact = all_rounds_in_one()
