"""Training the meta model of AutoML at the edge anew, from the searches that happened since."""

from typing import Literal

from pydantic import Field

from cloudedge.documents.task import Task
from cloudedge.names import NAME


class AutomlMetaTask(Task):
    """A training of the meta model, where enough searches happened since the last one."""

    kind: Literal["automl-meta"] = Field(default="automl-meta", description="System that the task is for.")
    every_rows: int = Field(
        default=50, ge=0, le=100_000, description="Searches since the last meta model that make a new one due (0: it is)."
    )
    simulated_searches: int = Field(
        default=6000, ge=0, le=100_000, description="Simulated searches that it learns from, too (0: none)."
    )
    row_weight: int = Field(
        default=3, ge=1, le=1000, description="How many simulated searches one that happened counts as much as."
    )
    model_name: str = Field(
        default="automl-meta",
        pattern=NAME,
        description="Name of the registered model.",
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="All randomness of the training follows from it.")


TASK = AutomlMetaTask
