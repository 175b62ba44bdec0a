"""Training for a production line: at the line's edge server, from what its detectors recorded; judged in the cloud."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from cloudedge.documents.base import Part
from cloudedge.documents.inspection import InspectionTraining, Share
from cloudedge.documents.task import Task
from cloudedge.names import MAYBE_NAME, NAME


class GateBounds(Part):
    """What a model must reach on the cloud's test set to be named in a deployment; what could not be measured is no reason."""

    auroc: Share = Field(default=0.9, description="Least area under the ROC curve, image by image.")
    pixel_auroc: Share = Field(default=0.0, description="The same place by place, where the test set has masks.")
    accuracy: Share = Field(default=0.75, description="Least share of images judged rightly.")
    recall: Share = Field(default=0.0, description="Least share of each class's images that are judged rightly.")


class InspectionTrainingTask(Task):
    """A training for one brand of a production line."""

    form_names: ClassVar[Mapping[str, str]] = {**Task.form_names, "training": ""}

    kind: Literal["inspection-training"] = Field(default="inspection-training", description="System that the task is for.")
    line: str = Field(pattern=NAME, description="Edge that is the production line's edge server.")
    model_name: str = Field(
        default="",
        pattern=MAYBE_NAME,
        description="Name of the registered model; empty: the brand's.",
    )
    weights: str = Field(
        default="",
        max_length=1024,
        description="Weights of the backbone that training begins with: store:NAME, or a path, of a safetensors file of "
        "EfficientNet-Lite0; empty: the ImageNet-trained ones that come with cloudedge.",
    )
    training: InspectionTraining = Field(description="What is gathered, generated and learned.")
    gate: GateBounds = Field(default_factory=GateBounds, description="Gate.")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="All randomness of the run follows from it.")
    deadline_seconds: float = Field(
        default=3600, gt=0, le=2_592_000, description="How long the line's edge server may work, in seconds."
    )

    @property
    def registered_model(self) -> str:
        """Name in the registry."""
        return self.model_name or self.training.brand


TASK = InspectionTrainingTask
