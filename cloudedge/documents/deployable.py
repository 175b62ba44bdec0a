"""A model as it is deployed: one ONNX file, and what must be known to run and to judge by it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cloudedge.documents.base import Document, Part, Told, each_once
from cloudedge.documents.data import ClassName, DataFormat
from cloudedge.documents.report import Count
from cloudedge.names import FIELD_NAME, MAYBE_NAME, NAME, SHA256

MAX_DEPLOYABLE_BYTES = 512 * 1024 * 1024
"""Of the ONNX file."""

MAX_DEPLOYABLE_MANIFEST_BYTES = 1024 * 1024

Datatype = Literal["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"]
"""As the Open Inference Protocol calls the types of numbers."""

Name = Annotated[str, Field(pattern=NAME)]


class Tensor(Part):
    """An input or an output of the model."""

    name: str = Field(pattern=FIELD_NAME, description="Its name in the graph.")
    datatype: Datatype = Field(description="Type of its numbers, as the Open Inference Protocol calls it.")
    shape: tuple[Annotated[int, Field(ge=-1, le=1_000_000)], ...] = Field(
        min_length=1, max_length=8, description="Its shape; the first number is -1, the batch."
    )


class ImageForm(Part):
    """What an image is before the model gets it: 8-bit RGB, as (batch, height, width, 3). All else is in the graph."""

    height: int = Field(default=128, ge=8, le=1024, description="Height in pixels; an image of another size is resized.")
    width: int = Field(default=128, ge=8, le=1024, description="Width in pixels; an image of another size is resized.")


class Lineage(Told):
    """Where a model comes from."""

    run: str = Field(default="", description="Run that made it.")
    edge: str = Field(default="", description="Edge that trained it; empty: the cloud, or several.")
    base_sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$", description="Digest of the weights that it began with.")
    data_fingerprint: str = Field(
        default="", pattern=r"^([0-9a-f]{64})?$", description="Digest over the digests of all samples used."
    )
    samples: Count = Field(default=0, description="Samples trained on.")
    software: str = Field(default="", max_length=100, description="Version of cloudedge that made it.")


class Deployable(Document, Told):
    """What is known of a model's file. Whoever runs the model has checked the file against it.

    The outputs are told apart by their names: `score` (batch) is how far an image is from what is normal, `map` (batch, height,
    width) the same for each place in it, `probabilities` (batch, classes) how likely each class is.
    """

    name: str = Field(pattern=NAME, description="Name of the registered model.")
    brand: str = Field(
        default="",
        pattern=MAYBE_NAME,
        description="Product variety that it judges; empty: any.",
    )
    sha256: str = Field(pattern=SHA256, description="Digest of the ONNX file.")
    size: int = Field(ge=1, le=MAX_DEPLOYABLE_BYTES, description="Length of the ONNX file in bytes.")
    inputs: tuple[Tensor, ...] = Field(min_length=1, max_length=16, description="Inputs, in the graph's order.")
    outputs: tuple[Tensor, ...] = Field(min_length=1, max_length=16, description="Outputs, in the graph's order.")
    image: ImageForm | None = Field(default=None, description="Form of images, where its one input is an image.")
    classes: tuple[ClassName, ...] = Field(
        default=(), max_length=100_000, description="Names of the classes that 'probabilities' are of, in their order."
    )
    threshold: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="A part whose score is above it is rejected; none: the model rejects nothing.",
    )
    lineage: Lineage = Field(default_factory=Lineage, description="Where it comes from.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        each_once(tuple(tensor.name for tensor in self.inputs))
        each_once(tuple(tensor.name for tensor in self.outputs))
        outputs = {tensor.name: tensor for tensor in self.outputs}
        if self.threshold is not None and "score" not in outputs:
            raise ValueError("it has a threshold and no output 'score'")
        if self.classes and "probabilities" not in outputs:
            raise ValueError("it has classes and no output 'probabilities'")
        if self.image:
            form = (-1, self.image.height, self.image.width, 3)
            if len(self.inputs) != 1 or self.inputs[0].datatype != "UINT8" or self.inputs[0].shape != form:
                raise ValueError(f"an image model has one input, UINT8 of shape {list(form)}")
        return self


def image_form(data: DataFormat) -> ImageForm | None:
    """The form of images, where the samples are 8-bit RGB or gray ones of a size that a detector may have."""
    field = data.fields[0]
    if len(data.fields) > 1 or field.dtype != "uint8" or len(field.shape) != 3 or field.shape[0] not in (1, 3):
        return None
    lengths = ImageForm.model_fields["height"].metadata
    least, most = (next(getattr(bound, at) for bound in lengths if hasattr(bound, at)) for at in ("ge", "le"))
    _, height, width = field.shape
    return ImageForm(height=height, width=width) if all(least <= size <= most for size in (height, width)) else None
