"""The user-defined format of samples: how a raw record becomes a tensor and a label."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field as Described
from pydantic import field_validator, model_validator

from cloudedge.documents.base import Part, each_once

Dtype = Literal["uint8", "int16", "int32", "int64", "float32", "float64"]
ClassName = Annotated[str, Described(min_length=1, max_length=200)]
Length = Annotated[int, Described(ge=1)]


class Field(Part):
    """One named part of a sample that the model reads."""

    name: str = Described(
        pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$",
        description="Key in a JSON line, column (or prefix of columns name_0, name_1, ...) in a CSV file, array in an npz "
        "file; in an image folder the one field is the image.",
    )
    shape: tuple[Length, ...] = Described(
        default=(),
        max_length=4,
        description="Shape of one sample's value, without the batch; () for a single number. "
        "Images: (channels, height, width).",
    )
    dtype: Dtype = Described(default="float32", description="Type of the stored numbers; the model gets float32.")
    scale: float = Described(
        default=1.0, gt=-1e12, lt=1e12, description="The model gets (value - offset) * scale. For 8-bit pixels: 1/255."
    )
    offset: float = Described(default=0.0, gt=-1e12, lt=1e12, description="Subtracted from each value before scaling.")

    @field_validator("shape")
    @classmethod
    def _bounded(cls, shape: tuple[int, ...]) -> tuple[int, ...]:
        if math.prod(shape) > 50_000_000:
            raise ValueError(f"these are {math.prod(shape)} numbers; at most 50000000 are allowed")
        return shape


class DataFormat(Part):
    """How samples are stored and what the model gets of them."""

    storage: Literal["image-folder", "csv", "json-lines", "npz"] = Described(
        description="image-folder: <label>/<file>.png; csv: a header and a row a sample; json-lines: an object a line; "
        "npz: arrays whose first axis counts samples (never pickled)."
    )
    fields: tuple[Field, ...] = Described(
        min_length=1, max_length=1000, description="What the model reads; several fields are flattened and joined."
    )
    label: str = Described(
        default="label",
        pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$",
        description="Name of the label's key, column or array; in an image folder the folder's name is the label.",
    )
    classes: tuple[ClassName, ...] = Described(
        min_length=2, max_length=100_000, description="Names of the classes; a label is one of them, or its index."
    )
    held_out: float = Described(
        default=0.2,
        gt=0,
        lt=1,
        description="Share of each class's samples that is never trained on and serves to measure accuracy.",
    )

    @field_validator("fields")
    @classmethod
    def _fields_differ(cls, fields: tuple[Field, ...]) -> tuple[Field, ...]:
        each_once(tuple(field.name for field in fields))
        return fields

    @field_validator("classes")
    @classmethod
    def _classes_differ(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        return each_once(classes)

    @model_validator(mode="after")
    def _image_folder_has_one_field(self) -> Self:
        if self.storage == "image-folder" and (len(self.fields) != 1 or len(self.fields[0].shape) != 3):
            raise ValueError("an image folder has one field, of shape (channels, height, width)")
        return self

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one model input: the field's own, or (n,) where several fields are joined."""
        if len(self.fields) == 1 and self.fields[0].shape:
            return self.fields[0].shape
        return (sum(math.prod(field.shape) for field in self.fields),)
