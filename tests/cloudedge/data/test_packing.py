"""Records as bytes in an edge's database."""

import hashlib
import struct

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cloudedge.data import Record, pack, unpack
from cloudedge.documents import DataFormat, SampleField
from cloudedge.errors import InvalidSamples

DTYPES = ("uint8", "int16", "int32", "int64", "float32", "float64")
DATA = DataFormat(
    storage="npz",
    fields=tuple(SampleField(name=f"a_{dtype}", dtype=dtype, shape=(2,) * index) for index, dtype in enumerate(DTYPES[:5])),  # type: ignore[arg-type]
    classes=("ok", "scratch"),
)
RECORDS = st.builds(
    Record,
    st.fixed_dictionaries({field.name: arrays.arrays(numpy.dtype(field.dtype), field.shape) for field in DATA.fields}),
    st.integers(0, 1),
)


@settings(max_examples=50)
@given(RECORDS)
def test_a_packed_record_comes_back_to_the_last_bit(record: Record) -> None:
    back = unpack(pack(record, DATA), DATA)
    assert back.label == record.label
    for name, value in record.values.items():
        assert back.values[name].dtype == value.dtype
        assert back.values[name].shape == value.shape
        assert back.values[name].tobytes() == value.tobytes()


def test_the_bytes_are_the_same_on_every_machine_and_in_every_version() -> None:
    data = DataFormat(storage="csv", fields=(SampleField(name="x", dtype="int16", shape=(2,)),), classes=("ok", "scratch"))
    meaning = b'[[["x","int16",[2]]],["ok","scratch"]]'
    expected = hashlib.sha256(meaning).digest()[:8] + struct.pack("<Ihh", 1, 258, -2)
    assert pack(Record({"x": numpy.array([258, -2], ">i2")}, 1), data) == expected


def test_scale_and_held_out_share_may_change_after_packing() -> None:
    data = DataFormat(storage="csv", fields=(SampleField(name="x"),), classes=("ok", "scratch"))
    later = DataFormat(
        storage="npz", fields=(SampleField(name="x", scale=2, offset=1),), classes=("ok", "scratch"), held_out=0.5
    )
    assert unpack(pack(Record({"x": numpy.array(3, numpy.float32)}, 1), data), later).values["x"] == 3


@pytest.mark.parametrize("changes", [{"fields": (SampleField(name="y"),)}, {"classes": ("scratch", "ok")}])
def test_a_record_of_another_format_is_refused(changes: dict[str, object]) -> None:
    data = DataFormat(storage="csv", fields=(SampleField(name="x"),), classes=("ok", "scratch"))
    content = pack(Record({"x": numpy.array(3, numpy.float32)}, 1), data)
    with pytest.raises(InvalidSamples, match="belongs to another data format"):
        unpack(content, data.model_copy(update=changes))


def test_incomplete_bytes_are_refused() -> None:
    data = DataFormat(storage="csv", fields=(SampleField(name="x"),), classes=("ok", "scratch"))
    content = pack(Record({"x": numpy.array(3, numpy.float32)}, 1), data)
    for length in range(len(content)):
        with pytest.raises(InvalidSamples, match="stored sample"):
            unpack(content[:length], data)


def test_an_unpacked_value_can_be_changed_without_harm() -> None:
    data = DataFormat(storage="csv", fields=(SampleField(name="x", shape=(2,)),), classes=("ok", "scratch"))
    content = pack(Record({"x": numpy.array([1, 2], numpy.float32)}, 0), data)
    unpack(content, data).values["x"] += 1
    assert unpack(content, data).values["x"].tolist() == [1, 2]
