"""Evaluation: models from the cloud are measured on this edge's held-out samples."""

from typing import Literal

from pydantic import Field

from cloudedge.documents.data import DataFormat
from cloudedge.documents.kinds import Result, Work
from cloudedge.documents.report import Count, ScoresByModel
from cloudedge.documents.training import ModelSpec, Training


class Evaluate(Work):
    """How to measure the models that are the inputs."""

    kind: Literal["evaluate"] = Field(default="evaluate", description="Kind of work.")
    model: ModelSpec = Field(description="The network that the files belong to.")
    data: DataFormat = Field(description="Format of the samples.")
    training: Training = Field(default_factory=Training, description="How it was trained: the loss, and threads to use.")
    seed: int = Field(default=0, ge=0, description="Seed of the task.")


class Evaluated(Result):
    """What measuring came to."""

    kind: Literal["evaluate"] = Field(default="evaluate", description="Kind of work.")
    data_fingerprint: str = Field(
        default="", pattern=r"^([0-9a-f]{64})?$", description="Digest over the digests of all samples used."
    )
    files_passed_over: Count = Field(
        default=0, description="Files of samples that do not fit the data format; the edge's status names them."
    )
    scores: ScoresByModel = Field(default_factory=dict, description="Held-out scores of each input.")


WORK, RESULT = Evaluate, Evaluated
