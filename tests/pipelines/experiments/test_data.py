"""Samples in memory become files that a run reads as the same samples."""

from pathlib import Path

import numpy
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudedge.data import load_samples, to_samples
from cloudedge.documents import DataFormat
from cloudedge.errors import InvalidSamples
from pipelines.experiments.data import proposed_format, to_records, write_data

NUMBERS = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(NUMBERS, st.integers(-5, 5), st.sampled_from(["good", "worn", "lost"])), min_size=4, max_size=20))
def test_what_is_read_is_what_was_in_memory(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, int, str]]
) -> None:
    frame = pandas.DataFrame([*rows, (0.0, 0, "good"), (1.0, 1, "worn")], columns=["a", "b", "state"])
    data = {"cloud": frame, "edges": {"hall-1": frame[::-1]}, "test": frame}
    form = DataFormat.model_validate(proposed_format(data, "state"))

    folder = write_data(data, form, tmp_path_factory.mktemp("data"))

    assert write_data(data, form, folder.parent) == folder, "the same samples are written once"
    for place, table in {"cloud": frame, "edges/hall-1": frame[::-1], "test": frame}.items():
        read, given_ = load_samples(folder / place, form), to_samples(to_records(table, form, place), form)
        assert numpy.array_equal(read.inputs.numpy(), given_.inputs.numpy())
        assert [form.classes[label] for label in read.labels.tolist()] == list(table["state"])


def test_other_samples_have_another_folder(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"a": [1.0, 2.0], "state": ["x", "y"]})
    form = DataFormat.model_validate(proposed_format({"cloud": frame}, "state"))

    folders = {write_data({"cloud": table}, form, tmp_path) for table in (frame, frame[::-1], frame.assign(a=[1.0, 3.0]))}

    assert len(folders) == 3


def test_a_sample_that_does_not_fit_is_named() -> None:
    frame = pandas.DataFrame({"a": [1.0, 2.0], "state": ["x", "y"]})
    form = DataFormat.model_validate(proposed_format({"cloud": frame}, "state"))

    with pytest.raises(InvalidSamples, match="samples of hall, sample 1, field 'a': found nan"):
        to_records(frame.assign(a=[1.0, float("nan")]), form, "hall")
    with pytest.raises(InvalidSamples, match="samples of hall, .*label 'state': found 'z'; use one of x, y"):
        to_records(frame.assign(state=["x", "z"]), form, "hall")
    with pytest.raises(InvalidSamples, match="no 'a'; add it, or correct the task's data format"):
        to_records(frame.drop(columns="a"), form, "hall")
