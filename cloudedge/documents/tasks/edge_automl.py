"""AutoML at the edge: each device gets the best model that it can bear, found on its own samples."""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from cloudedge.documents.automl import MOST_MILLISECONDS, Limits
from cloudedge.documents.base import Part
from cloudedge.documents.data import DataFormat
from cloudedge.documents.report import Share
from cloudedge.documents.task import EdgeNames, Quorum, Task
from cloudedge.documents.training import Training
from cloudedge.names import MAYBE_NAME


class Allowed(Part):
    """What a model may cost on a device by itself; its queue and its resources may allow less."""

    form_names: ClassVar[Mapping[str, str]] = {
        "latency_ms": "latency_limit_ms",
        "memory_bytes": "memory_limit_bytes",
        "energy_joules": "energy_limit_joules",
    }

    latency_ms: float = Field(
        default=0,
        ge=0,
        le=MOST_MILLISECONDS,
        description="Longest time of one inference, beside a busy neighbour, in milliseconds (0: what the queue leaves).",
    )
    memory_bytes: int = Field(default=0, ge=0, le=2**50, description="Most memory of an inference, in bytes (0: what is free).")
    energy_joules: float = Field(default=0, ge=0, le=1e12, description="Most energy of one inference, in joules (0: any).")

    @property
    def limits(self) -> Limits:
        """The same, with none for what is not limited."""
        return Limits(
            latency_ms=self.latency_ms or None,
            memory_bytes=self.memory_bytes or None,
            energy_joules=self.energy_joules or None,
        )


class CandidateTraining(Training):
    """How a candidate is trained: as small networks with batch normalisation learn."""

    epochs: int = Field(default=15, ge=1, le=100_000, description="Largest number of passes over the samples.")
    batch_size: int = Field(default=25, ge=1, le=65_536, description="Samples per step.")
    learning_rate: float = Field(default=0.005, gt=0, le=100, description="Step size of the optimizer.")
    optimizer: Literal["sgd", "momentum", "adam", "adamw"] = Field(default="adam", description="Optimizer.")


class EdgeAutomlTask(Task):
    """A search for a model on some edge devices, each by itself."""

    form_names: ClassVar[Mapping[str, str]] = {**Task.form_names, "data": "data_format", "allowed": ""}

    kind: Literal["edge-automl"] = Field(default="edge-automl", description="System that the task is for.")
    edges: EdgeNames = Field(
        default=(), max_length=1000, description="Names of the devices that search; empty: all enrolled edges."
    )
    data: DataFormat = Field(description="Format of the samples on the devices: images.")
    allowed: Allowed = Field(default_factory=Allowed, description="Allowed.")
    trials: int = Field(default=3, ge=1, le=200, description="Candidates that a device trains, at most.")
    training: CandidateTraining = Field(
        default_factory=CandidateTraining,
        description="Training of a candidate. Its loss counts where no meta model chooses one. A model that reaches the target "
        "accuracy and keeps the limits ends the device's search.",
    )
    least_accuracy: Share = Field(
        default=0.0,
        description="A model that is right less often on a device's held-out samples is not registered; neither is one that is "
        "right no more often than chance.",
    )
    backlog_share: Share = Field(
        default=0.1, description="Share of the work in a device's queue that an inference has to wait for there."
    )
    inference_threads: int = Field(default=1, ge=1, le=1024, description="Threads that an inference computes with.")
    calibration_seconds: float = Field(
        default=180,
        ge=1,
        le=180,
        description="How long a device is calibrated where it is not yet, in seconds. One that needs longer for the fewest "
        "measurements by which anything can be told has three minutes for these.",
    )
    meta_model: str = Field(
        default="",
        pattern=MAYBE_NAME,
        description="Meta model that says how large a search may be: the id of the run that trained it, or 'shipped'; empty: "
        "the newest that passed its gate, or else the one that comes with cloudedge.",
    )
    model_name: str = Field(
        default="",
        pattern=MAYBE_NAME,
        description="Name of the registered model; empty: the task's id.",
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="All randomness of the run follows from it.")
    quorum: Quorum = Field(default=1, le=1000, description="Devices that must deliver; 0: all.")
    deadline_seconds: float = Field(
        default=3600, gt=0, le=2_592_000, description="How long a device may work, in seconds; then those count that delivered."
    )

    @property
    def least(self) -> float:
        """Accuracy that a model has to exceed to be registered: chance, or a little less than what is asked for."""
        return max(1 / len(self.data.classes), math.nextafter(self.least_accuracy, 0))

    @property
    def registered_model(self) -> str:
        """Name in the registry."""
        return self.model_name or self.id


TASK = EdgeAutomlTask
