"""Deployment on a production line: a model that passed its gate replaces the one that its detectors judge by."""

from typing import Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from cloudedge.documents.base import Part, is_stored
from cloudedge.documents.inspection import Bounds, Detectors, Rollout
from cloudedge.documents.task import Task
from cloudedge.names import NAME


class Override(Part):
    """A person's word that a model is deployed although no gate let it pass."""

    by: str = Field(default="", max_length=200, description="Who says so; empty: nobody, and the gate's word holds.")
    reason: str = Field(default="", max_length=2000, description="Why.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if bool(self.by.strip()) != bool(self.reason.strip()):
            raise ValueError("say both who overrides the gate and why, or neither")
        return self


class InspectionDeploymentTask(Task):
    """A deployment to some detectors of a production line."""

    kind: Literal["inspection-deployment"] = Field(default="inspection-deployment", description="System that the task is for.")
    line: str = Field(pattern=NAME, description="Edge that is the production line's edge server.")
    brand: str = Field(pattern=NAME, description="Product variety whose parts the model will judge.")
    model: str = Field(
        min_length=1,
        max_length=200,
        description="What is deployed: the id of the run that made it, or a registered model as NAME, NAME/VERSION or "
        "NAME@ALIAS.",
    )
    detectors: Detectors = Field(default=(), description="Detectors that get it; empty: all of the line.")
    rollout: Rollout = Field(default_factory=Rollout, description="Rollout.")
    bounds: Bounds = Field(default_factory=Bounds, description="Bounds.")
    override: Override = Field(default_factory=Override, description="Override.")
    deadline_seconds: float = Field(
        default=3600,
        gt=0,
        le=2_592_000,
        description="How long the deployment may take, in seconds: canaries judge first, then each detector watches the model.",
    )

    @model_validator(mode="after")
    def _can_end(self, info: ValidationInfo) -> Self:
        canary_seconds = self.rollout.canary_seconds if self.rollout.canaries else 0.0
        least = canary_seconds + self.bounds.watch_seconds
        if self.deadline_seconds <= least and not is_stored(info):
            raise ValueError(
                f"deadline_seconds is {self.deadline_seconds:g}, and canaries and watch take {least:g} s already; "
                "allow more, or lower bounds.watch_seconds"
            )
        return self


TASK = InspectionDeploymentTask
