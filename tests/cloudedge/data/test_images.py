"""Images of any size, colour and origin become the field's values."""

import struct
import zlib
from pathlib import Path

import numpy
import pytest
from PIL import Image

from cloudedge.data import load_samples, read_records
from cloudedge.documents import DataFormat
from cloudedge.errors import InvalidInput, InvalidSamples


def image_format(channels: int = 1, height: int = 2, width: int = 2, dtype: str = "uint8") -> DataFormat:
    field = {"name": "image", "shape": [channels, height, width], "dtype": dtype, "scale": 1 / 255}
    return DataFormat.model_validate({"storage": "image-folder", "fields": [field], "classes": ["ok", "scratch"]})


def values(folder: Path, data: DataFormat) -> list[list[list[int]]]:
    (record,) = read_records(folder, data)
    planes: list[list[list[int]]] = record.values["image"].tolist()
    return planes


@pytest.fixture
def ok(tmp_path: Path) -> Path:
    (tmp_path / "ok").mkdir()
    return tmp_path / "ok"


def test_channels_come_first(ok: Path) -> None:
    Image.fromarray(numpy.array([[[1, 2, 3], [4, 5, 6]]], numpy.uint8)).save(ok / "a.png")
    assert values(ok, image_format(3, 1, 2)) == [[[1, 4]], [[2, 5]], [[3, 6]]]


@pytest.mark.parametrize(("mode", "grey"), [("L", 200), ("RGB", 200), ("RGBA", 200), ("1", 255), ("LA", 200)])
def test_images_of_any_colour_become_grey_where_one_channel_is_wanted(ok: Path, mode: str, grey: int) -> None:
    Image.new("L", (2, 2), 200).convert("RGB").convert(mode).save(ok / "a.png")
    assert values(ok, image_format()) == [[[grey, grey], [grey, grey]]]


def test_an_image_is_brought_to_the_size_of_the_field(ok: Path) -> None:
    Image.fromarray(numpy.array([[0, 0, 100, 100], [0, 0, 100, 100]], numpy.uint8)).save(ok / "a.png")
    assert values(ok, image_format(1, 1, 2)) == [[[14, 86]]]


def test_a_photo_taken_sideways_is_turned_upright(ok: Path) -> None:
    image = Image.fromarray(numpy.array([[10, 20]], numpy.uint8))
    exif = image.getexif()
    exif[0x0112] = 6  # Turn by 90 degrees clockwise to show.
    image.save(ok / "a.png", exif=exif)
    assert values(ok, image_format(1, 2, 1)) == [[[10], [20]]]


def test_the_ending_may_be_in_capitals_and_pixels_are_scaled(ok: Path) -> None:
    Image.new("L", (2, 2), 255).save(ok / "A.PNG")
    samples = load_samples(ok, image_format(dtype="float32"))
    assert samples.inputs.tolist() == [[[[1.0, 1.0], [1.0, 1.0]]]]


def test_the_folder_names_the_class_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dent").mkdir()
    Image.new("L", (2, 2)).save(tmp_path / "dent" / "a.png")
    with pytest.raises(InvalidSamples, match=r"dent/a\.png, label 'label': found 'dent'; use one of ok, scratch"):
        list(read_records(tmp_path, image_format()))


def test_a_file_that_is_no_image_is_refused(ok: Path) -> None:
    (ok / "a.png").write_text("not an image")
    with pytest.raises(InvalidSamples, match=r"ok/a\.png, it is no image that can be read; write it again, or take it away"):
        values(ok, image_format())


def test_an_image_with_too_many_pixels_is_refused_before_it_is_unpacked(ok: Path) -> None:
    _write_png_header(ok / "a.png", 40_000, 40_000)
    with pytest.raises(InvalidSamples, match=r"store at most 50000000"):
        values(ok, image_format())
    _write_png_header(ok / "a.png", 10_000, 6_000)
    with pytest.raises(InvalidSamples, match=r"the image has 10000 x 6000 pixels; store at most 50000000"):
        values(ok, image_format())


def test_pixels_of_more_than_8_bits_are_refused_rather_than_cut_off(ok: Path) -> None:
    Image.fromarray(numpy.array([[1000, 2000]], numpy.uint16)).save(ok / "a.png")
    with pytest.raises(InvalidSamples, match="not 8-bit ones; convert it, or store samples as npz"):
        values(ok, image_format())


def test_a_number_of_channels_that_no_image_has_is_refused(ok: Path) -> None:
    Image.new("L", (2, 2)).save(ok / "a.png")
    with pytest.raises(InvalidInput, match="'image' has 2 channels, but images have 1, 3 or 4"):
        values(ok, image_format(channels=2))


def _write_png_header(file: Path, width: int, height: int) -> None:
    """A PNG that announces a size and holds next to nothing."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" * 100)),
        (b"IEND", b""),
    )
    content = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
