"""Collaborative training: one model, trained in the cloud and at the edges."""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, ClassVar, Literal

from pydantic import Field

from cloudedge.documents.base import Part
from cloudedge.documents.data import DataFormat
from cloudedge.documents.task import EdgeNames, Quorum, Task
from cloudedge.documents.training import ModelSpec, Recollection, Training
from cloudedge.names import FILE_NAME, NAME


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

    form_names: ClassVar[Mapping[str, str]] = {
        "target_accuracy": "rounds_target_accuracy",
        "training": "edge",
        "recollection": "edge",
    }

    edges: EdgeNames = Field(
        default=(), max_length=100_000, description="Names of the participating edges; empty: all enrolled ones."
    )
    rounds: int = Field(default=3, ge=1, le=100_000, description="Largest number of rounds.")
    quorum: Quorum = Field(
        default=0, le=100_000, description="Results that a round needs; 0: all. Below it at the deadline the run fails."
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


class TrainingTask(Task):
    """A deep-learning task: the cloud's part (model, pretraining) and the edges' part (data format, target accuracy)."""

    form_names: ClassVar[Mapping[str, str]] = {**Task.form_names, "data": "data_format", "collaboration": ""}

    # Left out as it was before there were other kinds, so that a task is the same bytes as then.
    kind: Literal["collaborative-training"] = Field(
        default="collaborative-training", exclude_if=lambda _: True, description="System that the task is for; may be left out."
    )
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

    @property
    def registered_model(self) -> str:
        """Name in MLflow's registry: the model's file's, else the task's, as all tasks would share the default's. Without dots.

        Of a task's name nothing that tells it from others may be lost: where its letters do not fit, the id stands for it.
        """
        if self.model_file_name != TrainingTask.model_fields["model_file_name"].default:
            return PurePath(self.model_file_name).stem.replace(".", "-")
        name = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")
        return name if name and self.name.isascii() else self.id


TASK = TrainingTask
