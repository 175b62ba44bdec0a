"""The user-defined format of samples: how a raw record becomes a tensor and a label."""

import math
import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from cloudedge.documents.base import Part, each_once, is_stored
from cloudedge.names import FIELD_NAME, folded, is_passed_over

CHANNELS = {1: "grayscale", 3: "RGB", 4: "RGBA"}
"""What an image's channels are, by their number."""

LEAST_SCALE = 1e-30
"""With a smaller one, all values become the same to the model."""

_FOLDER_BYTES = 255
"""Longest name that a file system gives a folder."""

Dtype = Literal["uint8", "int16", "int32", "int64", "float32", "float64"]
ClassName = Annotated[str, Field(min_length=1, max_length=200)]
Length = Annotated[int, Field(ge=1)]
Column = Annotated[str, Field(min_length=1, max_length=200)]


class SampleField(Part):
    """One named part of a sample that the model reads."""

    name: str = Field(
        pattern=FIELD_NAME,
        description="Key in a JSON line, column (or prefix of columns name_0, name_1, ...) in a CSV file, array in an npz "
        "file; in an image folder the one field is the image.",
    )
    column: Column | None = Field(
        default=None,
        exclude_if=lambda column: column is None,
        description="What the files call it, where that is no such name, for example 'sepal length (cm)': the CSV column (or "
        "the prefix of columns), the key or the array; by default the field's name.",
    )
    shape: tuple[Length, ...] = Field(
        default=(),
        max_length=4,
        description="Shape of one sample's value, without the batch; () for a single number. "
        "Images: (channels, height, width).",
    )
    dtype: Dtype = Field(default="float32", description="Type of the stored numbers; the model gets float32.")
    scale: float = Field(
        default=1.0,
        gt=-1e12,
        lt=1e12,
        description="The model gets (value - offset) * scale. For 8-bit pixels: 1/255. Never 0.",
    )
    offset: float = Field(default=0.0, gt=-1e12, lt=1e12, description="Subtracted from each value before scaling.")

    @field_validator("shape")
    @classmethod
    def _bounded(cls, shape: tuple[int, ...]) -> tuple[int, ...]:
        if math.prod(shape) > 50_000_000:
            raise ValueError(f"these are {math.prod(shape)} numbers; at most 50000000 are allowed")
        return shape

    @field_validator("column")
    @classmethod
    def _not_blank(cls, column: str | None) -> str | None:
        return column if column is None else _not_blank(column)

    @field_validator("scale")
    @classmethod
    def _tells_values_apart(cls, scale: float, info: ValidationInfo) -> float:
        if abs(scale) < LEAST_SCALE and not is_stored(info):
            raise ValueError(f"every value would become the same; give {LEAST_SCALE} or more, or -{LEAST_SCALE} or less")
        return scale

    @property
    def stored_as(self) -> str:
        """What the files call it."""
        return self.column or self.name


