"""What every storage promises, tested on all of them: the same samples in, the same records out."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudedge.data import Record, read_records, write_records
from cloudedge.documents import DataFormat, SampleField
from cloudedge.errors import InvalidSamples, NotFound

STORAGES = ("csv", "image-folder", "json-lines", "npz")
CLASSES = ("10", "0", "a cat, black", 'quote"d', "Größe", "line\r\nbreak")

any_storage = pytest.mark.parametrize("storage", STORAGES)


def pixels_format(storage: str, **changes: object) -> DataFormat:
    """A format that all storages can hold: small RGB images of bytes."""
    field = {"name": "pixels", "shape": [3, 2, 4], "dtype": "uint8"}
    return DataFormat.model_validate({"storage": storage, "fields": [field], "classes": CLASSES, **changes})


def pixels(label: int, seed: int = 0) -> Record:
    values = numpy.random.default_rng([seed, label]).integers(0, 256, (3, 2, 4), dtype=numpy.uint8)
    return Record({"pixels": values}, label)


def same(found: Sequence[Record], expected: Sequence[Record]) -> bool:
    return len(found) == len(expected) and all(
        one.label == other.label
        and list(one.values) == list(other.values)
        and all(
            one.values[name].dtype == other.values[name].dtype and numpy.array_equal(one.values[name], other.values[name])
            for name in one.values
        )
        for one, other in zip(found, expected, strict=True)
    )


@any_storage
@settings(max_examples=30)
@given(labels=st.lists(st.integers(0, len(CLASSES) - 1), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_what_is_written_is_read_again(storage: str, labels: list[int], seed: int) -> None:
    data = pixels_format(storage)
    # In an image folder samples lie by class.
    records = [pixels(label, seed) for label in sorted(labels, key=lambda label: CLASSES[label])]
    with TemporaryDirectory() as folder:
        write_records(records, Path(folder), data)
        assert same(list(read_records(Path(folder), data)), records)


@any_storage
def test_the_same_records_give_the_same_files(storage: str, tmp_path: Path) -> None:
    data = pixels_format(storage)
    for folder in ("one", "two"):
        write_records([pixels(0), pixels(1)], tmp_path / folder, data)
    contents = [
        {path.relative_to(tmp_path / folder): path.read_bytes() for path in (tmp_path / folder).rglob("*.*")}
        for folder in ("one", "two")
    ]
    assert contents[0] == contents[1]
    assert contents[0]


@any_storage
def test_a_single_file_is_read_by_itself(storage: str, tmp_path: Path) -> None:
    data = pixels_format(storage)
    write_records([pixels(4)], tmp_path, data)
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert same(list(read_records(file, data)), [pixels(4)])


@any_storage
def test_a_folder_is_read_in_the_order_of_its_names_at_every_depth(storage: str, tmp_path: Path) -> None:
    data = pixels_format(storage)
    write_records([pixels(0, seed=3)], tmp_path / "b", data)
    write_records([pixels(0, seed=2)], tmp_path / "a" / "late", data)
    write_records([pixels(0, seed=1)], tmp_path / "a" / "early", data)
    assert same(list(read_records(tmp_path, data)), [pixels(0, seed=seed) for seed in (1, 2, 3)])


@any_storage
def test_hidden_files_and_other_files_are_passed_over(storage: str, tmp_path: Path) -> None:
    data = pixels_format(storage)
    write_records([pixels(0)], tmp_path, data)
    write_records([pixels(1)], tmp_path / "..data", data)
    write_records([pixels(1)], tmp_path, data, name=".half-written")
    (tmp_path / "notes.txt").write_text("not a sample")
    assert same(list(read_records(tmp_path, data)), [pixels(0)])


@any_storage
def test_what_is_no_file_is_refused_before_it_is_opened(storage: str, tmp_path: Path) -> None:
    data = pixels_format(storage)
    write_records([pixels(0)], tmp_path, data)
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    os.mkfifo(file.with_name(f"pipe{file.suffix}"))
    for path in (tmp_path, file.with_name(f"pipe{file.suffix}")):
        with pytest.raises(InvalidSamples, match=rf"pipe\{file.suffix} is a named pipe, not a file of samples: take it away\."):
            list(read_records(path, data))


@any_storage
@settings(max_examples=30, deadline=None)
@given(name=st.binary(min_size=1, max_size=20).filter(lambda name: b"/" not in name and b"\0" not in name))
def test_a_file_of_any_name_is_read_or_refused_by_its_name(storage: str, name: bytes) -> None:
    data = pixels_format(storage)
    with TemporaryDirectory() as folder:
        write_records([pixels(0)], Path(folder), data)
        (file,) = (path for path in Path(folder).rglob("*") if path.is_file())
        file = file.rename(file.with_name(os.fsdecode(name) + file.suffix))
        try:
            assert same(list(read_records(file, data)), [pixels(0)])
        except InvalidSamples as error:
            assert str(error).endswith(" has a name that is not UTF-8: rename it.")
            assert str(error).isprintable()
            with pytest.raises(UnicodeEncodeError):
                str(file).encode()


@any_storage
def test_linked_files_of_a_mounted_folder_are_read_once(storage: str, tmp_path: Path) -> None:
    data = pixels_format(storage)
    write_records([pixels(0)], tmp_path / "..data", data)
    (file,) = (path for path in (tmp_path / "..data").rglob("*") if path.is_file())
    link = tmp_path / CLASSES[0] / file.name
    link.parent.mkdir()
    link.symlink_to(file)
    assert same(list(read_records(tmp_path, data)), [pixels(0)])


@any_storage
def test_an_empty_folder_is_refused_with_the_endings_that_were_looked_for(storage: str, tmp_path: Path) -> None:
    ending = {"csv": ".csv", "image-folder": ".png", "json-lines": ".jsonl", "npz": ".npz"}[storage]
    with pytest.raises(InvalidSamples, match=f"{tmp_path} has no samples.*{storage}.*{ending}"):
        list(read_records(tmp_path, pixels_format(storage)))


@any_storage
def test_a_path_without_anything_is_not_found(storage: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        list(read_records(tmp_path / "nowhere", pixels_format(storage)))


@any_storage
def test_a_label_outside_the_classes_is_refused_and_the_classes_are_named(storage: str, tmp_path: Path) -> None:
    write_records([pixels(4)], tmp_path, pixels_format(storage))
    data = pixels_format(storage, classes=["ok", "scratch"])
    with pytest.raises(InvalidSamples, match="label 'label': found 'Größe'; use one of ok, scratch, or an index from 0 to 1"):
        list(read_records(tmp_path, data, tmp_path))


@any_storage
def test_a_label_may_be_the_index_of_its_class(storage: str, tmp_path: Path) -> None:
    write_records([pixels(1)], tmp_path, pixels_format(storage, classes=["0", "1"]))
    (record,) = read_records(tmp_path, pixels_format(storage, classes=["ok", "scratch"]))
    assert record.label == 1


@any_storage
@pytest.mark.parametrize("classes", [("1", "2", "3"), ("01", "02", "03"), ("1.0", "2.0", "3.0"), ("-1", "good", "worn")])
@pytest.mark.parametrize("label", ["0", "7"])
def test_where_a_class_is_named_like_a_number_no_label_is_an_index(
    storage: str, classes: tuple[str, ...], label: str, tmp_path: Path
) -> None:
    write_records([pixels(0)], tmp_path, pixels_format(storage, classes=[label, "another"]))
    with pytest.raises(InvalidSamples, match=f"label 'label': found '{label}'; use one of {', '.join(classes)}\\.$"):
        list(read_records(tmp_path, pixels_format(storage, classes=classes), tmp_path))


@any_storage
@pytest.mark.parametrize(
    ("written", "named"),
    [("défaut", "de\u0301faut"), ("de\u0301faut", "défaut"), ("a  b", "a b"), ("a\u00a0b", " a b "), ("Å", "\u212b")],
)
def test_a_label_names_its_class_whatever_its_spaces_and_its_form_of_unicode(
    storage: str, written: str, named: str, tmp_path: Path
) -> None:
    write_records([pixels(1)], tmp_path, pixels_format(storage, classes=["ok", written]))
    (record,) = read_records(tmp_path, pixels_format(storage, classes=["ok", named]))
    assert record.label == 1


@pytest.mark.parametrize("storage", ["csv", "json-lines", "npz"])
@pytest.mark.parametrize(
    ("column", "label_column"),
    [
        ("sepal length (cm)", "species"),
        ("温度", "状态"),
        ("a.b", "x/y"),
        ('say "cheese", please', "Zustand;"),
        (" spaced ", "\u00e9tat"),
        ("two\nlines", "label"),
    ],
)
def test_a_field_and_the_label_may_say_what_the_files_call_them(
    storage: str, column: str, label_column: str, tmp_path: Path
) -> None:
    fields = [{"name": "pixels", "shape": [3, 2, 4], "dtype": "uint8", "column": column}]
    data = pixels_format(storage, fields=fields, label_column=label_column)
    write_records([pixels(2), pixels(3)], tmp_path, data)
    assert same(list(read_records(tmp_path, data)), [pixels(2), pixels(3)])
    decomposed = {"fields": [fields[0] | {"column": unicodedata.normalize("NFD", column)}]}
    label = unicodedata.normalize("NFD", label_column)
    assert len(list(read_records(tmp_path, pixels_format(storage, **decomposed, label_column=label)))) == 2
    with pytest.raises(
        InvalidSamples, match=r'correct the task\'s fields: "column" and "label_column" say what the files call'
    ):
        list(read_records(tmp_path, pixels_format(storage)))


@any_storage
def test_a_label_that_is_a_name_is_never_taken_as_an_index(storage: str, tmp_path: Path) -> None:
    data = pixels_format(storage, classes=["2", "1", "0"])
    write_records([pixels(0)], tmp_path, data)
    (record,) = read_records(tmp_path, data)
    assert record.label == 0


@any_storage
def test_a_damaged_file_is_named(storage: str, tmp_path: Path) -> None:
    data = pixels_format(storage)
    write_records([pixels(0)], tmp_path, data)
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(InvalidSamples, match=file.name):
        list(read_records(tmp_path, data))


@any_storage
@settings(max_examples=30)
@given(cut=st.integers(0, 200), garbage=st.binary(max_size=20))
def test_any_garbage_is_refused_with_a_message_or_read(storage: str, cut: int, garbage: bytes) -> None:
    data = pixels_format(storage)
    with TemporaryDirectory() as name:
        write_records([pixels(0)], Path(name), data)
        (file,) = (path for path in Path(name).rglob("*") if path.is_file())
        content = file.read_bytes()
        file.write_bytes(content[:cut] + garbage + content[cut + len(garbage) :])
        try:
            records = list(read_records(Path(name), data))
        except InvalidSamples as error:
            assert file.name in str(error)
        else:
            assert all(record.values["pixels"].shape == (3, 2, 4) for record in records)


@pytest.mark.parametrize("storage", ["csv", "json-lines", "npz"])
@settings(max_examples=30)
@given(
    whole=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=2),
    real=st.floats(allow_nan=False, allow_infinity=False, width=64),
    single=st.floats(allow_nan=False, allow_infinity=False, width=32),
)
def test_numbers_come_back_to_the_last_bit(storage: str, whole: list[int], real: float, single: float) -> None:
    fields = (
        SampleField(name="whole", shape=(2,), dtype="int64"),
        SampleField(name="real", dtype="float64"),
        SampleField(name="single", shape=(1, 1), dtype="float32"),
    )
    data = DataFormat(storage=storage, fields=fields, classes=("a", "b"))  # type: ignore[arg-type]
    values = {"whole": numpy.array(whole), "real": numpy.array(real), "single": numpy.array([[single]], numpy.float32)}
    with TemporaryDirectory() as folder:
        write_records([Record(values, 1)], Path(folder), data)
        assert same(list(read_records(Path(folder), data)), [Record(values, 1)])


@pytest.mark.parametrize("storage", ["csv", "json-lines", "npz"])
@pytest.mark.parametrize(
    ("dtype", "value", "remedy"),
    [
        ("float64", float("nan"), "nan; leave such samples out or replace the value"),
        ("float64", float("-inf"), "-inf; leave such samples out or replace the value"),
        ("float32", 1e300, r"1e\+300; that is beyond float32; use a wider dtype"),
        ("uint8", 0.5, "0.5; uint8 holds whole numbers; use float32"),
        ("uint8", 256, "256.*; uint8 holds 0 to 255; use a wider dtype"),
        ("uint8", -1, "-1.*; uint8 holds 0 to 255; use a wider dtype"),
        ("int64", 2.0**63, r"9.*; int64 holds -9223372036854775808 to 9223372036854775807"),
    ],
)
def test_a_value_that_the_dtype_cannot_hold_is_refused_with_its_place(
    storage: str, dtype: str, value: float, remedy: str, tmp_path: Path
) -> None:
    stored = DataFormat(storage=storage, fields=(SampleField(name="level", dtype="float64"),), classes=("a", "b"))  # type: ignore[arg-type]
    records = [Record({"level": numpy.array(number)}, 0) for number in (1.0, value)]
    write_records(records, tmp_path, stored)
    wanted = DataFormat(storage=storage, fields=(SampleField(name="level", dtype=dtype),), classes=("a", "b"))  # type: ignore[arg-type]
    place = {"csv": "line 3", "json-lines": "line 2", "npz": "sample 1"}[storage]
    with pytest.raises(InvalidSamples, match=rf"samples\..*, {place}, field 'level'.*: found {remedy}"):
        list(read_records(tmp_path, wanted))


@any_storage
def test_a_field_of_another_shape_is_refused(storage: str, tmp_path: Path) -> None:
    write_records([pixels(0)], tmp_path, pixels_format(storage))
    data = pixels_format(storage, fields=[{"name": "pixels", "shape": [3, 2, 5], "dtype": "uint8"}])
    if storage == "image-folder":
        (record,) = read_records(tmp_path, data)  # Images are resized.
        assert record.values["pixels"].shape == (3, 2, 5)
    else:
        with pytest.raises(InvalidSamples, match="pixels"):
            list(read_records(tmp_path, data))


@pytest.mark.parametrize("storage", ["csv", "json-lines", "npz"])
def test_a_missing_field_is_named(storage: str, tmp_path: Path) -> None:
    write_records([pixels(0)], tmp_path, pixels_format(storage))
    data = pixels_format(storage, fields=[{"name": "light"}])
    with pytest.raises(InvalidSamples, match=r"light.*correct the task's fields"):
        list(read_records(tmp_path, data))


@any_storage
def test_a_file_that_the_disk_does_not_give_is_named(storage: str, tmp_path: Path) -> None:
    data = pixels_format(storage)
    write_records([pixels(0)], tmp_path, data)
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    file.unlink()
    file.symlink_to(file)
    with pytest.raises(InvalidSamples, match=f"{file.name} cannot be read"):
        list(read_records(tmp_path, data))
