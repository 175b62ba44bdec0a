"""The task: what a user asks for."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from cloudedge.documents.base import Document, Part, each_once
from cloudedge.documents.data import DataFormat
from cloudedge.names import FILE_NAME, NAME

EdgeName = Annotated[str, Field(pattern=NAME)]


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

    most: int = Field(
        default=0, ge=0, le=1000, description="How many times new samples are collected and training goes on (0: never)."
    )
    wait_seconds: float = Field(
        default=60,
        gt=0,
        le=604_800,
        description="How long one collection waits for new samples before it gives up, in seconds.",
    )


class Fusion(Part):
    """How the models of one round become one."""

    rule: str = Field(
        default="samples",
        pattern=NAME,
        description="Name of the rule: samples, uniform, accuracy, given, greedy, median, trimmed-mean, krum, fedavgm, "
        "fedadam, fedyogi.",
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description='The rule\'s own settings, for example {"weights": {"edge-1": 2}} for the rule given.'
    )
    base_weight: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Weight of the round's base model (in round 1 the pretrained one) in the average; the edges share the "
        "rest.",
    )


class Collaboration(Part):
    """How edges take part."""

    edges: tuple[EdgeName, ...] = Field(
        default=(), max_length=100_000, description="Names of the participating edges; empty: all enrolled ones."
    )
    rounds: int = Field(default=3, ge=1, le=100_000, description="Largest number of rounds.")
    quorum: int = Field(
        default=0, ge=0, le=100_000, description="Results that a round needs; 0: all. Below it at the deadline the run fails."
    )
    round_deadline_seconds: float = Field(
        default=3600, gt=0, le=2_592_000, description="How long a round waits for results, in seconds."
    )
    straggler_grace_seconds: float = Field(
        default=0,
        ge=0,
        le=2_592_000,
        description="How long a round that has its quorum waits for further results, in seconds; late models join the next "
        "round.",
    )
    training: Training = Field(default_factory=Training, description="Training at the edge, in each round.")
    recollection: Recollection = Field(default_factory=Recollection, description="What an edge below target does.")
    fusion: Fusion = Field(default_factory=Fusion, description="How the edges' models are fused.")
    target_accuracy: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Rounds end early when the round's base model reaches this mean accuracy on the edges' held-out samples "
        "(0: run all).",
    )

    @field_validator("edges")
    @classmethod
    def _each_once(cls, edges: tuple[str, ...]) -> tuple[str, ...]:
        return each_once(edges)

    @field_validator("quorum")
    @classmethod
    def _can_be_met(cls, quorum: int, others: ValidationInfo) -> int:
        edges = others.data.get("edges")
        if edges and quorum > len(edges):
            raise ValueError(f"name more edges, or give at most {len(edges)}, their number")
        return quorum


class Task(Document):
    """A deep-learning task: the cloud's part (model, pretraining) and the edges' part (data format, target accuracy)."""

    name: str = Field(min_length=1, max_length=200, description="What people call the task.")
    id: str = Field(pattern=NAME, description="Id of the task and of its run. The same id again goes on where it was.")
    model_file_name: str = Field(
        default="model.safetensors",
        pattern=FILE_NAME,
        description="File name of the generated model; without its ending it is the registered model's name. By default the "
        "model is registered under the task's name.",
    )
    model: ModelSpec = Field(default_factory=ModelSpec, description="The network.")
    data: DataFormat = Field(description="Format of the samples, in the cloud and at the edge.")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="All randomness of the run follows from it.")
    pretraining: Training = Field(default_factory=Training, description="Training in the cloud.")
    collaborate: bool = Field(default=True, description="Whether edges take part; if not, the run ends after pretraining.")
    collaboration: Collaboration = Field(default_factory=Collaboration, description="How edges take part.")
