"""What became of a round's results."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from cloudedge.documents.base import Document, Part
from cloudedge.names import NAME, SHA256
from cloudedge.texts import shortened


def _bounded(reason: str) -> str:
    # What an edge gave as its reason must not make the record of all edges too large to be read.
    return shortened(reason, 2000)


class ContributionRecord(Part):
    """A model that took part in a fusion."""

    edge: str = Field(pattern=NAME, description="Edge that trained it.")
    round: int = Field(ge=0, description="Round that it was trained in; an earlier one than the fusion's if it came late.")
    attempt: int = Field(
        default=0, ge=0, description="Attempt of the edge in that round that brought it; 0: not said, as up to version 0.1."
    )
    sha256: str = Field(pattern=SHA256, description="Digest of its file.")
    samples: int = Field(ge=0, description="Samples it was trained on.")
    accuracy: float | None = Field(
        default=None, ge=0, le=1, description="On the edge's held-out samples; none: it has no such sample."
    )
    files_passed_over: int = Field(default=0, ge=0, description="Files of samples at its edge that do not fit the format.")
    weight: float = Field(description="Its share in the fused model; of rules that do not average, 1 if used and 0 if not.")

    @property
    def step(self) -> str:
        """Step that its order was of."""
        return str(self.round)


class LeftOut(Part):
    """An edge without part in a fusion, or in a measurement."""

    edge: str = Field(pattern=NAME, description="Edge.")
    reason: Annotated[str, AfterValidator(_bounded)] = Field(description="Why; cut after 2000 characters.")


class FusionRecord(Document):
    """How one round's models became one. Written after the fused model, as its commit mark."""

    run: str = Field(pattern=NAME, description="Run.")
    round: int = Field(ge=0, description="Round.")
    rule: str = Field(description="Name of the fusion rule.")
    parameters: dict[str, Any] = Field(default_factory=dict, description="The rule's settings.")
    base_sha256: str = Field(pattern=SHA256, description="Digest of the round's base model.")
    base_weight: float = Field(description="The base model's share in the fused model.")
    base_accuracy: float | None = Field(
        default=None, description="The base model's mean accuracy on the edges' held-out samples, weighted by their number."
    )
    contributions: tuple[ContributionRecord, ...] = Field(description="Models fused, ordered by edge.")
    left_out: tuple[LeftOut, ...] = Field(default=(), description="Edges without part, and why.")
    sha256: str = Field(pattern=SHA256, description="Digest of the fused model.")
    size: int = Field(ge=0, description="Length of the fused model's file in bytes.")
    seconds: float = Field(ge=0, description="Duration of the fusion.")
    bytes_read: int = Field(ge=0, description="Bytes of models read.")
    notes: tuple[str, ...] = Field(default=(), description="What a person should know of it.")
