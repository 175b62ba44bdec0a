"""Searching for a model on an edge device, within what its queue and its resources leave for it."""

from typing import ClassVar, Literal

from pydantic import Field

from cloudedge.documents.automl import Candidate, Costs, Limits, Loss, NothingFeasible, Processor
from cloudedge.documents.data import DataFormat
from cloudedge.documents.kinds import Result, Work
from cloudedge.documents.report import Count, Seconds, Share, Text
from cloudedge.documents.training import Training
from cloudedge.names import NAME


class Search(Work):
    """How to search. 'meta' is the meta model's weights, 'card' says what that is; 'search' is all that the search did.

    'model' is the best network that keeps the limits, the ONNX file that will be deployed, 'deployable' its manifest; where
    there is no such network there are neither.
    """

    inputs: ClassVar = frozenset({"meta", "card"})
    outputs: ClassVar = frozenset({"search", "model", "deployable"})
    may_lack: ClassVar = frozenset({"model", "deployable"})

    kind: Literal["search"] = Field(default="search", description="Kind of work.")
    name: str = Field(pattern=NAME, description="Name that the model will be registered under.")
    data: DataFormat = Field(description="Format of the samples that candidates learn from.")
    limits: Limits = Field(default_factory=Limits, description="What the model may cost by itself.")
    trials: int = Field(default=3, ge=1, le=200, description="Candidates that are trained, at most.")
    training: Training = Field(
        default_factory=Training,
        description="Training of a candidate. Its loss counts where no meta model chooses one. A model that reaches the target "
        "accuracy and keeps the limits ends the search.",
    )
    backlog_share: Share = Field(default=0.1, description="Share of the queue's work that an inference has to wait for.")
    threads: int = Field(default=1, ge=1, le=1024, description="Threads that an inference computes with.")
    calibration_seconds: float = Field(
        default=180,
        ge=1,
        le=180,
        description="How long the device is calibrated where it is not yet, in seconds. One that needs longer for the fewest "
        "measurements by which anything can be told has three minutes for these.",
    )
    seed: int = Field(default=0, ge=0, description="All randomness of the work follows from it.")


class Searched(Result):
    """What a search on a device came to."""

    kind: Literal["search"] = Field(default="search", description="Kind of work.")
    by: Literal["meta", "tpe", "nobody"] = Field(description="What led the search; nobody: there was nothing to search.")
    why: Text = Field(default="", max_length=2000, description="Why it was not the meta model.")
    limits: Limits = Field(description="What a model might cost, the queue and the resources taken into account.")
    trained: Count = Field(default=0, description="Candidates that were trained.")
    refused: Count = Field(
        default=0,
        description="Candidates that were measured above a limit, before or after a training, and are never returned.",
    )
    screened_out: Count = Field(default=0, description="Candidates that are expected to break a limit: none was trained.")
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$", description="Digest of the model's ONNX file; empty: none.")
    candidate: Candidate | None = Field(default=None, description="The network that it is.")
    loss: Loss | None = Field(default=None, description="Loss that it was trained with.")
    accuracy: Share | None = Field(default=None, description="Its accuracy on held-out samples.")
    costs: Costs | None = Field(default=None, description="What it costs on the device, measured.")
    nothing: NothingFeasible | None = Field(default=None, description="Why there was nothing to search.")
    words: Text = Field(default="", max_length=10_000, description="What came of it, in words.")
    samples: Count = Field(default=0, description="Samples that candidates were trained on.")
    data_fingerprint: str = Field(
        default="", pattern=r"^([0-9a-f]{64})?$", description="Digest over the digests of all samples used."
    )
    processor: Processor | None = Field(default=None, description="What computes on the device.")
    calibration_seconds: Seconds = Field(default=0, description="How long the device was calibrated; 0: it was before.")
    calibration_why: Text = Field(
        default="", max_length=1000, description="Why it was although it had been before; empty: it had not, or was not."
    )


WORK, RESULT = Search, Searched
