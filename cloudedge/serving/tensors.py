"""Tensors as the Open Inference Protocol carries them: numbers in JSON, or the bytes of an array in C order, little endian.

JSON and its like are converted by code that keeps all other threads of the process waiting, and a detector judges parts
meanwhile: so there is a bound to them that an image in bytes does not know.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from cloudedge.deployable.session import NUMPY_TYPES
from cloudedge.documents.deployable import Datatype
from cloudedge.errors import InvalidInput
from cloudedge.texts import shown

Array = npt.NDArray[Any]

MOST_REQUEST_BYTES = 16 * 1024 * 1024
"""Of a request, and of an answer: five images of the largest form."""

MOST_JSON_BYTES = 512 * 1024
"""Of the JSON in a request: an image of 128 x 128 pixels takes 220 KB."""

MOST_NUMBERS = 131_072
"""Of tensors in a request or an answer that are no bytes."""

MOST_DIMENSIONS = 8

_PIECE = 2048
"""Numbers that are converted at a time; other threads have their turn between."""

DATATYPES: Mapping[np.dtype[Any], Datatype] = {kind: datatype for datatype, kind in NUMPY_TYPES.items()}
"""The protocol's words for numpy's types."""


def described(name: object, datatype: object, shape: object) -> tuple[Datatype, tuple[int, ...]]:
    """Type and shape of a tensor that someone sends, once they are ones.

    Raises:
        InvalidInput: they are not; names the tensor.
    """
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"An input has no name but {shown(name)}. Give it the one that the model's metadata has.")
    if datatype == "BYTES":
        raise InvalidInput(f"The input {shown(name)} is of BYTES, which no model here takes. Send numbers.")
    if not isinstance(datatype, str) or datatype not in NUMPY_TYPES:
        known = ", ".join(sorted(NUMPY_TYPES))
        raise InvalidInput(f"The input {shown(name)} has the datatype {shown(datatype)}; there are {known}.")
    lengths = tuple(shape) if isinstance(shape, Sequence) and not isinstance(shape, str) else ()
    if not 1 <= len(lengths) <= MOST_DIMENSIONS or not all(type(each) is int and each >= 0 for each in lengths):
        raise InvalidInput(
            f"The input {shown(name)} has the shape {shown(shape)}; give 1 to {MOST_DIMENSIONS} lengths of 0 or more."
        )
    if math.prod(lengths) > MOST_REQUEST_BYTES:
        raise InvalidInput(
            f"The input {shown(name)} has the shape {shown(shape)}, of more numbers than the {MOST_REQUEST_BYTES} bytes of a "
            "request hold. Send fewer at a time."
        )
    return cast(Datatype, datatype), lengths


def from_bytes(name: str, datatype: Datatype, shape: tuple[int, ...], content: bytes | memoryview) -> Array:
    """An array of the bytes of one, which it may share.

    Raises:
        InvalidInput: they are more or fewer than its shape says, or truth values other than 0 and 1.
    """
    of_wire = NUMPY_TYPES[datatype].newbyteorder("<")
    wanted = math.prod(shape) * of_wire.itemsize
    if len(content) != wanted:
        raise InvalidInput(
            f"The input {shown(name)} is {datatype} of shape {list(shape)}, which are {wanted} bytes, and came with "
            f"{len(content)}. Send the bytes of the whole array, in C order."
        )
    if datatype == "BOOL" and np.any(np.frombuffer(content, np.uint8) > 1):
        raise InvalidInput(f"The input {shown(name)} is BOOL and has bytes other than 0 and 1.")
    array = np.frombuffer(content, of_wire).reshape(shape)
    if not array.flags.aligned or not of_wire.isnative:
        array = array.astype(NUMPY_TYPES[datatype])
    return array


def to_bytes(array: Array) -> bytes:
    """The bytes of an array, as the protocol has them."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def from_numbers(name: str, datatype: Datatype, shape: tuple[int, ...], data: object) -> Array:
    """An array of numbers as JSON has them, in one list or nested like the shape.

    Raises:
        InvalidInput: they are more or fewer than its shape says, too many, or not all of its type.
    """
    numbers = _flat(name, shape, data)
    allowed: dict[str, set[type]] = {"b": {bool}, "f": {int, float}}
    strange = set(map(type, numbers)) - allowed.get(NUMPY_TYPES[datatype].kind, {int})
    if strange:
        names = " and ".join(sorted(each.__name__ for each in strange))
        raise InvalidInput(f"The input {shown(name)} is {datatype} and has values of the type {names} in its data.")
    return of_type(name, datatype, numbers).reshape(shape)


def of_type(name: str, datatype: Datatype, numbers: Sequence[Any]) -> Array:
    """An array of one dimension of numbers.

    Raises:
        InvalidInput: they are too many, or not all of them are in the range of the type.
    """
    if len(numbers) > MOST_NUMBERS:
        raise InvalidInput(
            f"The input {shown(name)} has {len(numbers)} numbers, and at most {MOST_NUMBERS} are taken one by one. "
            "Send it as binary data."
        )
    array = np.empty(len(numbers), NUMPY_TYPES[datatype])
    try:
        with np.errstate(over="raise", invalid="raise"):
            for begin in range(0, len(numbers), _PIECE):
                array[begin : begin + _PIECE] = np.array(numbers[begin : begin + _PIECE], array.dtype)
    except (OverflowError, FloatingPointError):
        raise InvalidInput(f"The input {shown(name)} has numbers that are out of the range of {datatype}.") from None
    return array


def to_json(name: str, array: Array) -> bytes:
    """The numbers of an array as a list in JSON.

    Raises:
        InvalidInput: they are too many, or one is none that JSON has.
    """
    if array.size > MOST_NUMBERS:
        raise InvalidInput(
            f"The output {name!r} has {array.size} numbers, and at most {MOST_NUMBERS} are told one by one. "
            "Ask for it as binary data."
        )
    if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        raise InvalidInput(f"The output {name!r} has NaN or infinity, which JSON has not. Ask for it as binary data.")
    flat = array.reshape(-1)
    pieces = (json.dumps(flat[begin : begin + _PIECE].tolist())[1:-1] for begin in range(0, flat.size, _PIECE))
    return f"[{', '.join(pieces)}]".encode()


def _flat(name: str, shape: tuple[int, ...], data: object) -> list[Any]:
    """The numbers of one list, or of lists in lists like the shape."""
    wanted = f"The input {shown(name)} has the shape {list(shape)}"
    if not isinstance(data, list):
        raise InvalidInput(f"{wanted} and no list of numbers as its data. Give one, or send it as binary data.")
    found = data
    if data and isinstance(data[0], list):
        if len(data) != shape[0]:
            raise InvalidInput(f"{wanted}, and its data is {len(data)} lists. Give one list, or lists in lists like the shape.")
        for length in shape[1:]:
            if not all(isinstance(each, list) and len(each) == length for each in found):
                raise InvalidInput(f"{wanted}, and its data is not made of lists like that. Give one list of all numbers.")
            found = list(chain.from_iterable(found))
    if len(found) != math.prod(shape):
        raise InvalidInput(f"{wanted}, which are {math.prod(shape)} numbers, and its data has {len(found)}. Give all of them.")
    return found
