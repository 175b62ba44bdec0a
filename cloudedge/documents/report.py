"""What an edge says of its work while it goes on."""

from collections.abc import Sized
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field
from pydantic_core import PydanticKnownError

from cloudedge.documents.base import Document, Told
from cloudedge.names import NAME, ORDER_ID
from cloudedge.texts import readable

MAX_REPORT_BYTES = 4 * 1024 * 1024

MOST_EPOCHS = 10_000
"""About 2.5 MB of JSON; reports and manifests may have 4 MiB."""

MOST_COUNT = 2**53 - 1
"""Up to here JSON, floating-point numbers and MLflow hold each integer as it is, and sums over all edges stay far from any end
of the numbers that there are."""

MOST_SECONDS = 20_000_000
"""Twice the longest time limit of an order. Even all epochs of a history together stay within a calendar."""

_LONGEST_NAME, MOST_CLASSES, MOST_MODELS = 200, 100_000, 64
"""As tasks and orders may have them."""


def at_most(most: int) -> BeforeValidator:
    """Refuses a longer list or object unread: a million entries have millions of faults, each of which takes a kilobyte."""

    def checked(value: Any) -> Any:
        if isinstance(value, Sized) and len(value) > most:
            raise PydanticKnownError("too_long", {"field_type": "Value", "max_length": most, "actual_length": len(value)})
        return value

    return BeforeValidator(checked)


Count = Annotated[int, Field(ge=0, le=MOST_COUNT)]
Seconds = Annotated[float, Field(ge=0, le=MOST_SECONDS)]
Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, AfterValidator(readable)]
Name = Annotated[str, Field(max_length=_LONGEST_NAME)]
Time = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(2500, 1, 1, tzinfo=UTC))]
"""What a computer's clock may show; no time zone leads out of the calendar from there."""


class Phase(StrEnum):
    """Where an order stands at its edge."""

    ACCEPTED = "accepted"
    FETCHING = "fetching"
    COLLECTING = "collecting"
    TRAINING = "training"
    EVALUATING = "evaluating"
    UPLOADING = "uploading"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self in (Phase.DONE, Phase.FAILED, Phase.CANCELLED)


class Scores(Told):
    """A model measured on held-out samples."""

    samples: Count = Field(description="Number of samples measured on; of 0 samples all scores are 0 and say nothing.")
    loss: float = Field(description="Mean loss per sample; of a model that diverged it may be infinite or no number.")
    accuracy: Share = Field(description="Share of the samples classified correctly.")
    recall: Share = Field(description="Mean over the classes present of the share of each found (macro recall).")

    @property
    def measured(self) -> float | None:
        """The accuracy, if there was a sample to measure it on."""
        return self.accuracy if self.samples else None


class EpochRecord(Told):
    """One epoch: what was learned and how well it does on held-out samples. Epoch 0 is the model before training."""

    epoch: Count = Field(description="Passes over the samples so far.")
    train_loss: float | None = Field(default=None, description="Mean training loss of the epoch; none for epoch 0.")
    scores: Scores = Field(description="On held-out samples.")
    seconds: Seconds = Field(description="Duration of the epoch.")


History = Annotated[tuple[EpochRecord, ...], Field(max_length=MOST_EPOCHS), at_most(MOST_EPOCHS)]


ScoresByModel = Annotated[dict[Name, Scores], Field(max_length=MOST_MODELS), at_most(MOST_MODELS)]


class WorkError(Told):
    """Why work ended without a result."""

    kind: Text = Field(max_length=100, description="Name of the error's class.")
    message: Text = Field(max_length=10_000, description="What happened and what to do.")


class Report(Document, Told):
    """How an order stands. One small object per order, overwritten as work goes on."""

    order: str = Field(pattern=ORDER_ID, description="Id of the order.")
    edge: str = Field(pattern=NAME, description="Name of the edge.")
    incarnation: str = Field(
        default="",
        pattern=r"^([0-9a-f]{32})?$",
        description="Made at random with the runner's state: a runner that lost its state is another one, and counts anew.",
    )
    sequence: int = Field(
        ge=1, lt=2**63, description="Grows with every report of this incarnation on this order; an older one is ignored."
    )
    phase: Phase = Field(description="Where the order stands.")
    epoch: Count = Field(default=0, description="Epoch at work, counted from 1; 0 before the first.")
    epochs: Count = Field(default=0, description="Largest number of epochs until the next collection of samples.")
    batch: Count = Field(default=0, description="Batch at work in this epoch, counted from 1.")
    batches: Count = Field(default=0, description="Batches of an epoch.")
    loss: float | None = Field(default=None, description="Training loss of the last batch.")
    history: History = Field(default=(), description="All finished epochs, epoch 0 first.")
    samples: Count = Field(default=0, description="Samples to train on, as this edge last counted them.")
    recollections: Count = Field(default=0, description="Collections of further samples so far.")
    heartbeat_at: Time = Field(description="When this was written, by the edge's clock.")
    runner_version: Text = Field(default="", max_length=100, description="Version of the runner's software.")
    error: WorkError | None = Field(default=None, description="Why it failed, if it did.")
