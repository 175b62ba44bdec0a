"""Deployment: a line's edge server hands a model to its detectors, which load it beside the one in use and swap."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cloudedge.documents.base import Told
from cloudedge.documents.inspection import Bounds, DetectorName, Detectors, Rollout
from cloudedge.documents.kinds import Result, Work
from cloudedge.documents.report import Count, Seconds, Share, Text, at_most
from cloudedge.names import NAME, SHA256


class Deploy(Work):
    """Which detectors get the ONNX file 'model' with its manifest 'deployable', and how."""

    inputs: ClassVar = frozenset({"model", "deployable"})
    outputs: ClassVar = frozenset()
    in_order: ClassVar = True

    kind: Literal["deploy"] = Field(default="deploy", description="Kind of work.")
    brand: str = Field(pattern=NAME, description="Product variety whose parts it will judge.")
    detectors: Detectors = Field(default=(), description="Detectors that get it; empty: all of the line.")
    rollout: Rollout = Field(default_factory=Rollout, description="In what order.")
    bounds: Bounds = Field(default_factory=Bounds, description="Within what it must stay.")


class Outcome(Told):
    """What became of a deployment at one detector."""

    state: Literal["serving", "failed", "rolled-back", "unreachable", "skipped"] = Field(
        description="serving: it judges by the model, which stayed within its bounds for as long as it was watched; failed: it "
        "could not load or run it; rolled-back: the model left its bounds; unreachable: it did not answer; skipped: the "
        "deployment ended before its turn. In all but the first the detector goes on with the model it had."
    )
    reason: Text = Field(default="", max_length=2000, description="Why, where it does not serve, or is still watched.")
    transfer_seconds: Seconds = Field(default=0.0, description="Duration of the transfer.")
    load_seconds: Seconds = Field(default=0.0, description="Duration of loading and warming up.")
    swap_gap_ms: float = Field(
        default=0.0,
        ge=0,
        le=1e9,
        description="Longest time that a part waited for its judgement within a second about the swap, in milliseconds.",
    )
    images: Count = Field(default=0, description="Images judged by it while it was watched.")
    reject_rate: Share = Field(default=0.0, description="Share of them rejected.")
    error_rate: Share = Field(default=0.0, description="Share of them on which it failed.")


class Deployed(Result):
    """What a deployment came to."""

    kind: Literal["deploy"] = Field(default="deploy", description="Kind of work.")
    sha256: str = Field(pattern=SHA256, description="Digest of the ONNX file.")
    brand: str = Field(default="", description="Product variety.")
    detectors: Annotated[dict[DetectorName, Outcome], at_most(1000)] = Field(
        default_factory=dict, max_length=1000, description="Outcome at each detector."
    )

    @property
    def serving(self) -> int:
        """Number of detectors that judge by it."""
        return sum(outcome.state == "serving" for outcome in self.detectors.values())


WORK, RESULT = Deploy, Deployed
