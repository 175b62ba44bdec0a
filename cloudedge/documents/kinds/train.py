"""Training: a model from the cloud learns from this edge's samples."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cloudedge.documents.data import DataFormat
from cloudedge.documents.kinds import Result, Work
from cloudedge.documents.report import MOST_CLASSES, Count, Name, ScoresByModel, at_most
from cloudedge.documents.training import ModelSpec, Recollection, Training
from cloudedge.names import FILE_NAME, SHA256


class Train(Work):
    """How to train the model 'base'; what it becomes is the output 'model'."""

    inputs: ClassVar = frozenset({"base"})
    outputs: ClassVar = frozenset({"model"})

    kind: Literal["train"] = Field(default="train", description="Kind of work.")
    model: ModelSpec = Field(description="The network that the files belong to.")
    model_file_name: str = Field(default="model.safetensors", pattern=FILE_NAME, description="Name of the model's file.")
    data: DataFormat = Field(description="Format of the samples.")
    training: Training = Field(default_factory=Training, description="How to train.")
    recollection: Recollection = Field(default_factory=Recollection, description="What to do below target.")
    seed: int = Field(default=0, ge=0, description="All randomness of the work follows from it.")


class Trained(Result):
    """What training came to."""

    kind: Literal["train"] = Field(default="train", description="Kind of work.")
    base_sha256: str = Field(pattern=SHA256, description="Digest of the model that training began from.")
    samples: Count = Field(description="Samples trained on, held-out ones excluded.")
    label_histogram: Annotated[dict[Name, Count], at_most(MOST_CLASSES)] = Field(
        default_factory=dict, max_length=MOST_CLASSES, description="Training samples of each class."
    )
    data_fingerprint: str = Field(
        default="", pattern=r"^([0-9a-f]{64})?$", description="Digest over the digests of all samples used."
    )
    files_passed_over: Count = Field(
        default=0, description="Files of samples that do not fit the data format; the edge's status names them."
    )
    epochs: Count = Field(default=0, description="Passes over the samples.")
    scores: ScoresByModel = Field(
        default_factory=dict, description="Held-out scores of 'base', the model as it was received, and of the trained 'model'."
    )
    target_met: bool = Field(default=True, description="Whether the target accuracy was reached, or none was set.")
    recollections: Count = Field(default=0, description="Collections of further samples.")


WORK, RESULT = Train, Trained
