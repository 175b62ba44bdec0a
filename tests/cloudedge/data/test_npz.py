"""npz files as numpy writes them, and those that are out to harm."""

import io
import struct
import zipfile
from pathlib import Path

import numpy
import pytest

from cloudedge.data import read_records
from cloudedge.data.storages import npz
from cloudedge.documents import DataFormat, SampleField
from cloudedge.errors import InvalidSamples

DATA = DataFormat(storage="npz", fields=(SampleField(name="x", shape=(2,)),), classes=("ok", "scratch"))
LABELS = numpy.array([0, 1])


def read(file: Path) -> list[tuple[list[float], int]]:
    return [(record.values["x"].tolist(), record.label) for record in read_records(file, DATA)]


@pytest.mark.parametrize("save", [numpy.savez, numpy.savez_compressed])
@pytest.mark.parametrize("dtype", ["float16", "<f8", ">f8", "uint8", ">i4", "bool"])
@pytest.mark.parametrize("labels", [[1, 0], ["scratch", "ok"]])
def test_what_numpy_saves_is_read_whatever_its_number_type(
    save: object, dtype: str, labels: list[object], tmp_path: Path
) -> None:
    assert callable(save)
    save(tmp_path / "a.npz", x=numpy.array([[1, 0], [0, 1]], dtype), label=numpy.array(labels), time=numpy.array(["a", "b"]))
    assert read(tmp_path / "a.npz") == [([1, 0], 1), ([0, 1], 0)]


def test_samples_that_fill_several_blocks_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "_BLOCK_BYTES", 100)
    values = numpy.arange(200, dtype=numpy.float32).reshape(100, 2)
    numpy.savez(tmp_path / "a.npz", x=values, label=numpy.arange(100) % 2)
    assert read(tmp_path / "a.npz") == [([2 * i, 2 * i + 1], i % 2) for i in range(100)]
    values[70, 1] = numpy.nan
    numpy.savez(tmp_path / "a.npz", x=values, label=numpy.arange(100) % 2)
    with pytest.raises(InvalidSamples, match=r"sample 70, field 'x' at \[1\]: found nan"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": numpy.ones((2, 2))}, "array 'label' is missing; found 'x.npy'; add it"),
        ({"x": numpy.ones((3, 2)), "label": LABELS}, r"different numbers of samples \(x: 3, label: 2\)"),
        ({"x": numpy.ones((2, 3)), "label": LABELS}, r"field 'x': found a value of shape \(3,\); store values of shape \(2,\)"),
        ({"x": numpy.array(1.0), "label": LABELS}, r"array 'x' has the shape \(\); its first axis must count samples"),
        ({"x": numpy.ones((2, 2), order="F"), "label": LABELS}, "array 'x' is stored column by column"),
        ({"x": numpy.array([["a", "b"]] * 2), "label": LABELS}, "field 'x': found .*; store numbers"),
        ({"x": numpy.ones((2, 2), complex), "label": LABELS}, "field 'x': found .*; store numbers"),
        ({"x": numpy.ones((2, 2)), "label": numpy.array([0.0, 1.0])}, "array 'label' is no list of class names or indices"),
        ({"x": numpy.ones((2, 2)), "label": numpy.array([[0], [1]])}, "array 'label' is no list of class names or indices"),
        ({"x": numpy.ones((2, 2)), "label": numpy.array([0, 2])}, "sample 1, label 'label': found 2; use one of ok, scratch"),
    ],
)
def test_arrays_that_do_not_fit_are_named_with_the_remedy(
    arrays: dict[str, "numpy.typing.NDArray[numpy.generic]"], message: str, tmp_path: Path
) -> None:
    numpy.savez(tmp_path / "a.npz", allow_pickle=False, **arrays)
    with pytest.raises(InvalidSamples, match=rf"a\.npz, .*{message}"):
        read(tmp_path / "a.npz")


def test_pickled_objects_are_never_read(tmp_path: Path) -> None:
    harm = tmp_path / "harm"

    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (harm,)

    numpy.savez(tmp_path / "a.npz", x=numpy.array([Harmful(), Harmful()], object), label=LABELS)
    with pytest.raises(InvalidSamples, match="array 'x' holds pickled objects, which are never read"):
        read(tmp_path / "a.npz")
    assert not harm.exists()


def test_a_file_that_announces_too_much_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    _write_archive(tmp_path / "a.npz", shape="(999999999999, 2)", content=b"")
    with pytest.raises(InvalidSamples, match="array 'x' unpacks to 7999999999992 bytes; store at most"):
        read(tmp_path / "a.npz")


def test_a_file_that_unpacks_to_more_than_allowed_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz, "MAX_ARRAY_BYTES", 1_000_000)
    _write_archive(tmp_path / "a.npz", shape="(2, 2)", content=b"\0" * 2_000_000)
    assert (tmp_path / "a.npz").stat().st_size < 10_000
    with pytest.raises(InvalidSamples, match="array 'x' unpacks to 20000.. bytes; store at most 1000000"):
        read(tmp_path / "a.npz")


def test_an_array_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    numpy.savez(tmp_path / "a.npz", x=numpy.ones((2, 2)), label=LABELS)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("x.npy", archive.read("x.npy"))
    with pytest.raises(InvalidSamples, match="array 'x' stands there 2 times; keep one"):
        read(tmp_path / "a.npz")


def test_a_file_with_less_than_it_announces_is_refused(tmp_path: Path) -> None:
    _write_archive(tmp_path / "a.npz", shape="(2, 2)", content=b"\0" * 15)
    with pytest.raises(InvalidSamples, match="array 'x' ends early"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("shape", ["(-1, 2)", "'x'", "(2, 2", "__import__('os').abort()"])
def test_a_header_that_makes_no_sense_is_refused(shape: str, tmp_path: Path) -> None:
    _write_archive(tmp_path / "a.npz", shape=shape, content=b"\0" * 16)
    with pytest.raises(InvalidSamples, match="array 'x' has"):
        read(tmp_path / "a.npz")


def _write_archive(file: Path, shape: str, content: bytes) -> None:
    """An archive whose array x has a header of our own."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    labels = io.BytesIO()
    numpy.save(labels, LABELS)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content)
        archive.writestr("label.npy", labels.getvalue())
