"""What the gate of a training for a production line leaves in the store."""

from typing import Annotated

from pydantic import Field

from cloud.runs.run import Run
from cloudedge.documents.base import Document, Part
from cloudedge.documents.deployable import Deployable
from cloudedge.names import SHA256

MODEL, DEPLOYABLE = "model", "deployable"
"""Names of the outputs of the work to train."""

TRAIN = "train"
"""Name of the step in which the line's edge server trains."""

Share = Annotated[float, Field(ge=0, le=1)]


class Weights(Document):
    """The weights that a run's training begins with."""

    sha256: str = Field(pattern=SHA256, description="Digest of the safetensors file.")
    size: int = Field(ge=0, description="Its length in bytes.")

    @property
    def key(self) -> str:
        """Its key in the store, where all runs that begin with it find it."""
        return f"weights/{self.sha256}.safetensors"


class JudgedImage(Part):
    """An image of the test set, and what the model said of it."""

    name: str = Field(max_length=2000, description="Its path in the test set.")
    label: str = Field(max_length=200, description="Its label: normal, or a defect's name.")
    score: float = Field(description="How far it is from what is normal.")
    rejected: bool = Field(description="Whether the model rejects it.")
    defect: str = Field(default="", max_length=200, description="The defect that the model names; empty: none.")


class GateRecord(Document):
    """How the file that will be deployed did on the cloud's test set."""

    sha256: str = Field(pattern=SHA256, description="Digest of the ONNX file that was judged.")
    deployable: Deployable = Field(description="Its manifest.")
    passed: bool = Field(description="Whether it may be deployed.")
    faults: tuple[str, ...] = Field(default=(), description="Why it may not.")
    images: dict[str, int] = Field(default_factory=dict, description="Images of each label in the test set.")
    auroc: Share | None = Field(default=None, description="Area under the ROC curve, image by image; none: not measured.")
    pixel_auroc: Share | None = Field(default=None, description="The same place by place; none: the test set has no masks.")
    accuracy: Share | None = Field(default=None, description="Share of images judged rightly.")
    recall: dict[str, Share] = Field(default_factory=dict, description="Share of each label's images judged rightly.")
    named: dict[str, Share] = Field(
        default_factory=dict, description="Share of each defect's images whose defect is named rightly."
    )
    judged: tuple[JudgedImage, ...] = Field(default=(), max_length=100_000, description="The images, in the order of judging.")
    pictures: tuple[str, ...] = Field(default=(), description="Images of which the store has a picture with a heat map.")
    seconds_per_image: float = Field(default=0.0, ge=0, description="Mean duration of judging an image in the cloud.")

    @property
    def verdict(self) -> str:
        """What follows for the model, in a sentence."""
        if self.passed:
            return "Gate passed."
        return f"Gate refused: {'; '.join(self.faults)}. So the model is not registered, and no deployment takes it."


def gate_of(run: Run) -> GateRecord | None:
    """What a run's gate said, once it did."""
    return run.find(GateRecord, run.key("gate.json"))


def picture_key(run: Run, number: int) -> str:
    """Key of one of the pictures that a run's gate drew, PNG; in the order of `GateRecord.pictures`."""
    return run.key("gate", f"{number:03d}.png")
