"""What a model gets of records, and which of them it never gets."""

import subprocess
import sys
from collections import Counter

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cloudedge.data import Record, Samples, histogram, is_held_out, split, to_samples
from cloudedge.documents import DataFormat, SampleField
from cloudedge.errors import InvalidSamples


def record(label: int = 0, **values: object) -> Record:
    return Record({name: numpy.array(value) for name, value in values.items()}, label)


def data_format(*fields: SampleField, classes: tuple[str, ...] = ("ok", "scratch")) -> DataFormat:
    return DataFormat(storage="npz", fields=fields, classes=classes)


def test_values_are_shifted_then_scaled() -> None:
    data = data_format(SampleField(name="x", shape=(2,), offset=10, scale=0.5))
    samples = to_samples([record(1, x=[10.0, 14.0])], data)
    assert samples.inputs.tolist() == [[0.0, 2.0]]
    assert samples.labels.tolist() == [1]
    assert (samples.inputs.dtype, samples.labels.dtype) == (torch.float32, torch.int64)


def test_several_fields_are_flattened_and_joined_in_the_order_of_the_format() -> None:
    data = data_format(SampleField(name="b", shape=(2, 2), scale=10), SampleField(name="a"))
    samples = to_samples([record(a=5, b=[[1, 2], [3, 4]])], data)
    assert samples.inputs.tolist() == [[10.0, 20.0, 30.0, 40.0, 5.0]]


def test_a_single_field_keeps_its_shape_and_a_single_number_becomes_a_list_of_one() -> None:
    assert to_samples(
        [record(x=numpy.zeros((3, 4, 5)))] * 2, data_format(SampleField(name="x", shape=(3, 4, 5)))
    ).inputs.shape == (
        2,
        3,
        4,
        5,
    )
    assert to_samples([record(x=7)], data_format(SampleField(name="x"))).inputs.tolist() == [[7.0]]


def test_no_records_give_no_samples_of_the_right_shape() -> None:
    samples = to_samples([], data_format(SampleField(name="x", shape=(1, 8, 8))))
    assert len(samples) == 0
    assert samples.inputs.shape == (0, 1, 8, 8)


def test_many_records_keep_their_order() -> None:
    samples = to_samples((record(number % 2, x=number) for number in range(2500)), data_format(SampleField(name="x")))
    assert samples.inputs.flatten().tolist() == list(range(2500))
    assert samples.labels.tolist() == [number % 2 for number in range(2500)]


def test_large_whole_numbers_lose_nothing_before_their_offset_is_taken_off() -> None:
    data = data_format(SampleField(name="at", dtype="int64", offset=1_700_000_000))
    assert to_samples([record(at=1_700_000_001)], data).inputs.tolist() == [[1.0]]


def test_a_scaled_value_that_float32_cannot_hold_is_refused() -> None:
    data = data_format(SampleField(name="x", dtype="float64", scale=1e10))
    with pytest.raises(InvalidSamples, match=r"'x': the value 1e\+30 is too large for float32 after offset 0.0 and scale"):
        to_samples([record(x=1.0), record(x=1e30)], data)


@pytest.mark.parametrize(
    ("share", "held_out"),
    [(0.2, [2, 7, 12, 17]), (0.5, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]), (0.1, [4, 14]), (0.9, [0, 1, 2, 3])],
)
def test_the_held_out_samples_are_spread_evenly(share: float, held_out: list[int]) -> None:
    found = [index for index in range(20) if is_held_out(index, share)]
    assert found[:4] == held_out[:4]
    assert abs(len(found) - 20 * share) <= 0.5


@given(
    labels=st.lists(st.integers(0, 3), max_size=60), share=st.floats(0.01, 0.99), more=st.lists(st.integers(0, 3), max_size=20)
)
def test_a_split_is_stratified_complete_and_stable_when_samples_are_added(
    labels: list[int], share: float, more: list[int]
) -> None:
    def parts(all_labels: list[int]) -> tuple[Samples, Samples]:
        return split(
            Samples(torch.arange(len(all_labels), dtype=torch.float32)[:, None], torch.tensor(all_labels, dtype=torch.int64)),
            share,
        )

    training, held_out = parts(labels)
    assert sorted([*training.inputs.flatten().tolist(), *held_out.inputs.flatten().tolist()]) == list(range(len(labels)))
    counts = Counter(labels)
    for label, count in Counter(held_out.labels.tolist()).items():
        assert abs(count - counts[label] * share) <= 0.5 + 1e-9
    grown_training, grown_held_out = parts(labels + more)
    assert set(training.inputs.flatten().tolist()) <= set(grown_training.inputs.flatten().tolist())
    assert set(held_out.inputs.flatten().tolist()) <= set(grown_held_out.inputs.flatten().tolist())


def test_the_histogram_names_every_class_in_order() -> None:
    data = data_format(SampleField(name="x"), classes=("ok", "scratch", "dent"))
    assert list(histogram(torch.tensor([2, 0, 2]), data).items()) == [("ok", 1), ("scratch", 0), ("dent", 2)]
    assert histogram(torch.tensor([], dtype=torch.int64), data) == {"ok": 0, "scratch": 0, "dent": 0}


def test_collecting_samples_imports_neither_torch_nor_pillow() -> None:
    code = "import sys, cloudedge.data; print(sorted({'torch', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
