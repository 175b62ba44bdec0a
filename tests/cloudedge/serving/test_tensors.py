"""A tensor that is sent is the tensor that arrives, in every type; what is none is refused and named."""

import json
from functools import partial
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudedge.deployable.session import NUMPY_TYPES
from cloudedge.documents.deployable import Datatype
from cloudedge.errors import InvalidInput
from cloudedge.serving.tensors import (
    MOST_DIMENSIONS,
    MOST_NUMBERS,
    MOST_REQUEST_BYTES,
    described,
    from_bytes,
    from_numbers,
    of_type,
    to_bytes,
    to_json,
)

DATATYPES: tuple[Datatype, ...] = get_args(Datatype)
WIDTHS: dict[int, Any] = {2: partial(st.floats, width=16), 4: partial(st.floats, width=32), 8: st.floats}
SHAPES = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)


def arrays(datatype: Datatype, shape: tuple[int, ...], *, finite: bool) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    kind = NUMPY_TYPES[datatype]
    size = int(np.prod(shape))
    if kind.kind == "f":
        numbers: st.SearchStrategy[Any] = WIDTHS[kind.itemsize](allow_nan=not finite, allow_infinity=not finite)
    elif kind.kind == "b":
        numbers = st.booleans()
    else:
        numbers = st.integers(int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    return st.lists(numbers, min_size=size, max_size=size).map(lambda found: np.array(found, kind).reshape(shape))


@pytest.mark.parametrize("datatype", DATATYPES)
@given(data=st.data(), shape=SHAPES, odd=st.integers(0, 7))
def test_bytes_are_the_array_again(datatype: Datatype, data: st.DataObject, shape: tuple[int, ...], odd: int) -> None:
    array = data.draw(arrays(datatype, shape, finite=False))
    among = memoryview(b"x" * odd + to_bytes(array))[odd:]

    found = from_bytes("x", datatype, shape, among)

    assert (found.dtype, found.shape) == (array.dtype, shape)
    assert found.tobytes() == array.tobytes()
    assert found.flags.aligned


@pytest.mark.parametrize("datatype", DATATYPES)
@given(data=st.data(), shape=SHAPES, nested=st.booleans())
def test_numbers_in_json_are_the_array_again(
    datatype: Datatype, data: st.DataObject, shape: tuple[int, ...], nested: bool
) -> None:
    array = data.draw(arrays(datatype, shape, finite=True))
    text = json.dumps(array.tolist()) if nested else to_json("x", array)

    found = from_numbers("x", datatype, shape, json.loads(text))

    assert (found.dtype, found.shape) == (array.dtype, shape)
    assert found.tobytes() == array.tobytes()


def test_many_numbers_are_converted_as_few_are() -> None:
    array = np.arange(MOST_NUMBERS, dtype=np.int32)

    assert json.loads(to_json("x", array)) == array.tolist()
    assert np.array_equal(of_type("x", "INT32", array.tolist()), array)


@pytest.mark.parametrize(
    ("name", "datatype", "shape", "said"),
    [
        (None, "FP32", [1], "no name"),
        ("x", "BYTES", [1], "BYTES, which no model here takes"),
        ("x", "BF16", [1], "there are BOOL, FP16"),
        ("x", ["FP32"], [1], "there are"),
        ("x", "FP32", [], "the shape []"),
        ("x", "FP32", "11", "the shape '11'"),
        ("x", "FP32", [1.0], "the shape [1.0]"),
        ("x", "FP32", [True], "the shape [True]"),
        ("x", "FP32", [-1, 4], "the shape [-1, 4]"),
        ("x", "FP32", [1] * (MOST_DIMENSIONS + 1), "1 to 8 lengths"),
        ("x", "FP32", [2**62, 2**62], "more numbers than"),
        ("x", "UINT8", [MOST_REQUEST_BYTES + 1], "more numbers than"),
    ],
)
def test_what_no_tensor_can_be_is_refused(name: object, datatype: object, shape: object, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        described(name, datatype, shape)

    assert said in str(refused.value)


@pytest.mark.parametrize("length", [0, 15, 17, 1000])
def test_bytes_of_another_length_than_the_shapes_are_refused(length: int) -> None:
    with pytest.raises(InvalidInput, match="16 bytes, and came with"):
        from_bytes("x", "FP32", (2, 2), b"\0" * length)


def test_truth_values_are_0_or_1() -> None:
    with pytest.raises(InvalidInput, match="bytes other than 0 and 1"):
        from_bytes("x", "BOOL", (2,), b"\1\2")


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "said"),
    [
        ("FP32", (2,), None, "no list of numbers"),
        ("FP32", (2,), "12", "no list of numbers"),
        ("FP32", (2,), [1], "which are 2 numbers, and its data has 1"),
        ("FP32", (2,), [[1], [2]], "has values of the type list"),
        ("FP32", (2, 2), [[1, 2]], "its data is 1 lists"),
        ("FP32", (2, 2), [[1, 2], [3]], "not made of lists like that"),
        ("FP32", (2, 2), [[1, 2], 3], "not made of lists like that"),
        ("FP32", (2, 2), [1, 2, [3], 4], "has values of the type list"),
        ("FP32", (1, 1), [[[1]]], "has values of the type list"),
        ("FP32", (2,), [1, "2"], "has values of the type str"),
        ("FP32", (2,), [1, True], "has values of the type bool"),
        ("FP32", (2,), [1, None], "has values of the type NoneType"),
        ("FP32", (1,), [1e39], "out of the range of FP32"),
        ("FP16", (1,), [70000], "out of the range of FP16"),
        ("FP64", (1,), [10**400], "out of the range of FP64"),
        ("UINT8", (1,), [256], "out of the range of UINT8"),
        ("UINT8", (1,), [-1], "out of the range of UINT8"),
        ("INT64", (1,), [2**63], "out of the range of INT64"),
        ("INT64", (1,), [1.0], "has values of the type float"),
        ("BOOL", (1,), [1], "has values of the type int"),
        ("UINT8", (MOST_NUMBERS + 1,), [0] * (MOST_NUMBERS + 1), "Send it as binary data"),
    ],
)
def test_data_that_is_not_of_the_tensor_is_refused(datatype: Datatype, shape: tuple[int, ...], data: object, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        from_numbers("x", datatype, shape, data)

    assert said in str(refused.value)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_json_cannot_say_is_not_said_in_json(number: float) -> None:
    with pytest.raises(InvalidInput, match="Ask for it as binary data"):
        to_json("y", np.array([1, number], np.float32))
    with pytest.raises(InvalidInput, match="Ask for it as binary data"):
        to_json("y", np.zeros(MOST_NUMBERS + 1, np.float32))