class DataFormat(Part):
    """How samples are stored and what the model gets of them."""

    one_on_forms: ClassVar[bool] = True

    storage: Literal["image-folder", "csv", "json-lines", "npz"] = Field(
        description="image-folder: <label>/<file>.png; csv: a header and a row a sample; json-lines: an object a line; "
        "npz: arrays whose first axis counts samples (never pickled)."
    )
    fields: tuple[SampleField, ...] = Field(
        min_length=1, max_length=1000, description="What the model reads; several fields are flattened and joined."
    )
    label: str = Field(
        default="label",
        pattern=FIELD_NAME,
        description="Name of the label's key, column or array; in an image folder a folder's name is the label.",
    )
    label_column: Column | None = Field(
        default=None,
        validate_default=True,
        exclude_if=lambda column: column is None,
        description="What the files call the label, where that is another name; as a field's column.",
    )
    classes: tuple[ClassName, ...] = Field(
        min_length=2,
        max_length=100_000,
        description="Names of the classes; a label is one of them. Where no class is named like a number, a label may also be "
        "the index of one.",
    )
    held_out: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="Share of each class's samples that is never trained on and serves to measure accuracy.",
    )

    @field_validator("fields")
    @classmethod
    def _fields_differ(cls, fields: tuple[SampleField, ...], info: ValidationInfo) -> tuple[SampleField, ...]:
        each_once(tuple(field.name for field in fields))
        if info.data.get("storage") == "image-folder":
            _require_image(fields, is_stored(info))
        elif not is_stored(info):
            each_once(tuple(folded(field.stored_as) for field in fields))
            if info.data.get("storage") == "csv":
                _require_own_columns([field.stored_as for field in fields], fields)
        return fields

    @field_validator("label")
    @classmethod
    def _label_is_no_field(cls, label: str, info: ValidationInfo) -> str:
        if not is_stored(info) and any(field.name == label for field in info.data.get("fields", ())):
            raise ValueError(
                "a field has this name, so the model would be told the answer; name another, or take the field away"
            )
        return label

    @field_validator("label_column")
    @classmethod
    def _label_is_read_by_no_field(cls, column: str | None, info: ValidationInfo) -> str | None:
        image_folder = info.data.get("storage") == "image-folder"
        if column is not None and image_folder:
            raise ValueError("an image folder has no columns; leave it out")
        if column is not None:
            _not_blank(column)
        name = column or info.data.get("label")
        fields = info.data.get("fields", ())
        if name is None or image_folder or is_stored(info):
            return column
        if any(folded(field.stored_as) == folded(name) for field in fields):
            raise ValueError(f"a field reads {name!r} too, so the model would be told the answer; correct one of them")
        if info.data.get("storage") == "csv":
            _require_own_columns([name], fields)
        return column

    @field_validator("classes")
    @classmethod
    def _classes_differ(cls, classes: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if is_stored(info):
            return each_once(classes)
        for name in classes:
            _not_blank(name)
            if info.data.get("storage") == "image-folder":
                _require_folder_name(name)
        each_once(tuple(folded(name) for name in classes))
        return classes

    @property
    def label_stored_as(self) -> str:
        """What the files call the label."""
        return self.label_column or self.label

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one model input: the field's own, or (n,) where several fields are joined."""
        if len(self.fields) == 1 and self.fields[0].shape:
            return self.fields[0].shape
        return (sum(math.prod(field.shape) for field in self.fields),)


def _not_blank(name: str) -> str:
    if not folded(name):
        raise ValueError(f"{name!r} is nothing but space; give it a name")
    return name


def _require_image(fields: tuple[SampleField, ...], stored: bool) -> None:
    if len(fields) != 1 or len(fields[0].shape) != 3:
        raise ValueError("an image folder has one field, of shape (channels, height, width)")
    if fields[0].column is not None:
        raise ValueError("an image folder has no columns; leave 'column' out")
    first, second, last = fields[0].shape
    if first not in CHANNELS and not stored:
        hint = f"; is it height x width x channels? Then give [{last}, {first}, {second}]" if last in CHANNELS else ""
        raise ValueError(f"the first number counts channels, and images have 1 (grayscale), 3 (RGB) or 4 (RGBA){hint}")


def _require_folder_name(name: str) -> None:
    fault = None
    if "/" in name or "\0" in name:
        fault = "no folder's name can hold '/' or NUL"
    elif is_passed_over(name):
        fault = "hidden and system folders are passed over"
    elif len(name.encode("utf-8", "surrogatepass")) > _FOLDER_BYTES:
        fault = f"a folder's name has at most {_FOLDER_BYTES} bytes"
    if fault:
        raise ValueError(
            f"the class {name!r} cannot be the name of an image's folder: {fault}; rename it, or store samples as npz"
        )


def _require_own_columns(names: Sequence[str], fields: Sequence[SampleField]) -> None:
    """Make sure that no field of a shape reads one of these CSV columns as one of its own name_0, name_1, ..."""
    shaped = {folded(field.stored_as): field for field in fields if field.shape}
    for name in names:
        found = re.fullmatch(r"(.+)_(0|[1-9][0-9]*)", folded(name))
        field = shaped.get(found[1]) if found else None
        if found and field and int(found[2]) < math.prod(field.shape):
            last = math.prod(field.shape) - 1
            raise ValueError(
                f"the column {name!r} is also one of those of the field {field.name!r}, {field.stored_as}_0 to "
                f"{field.stored_as}_{last}; rename one of them"
            )
