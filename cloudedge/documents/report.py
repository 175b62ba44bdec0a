"""What an edge says of its work while it goes on."""

import json
from collections.abc import Iterable, Sized
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, model_validator
from pydantic_core import PydanticKnownError

from cloudedge.documents import earlier
from cloudedge.documents.base import Document, Told, Versioned
from cloudedge.names import NAME, ORDER_ID
from cloudedge.texts import readable

if TYPE_CHECKING:
    from cloudedge.documents.order import Envelope

MAX_REPORT_BYTES = 4 * 1024 * 1024
MAX_HISTORY_BYTES = 64 * 1024 * 1024

MOST_POINTS = 10_000
"""Of a report: of training about 2.5 MB of JSON; reports may have 4 MiB."""

MOST_POINTS_KEPT = 100_000
"""Of a history."""

_MOST_STREAMS = 8
_MOST_FIGURES = 64
"""Of one moment."""

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
    DEPLOYING = "deploying"
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


class Stream(Told):
    """How far one line of the work has come."""

    name: str = Field(pattern=NAME, description="Which line: epochs, batches, ...")
    done: Count = Field(description="How much is done.")
    total: Count = Field(default=0, description="How much there is; 0: not known.")
    unit: Text = Field(max_length=100, description="What is counted, in the plural: epochs, bytes, ...")

    def words(self) -> str:
        """How far it has come, for a person."""
        return f"{self.done:,} of {self.total:,} {self.unit}" if self.total else f"{self.done:,} {self.unit}"


Streams = Annotated[tuple[Stream, ...], Field(max_length=_MOST_STREAMS), at_most(_MOST_STREAMS)]

Figures = Annotated[dict[Name, float], Field(max_length=_MOST_FIGURES), at_most(_MOST_FIGURES)]
"""Values by name; any may be infinite or no number."""


class Point(Told):
    """What was measured at one moment of the work. The points of an order are a series."""

    sequence: Count = Field(description="Place in the series, counted from 0; of training the epoch.")
    seconds: Seconds = Field(description="Seconds of work until then, since the work began.")
    values: Figures = Field(description="Values measured, by name.")

    @property
    def accuracy(self) -> float | None:
        """Share of the held-out samples classified correctly; none: it was not measured."""
        found = self.values.get("accuracy")
        return found if found is not None and 0 <= found <= 1 else None


def _in_order(points: tuple[Point, ...]) -> tuple[Point, ...]:
    for former, point in pairwise(points):
        if point.sequence <= former.sequence:
            raise ValueError(f"the point {point.sequence} stands behind the point {former.sequence}; give each once, in order")
    return points


Points = Annotated[tuple[Point, ...], Field(max_length=MOST_POINTS), at_most(MOST_POINTS), AfterValidator(_in_order)]


class History(Document, Told):
    """All points of an order, as a file among its outputs."""

    order: str = Field(pattern=ORDER_ID, description="Id of the order.")
    points: Annotated[tuple[Point, ...], at_most(MOST_POINTS_KEPT), AfterValidator(_in_order)] = Field(
        default=(), max_length=MOST_POINTS_KEPT, description="The points by sequence; of more the first one and the last ones."
    )


class EpochRecord(Told):
    """One epoch: what was learned and how well it does on held-out samples. Epoch 0 is the model before training."""

    epoch: Count = Field(description="Passes over the samples so far.")
    train_loss: float | None = Field(default=None, description="Mean training loss of the epoch; none for epoch 0.")
    scores: Scores = Field(description="On held-out samples.")
    seconds: Seconds = Field(description="Duration of the epoch.")

    def point(self, begin: float) -> Point:
        """The epoch as a point.

        Args:
            begin: Seconds of work before it.
        """
        scores = self.scores
        values = {"accuracy": scores.accuracy, "recall": scores.recall, "loss": scores.loss} if scores.samples else {}
        if self.train_loss is not None:
            values["train_loss"] = self.train_loss
        return Point(sequence=self.epoch, seconds=begin + self.seconds, values=values)


def points_of(history: Iterable[EpochRecord]) -> tuple[Point, ...]:
    """All epochs so far, epoch 0 first, as points."""
    points: list[Point] = []
    for record in history:
        points.append(record.point(points[-1].seconds if points else 0.0))
    return tuple(points)


ScoresByModel = Annotated[dict[Name, Scores], Field(max_length=MOST_MODELS), at_most(MOST_MODELS)]


MOST_MESSAGE = 10_000
"""Characters of what is said of an error."""


class WorkError(Told):
    """Why work ended without a result."""

    kind: Text = Field(max_length=100, description="Name of the error's class.")
    message: Text = Field(max_length=MOST_MESSAGE, description="What happened and what to do.")

    @classmethod
    def of(cls, error: Exception, message: str = "") -> "WorkError":
        """An error as reports carry it.

        Args:
            error: The error.
            message: What is said of it; none: what it says itself.
        """
        return cls(kind=type(error).__name__, message=(message or str(error))[:MOST_MESSAGE])


class Report(Versioned, Told):
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
    progress: Streams = Field(
        default=(),
        description="How far the work has come; each stream is a part of what the one before it does next.",
    )
    gauges: Figures = Field(default_factory=dict, description="Figures of the moment, which no point has: samples, loss, ...")
    points: Points = Field(
        default=(),
        description="The first point and the last ones, by sequence; of work that ended without a result as many as go in.",
    )
    heartbeat_at: Time = Field(description="When this was written, by the edge's clock.")
    runner_version: Text = Field(default="", max_length=100, description="Version of the runner's software.")
    error: WorkError | None = Field(default=None, description="Why it failed, if it did; or what holds it up.")

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, value: Any) -> Any:
        return earlier.report(value)

    @property
    def samples(self) -> int:
        """Samples that the work takes, as the edge last counted them; 0: it has not."""
        found = self.gauges.get("samples", 0.0)
        return int(found) if 0 <= found <= MOST_COUNT else 0

    @property
    def share(self) -> float:
        """Share of the work that is done, as far as its streams tell, 0 to 1."""
        share = 0.0
        for stream in reversed(self.progress):
            share = min((stream.done + share) / stream.total, 1.0) if stream.total else 0.0
        return share

    def words(self) -> str:
        """Phase and progress, for a person."""
        return ", ".join([self.phase, *(stream.words() for stream in self.progress)])

    def to_json_for(self, order: "Envelope") -> bytes:
        """As whoever issued the order reads it: a cloud of version 0.1 knows only the form of its time."""
        if order.schema_version > 1:
            return self.to_json()
        value = earlier.report_as_of_version_1(self.model_dump(mode="json"))
        return json.dumps(value, indent=2).encode() + b"\n"
