"""One stored sample, and the checks that every storage puts its values through."""

import re
from typing import Any, NamedTuple

import numpy
from numpy.typing import NDArray

from cloudedge.documents import DataFormat, SampleField
from cloudedge.names import folded
from cloudedge.texts import shown

ADD_OR_NAME = 'add it, or correct the task\'s fields: "column" and "label_column" say what the files call them'
"""What to do about something that a file does not have."""


class Record(NamedTuple):
    """One stored sample.

    Attributes:
        values: By field name; each has the field's shape and dtype.
        label: Index of the class.
    """

    values: dict[str, NDArray[Any]]
    label: int


class Fault(Exception):
    """Something in a sample that does not fit its format. Its reader knows the file and the line, and adds them.

    Attributes:
        sample: Position in the block that was checked, where several samples are checked at once.
    """

    def __init__(self, text: str, sample: int = 0) -> None:
        """Keep what was found and what to do about it.

        Args:
            text: Field, value found and remedy.
            sample: Position in the block that was checked.
        """
        super().__init__(text)
        self.sample = sample


def field_values(raw: NDArray[Any], field: SampleField) -> NDArray[Any]:
    """Check the values of one field in a block of samples, and give them the field's dtype.

    Args:
        raw: Values as they were stored, [n, *field.shape].
        field: What they must be.

    Returns:
        The same values in the field's dtype, [n, *field.shape].

    Raises:
        Fault: another shape, not numbers, not finite, not whole where the dtype is, or out of the dtype's range.
    """
    if raw.shape[1:] != field.shape:
        raise Fault(
            f"field {field.name!r}: found a value of shape {raw.shape[1:]}; "
            f"store values of shape {field.shape}, or correct the field's shape in the task"
        )
    if raw.dtype.kind not in "biuf":
        raise Fault(f"field {field.name!r}: found {shown(raw.dtype.name)}; store numbers that {field.dtype} holds")
    dtype = numpy.dtype(field.dtype)
    if raw.dtype == dtype and dtype.kind in "iu":
        return raw
    if raw.dtype.kind == "f":
        _refuse(raw, numpy.isfinite(raw), field, "leave such samples out or replace the value")
    if dtype.kind == "f":
        with numpy.errstate(over="ignore"):
            values = raw.astype(dtype, copy=False)
        _refuse(raw, numpy.isfinite(values), field, f"that is beyond {field.dtype}; use a wider dtype in the task")
        return values
    if raw.dtype.kind == "f":
        _refuse(raw, raw == numpy.floor(raw), field, f"{field.dtype} holds whole numbers; use float32 in the task")
    bounds = numpy.iinfo(dtype)
    _refuse(raw, _within(raw, bounds), field, f"{field.dtype} holds {bounds.min} to {bounds.max}; use a wider dtype")
    return raw.astype(dtype)


def one_value(raw: object, field: SampleField) -> NDArray[Any]:
    """Check the value of one field in one sample, as `field_values` does.

    Args:
        raw: A number, or nested lists of numbers.
        field: What it must be.

    Returns:
        The value in the field's dtype and shape.

    Raises:
        Fault: as `field_values` says, or lists of unequal length.
    """
    try:
        array = numpy.array(raw)
    except (ValueError, OverflowError):
        raise Fault(f"field {field.name!r}: found lists of unequal lengths; store values of shape {field.shape}") from None
    if array.dtype.kind not in "biuf":
        # Numbers beside a text became texts as well, so look for the culprit in the values as they were.
        values = numpy.array(raw, dtype=object).ravel()
        found = next((value for value in values if not isinstance(value, int | float) or abs(value) >= 2**63), raw)
        raise Fault(f"field {field.name!r}: found {shown(found)}; store numbers that {field.dtype} holds")
    value: NDArray[Any] = field_values(array[numpy.newaxis], field)[0]
    return value


def class_index(label: object, data: DataFormat) -> int:
    """Find the class that a label names, as `class_named` or else `class_at` does.

    Raises:
        Fault: neither a name nor an index.
    """
    if isinstance(label, str | int) and not isinstance(label, bool):
        text = str(label)
        index = class_named(text, data)
        if index is None:
            index = class_at(text, data)
        if index is not None:
            return index
    raise Fault(f"label {data.label_stored_as!r}: found {shown(label)}; use {labels_in_words(data)}")


def class_named(text: str, data: DataFormat) -> int | None:
    """The class of this name, whatever its spaces and the form of its Unicode."""
    names = _classes(data.classes).names
    index = names.get(text)
    return index if index is not None else names.get(folded(text))


def class_at(text: str, data: DataFormat) -> int | None:
    """The class at an index, counted from 0; none where a class is named like a number, as then it could mean either."""
    digits = text.strip()
    if _classes(data.classes).numbered or not (digits.isascii() and digits.isdigit() and len(digits) <= 6):
        return None
    return int(digits) if int(digits) < len(data.classes) else None


def labels_in_words(data: DataFormat) -> str:
    """What a label may be, for a message."""
    names = ", ".join(data.classes[:10]) + (", ..." if len(data.classes) > 10 else "")
    index = "" if _classes(data.classes).numbered else f", or an index from 0 to {len(data.classes) - 1}"
    return f"one of {names}{index}"


class _Classes(NamedTuple):
    """Classes as labels are compared with them."""

    classes: tuple[str, ...]
    names: dict[str, int]
    """Index by the name as it is, and as it is compared."""
    numbered: bool
    """Whether one of them is named like a number."""


_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]*)?")

_known = _Classes((), {}, numbered=False)


def _classes(classes: tuple[str, ...]) -> _Classes:
    """Kept for the classes asked for last: a format may have 100,000 of them, and every sample asks."""
    global _known
    known = _known
    if known.classes is not classes:
        as_compared = {folded(name): index for index, name in reversed(list(enumerate(classes)))}
        as_they_are = {name: index for index, name in enumerate(classes)}
        numbered = any(_NUMBER.fullmatch(name.strip()) for name in classes)
        _known = known = _Classes(classes, as_compared | as_they_are, numbered)
    return known


def _within(raw: NDArray[Any], bounds: "numpy.iinfo[Any]") -> NDArray[numpy.bool_]:
    if raw.dtype.kind == "f":
        # 2^63 itself is a float64, but 2^63 - 1 is not: compare with the first float beyond the range.
        return (raw >= float(bounds.min)) & (raw < float(bounds.max) + 1)
    return (raw >= bounds.min) & (raw <= bounds.max)


def _refuse(raw: NDArray[Any], good: NDArray[numpy.bool_], field: SampleField, remedy: str) -> None:
    if good.all():
        return
    position = tuple(int(step) for step in numpy.argwhere(~good)[0])
    place = f" at {list(position[1:])}" if len(position) > 1 else ""
    raise Fault(f"field {field.name!r}{place}: found {raw[position].item()}; {remedy}", sample=position[0])
