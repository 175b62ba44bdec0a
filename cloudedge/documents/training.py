"""How a model is built and trained, wherever that is done."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from cloudedge.documents.base import Part
from cloudedge.names import NAME


class ModelSpec(Part):
    """Which network is built; its input and output sizes come from the data format."""

    architecture: str = Field(
        default="mlp", pattern=NAME, description="mlp, convnet, vgg, or a name from the entry points cloudedge.architectures."
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description='The architecture\'s own settings, for example {"layers": 2, "width": 64}.'
    )


class Training(Part):
    """How a model is trained, in one place and one go."""

    epochs: int = Field(default=10, ge=1, le=100_000, description="Largest number of passes over the samples.")
    batch_size: int = Field(default=32, ge=1, le=65_536, description="Samples per step.")
    learning_rate: float = Field(default=0.05, gt=0, le=100, description="Step size of the optimizer.")
    optimizer: Literal["sgd", "momentum", "adam", "adamw"] = Field(default="momentum", description="Optimizer.")
    weight_decay: float = Field(default=0.0, ge=0, le=10, description="Decay of the weights (0: none).")
    loss: Literal["cross-entropy", "label-smoothing", "focal", "mse"] = Field(
        default="cross-entropy",
        description="Loss; label-smoothing smooths by 0.1, focal has gamma 2, mse is on one-hot labels.",
    )
    proximal: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="FedProx: half this factor times the squared distance to the received model joins the loss (0: none).",
    )
    target_accuracy: float = Field(
        default=0.0, ge=0, le=1, description="Training ends as soon as held-out accuracy reaches it (0: train all epochs)."
    )
    threads: int = Field(
        default=1, ge=1, le=256, description="CPU threads; the same number on the same processor type gives the same bytes."
    )


class Recollection(Part):
    """What an edge does when all epochs are over and its accuracy is below target."""

    form_names: ClassVar[Mapping[str, str]] = {"most": "recollections", "wait_seconds": "recollection_wait_seconds"}

    most: int = Field(
        default=0, ge=0, le=1000, description="How many times new samples are collected and training goes on (0: never)."
    )
    wait_seconds: float = Field(
        default=60,
        gt=0,
        le=604_800,
        description="How long one collection waits for new samples before it gives up, in seconds.",
    )
