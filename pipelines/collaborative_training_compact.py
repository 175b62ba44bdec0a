"""Pretrain, then all rounds in one task, then evaluate, register and report.

The same steps as `collaborative_training` and the same bytes, for tens and hundreds of rounds.
"""

from typing import Any

from components.collaborate.component import collaborate
from pipelines.form import conclude, pipeline, pretrain_task, show_as

MOST_ROUNDS = 100_000
"""As many as a task may ask for."""


@pipeline(
    name="collaborative-training-compact",
    description="Train one model across cloud and edges without moving raw data; all rounds in one task, any number of them.",
)
def collaborative_training_compact(form: dict[str, Any]) -> None:
    """Lay out the tasks."""
    done = show_as(pretrain_task(form, MOST_ROUNDS), "Pretrain")
    rounds = collaborate(base=done.outputs["pretrained"], run=done.outputs["run"], cloud_data=form["cloud_data"])
    done = show_as(rounds, "All rounds")
    conclude(form, done, done.outputs["fused"])
