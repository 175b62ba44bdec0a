"""Training on a production line: its edge server gathers what the line's detectors recorded, and learns what is normal."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cloudedge.documents.inspection import DetectorName, InspectionTraining
from cloudedge.documents.kinds import Result, Work
from cloudedge.documents.report import MOST_CLASSES, Count, Figures, Name, Text, at_most
from cloudedge.names import NAME, SHA256


class InspectTrain(Work):
    """How to train from the weights 'backbone'; 'model' is the ONNX file that will be deployed, 'deployable' its manifest."""

    inputs: ClassVar = frozenset({"backbone"})
    outputs: ClassVar = frozenset({"model", "deployable"})

    kind: Literal["inspect-train"] = Field(default="inspect-train", description="Kind of work.")
    name: str = Field(pattern=NAME, description="Name that the model will be registered under.")
    training: InspectionTraining = Field(description="What is gathered, generated and learned.")
    seed: int = Field(default=0, ge=0, description="All randomness of the work follows from it.")


class InspectTrained(Result):
    """What training on a line came to."""

    kind: Literal["inspect-train"] = Field(default="inspect-train", description="Kind of work.")
    sha256: str = Field(pattern=SHA256, description="Digest of the ONNX file.")
    gathered: Annotated[dict[Name, Count], at_most(MOST_CLASSES)] = Field(
        default_factory=dict, max_length=MOST_CLASSES, description="Images gathered of each label."
    )
    missing: Annotated[dict[DetectorName, Annotated[Text, Field(max_length=2000)]], at_most(1000)] = Field(
        default_factory=dict, max_length=1000, description="Detectors whose images did not all arrive, and why."
    )
    passed_over: Count = Field(default=0, description="Images that could not be read.")
    data_fingerprint: str = Field(
        default="", pattern=r"^([0-9a-f]{64})?$", description="Digest over the digests of all images used."
    )
    threshold: float = Field(allow_inf_nan=False, description="Score above which a part is rejected.")
    figures: Figures = Field(default_factory=dict, description="What was measured on held-out images, by name.")


WORK, RESULT = InspectTrain, InspectTrained
