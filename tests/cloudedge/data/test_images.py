"""Images of any size, colour and origin become the field's values."""

import contextlib
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import EpsImagePlugin, Image

from cloudedge.data import load_samples, read_records
from cloudedge.documents import DataFormat
from cloudedge.errors import InvalidSamples


def image_format(
    channels: int = 1, height: int = 2, width: int = 2, dtype: str = "uint8", classes: Sequence[str] = ("ok", "scratch")
) -> DataFormat:
    field = {"name": "image", "shape": [channels, height, width], "dtype": dtype, "scale": 1 / 255}
    return DataFormat.model_validate({"storage": "image-folder", "fields": [field], "classes": classes})


def save(file: Path) -> None:
    file.parent.mkdir(parents=True)
    Image.new("L", (2, 2)).save(file)


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
    samples = load_samples(ok.parent, image_format(dtype="float32"))
    assert samples.inputs.tolist() == [[[[1.0, 1.0], [1.0, 1.0]]]]


@pytest.mark.parametrize(
    ("classes", "path", "label"),
    [
        (("good", "worn"), "worn/a.png", 1),
        (("good", "worn"), "hall 3/worn/a.png", 1),
        (("good", "worn"), "worn/hall 3/a.png", 1),
        (("good", "worn"), "worn/0/a.png", 1),
        (("good", "worn"), "0/worn/a.png", 1),
        (("good", "worn"), "1/a.png", 1),
        (("good", "worn"), "hall 3/1/a.png", 1),
        (("1", "2", "3"), "1/a.png", 0),
        (("1", "2", "3"), "3/a.png", 2),
        (("bon", "défaut"), "de\u0301faut/a.png", 1),
        (("bon", "de\u0301faut"), "défaut/a.png", 1),
    ],
)
def test_the_one_folder_that_names_a_class_names_the_images(
    classes: tuple[str, ...], path: str, label: int, tmp_path: Path
) -> None:
    save(tmp_path / "cloud" / path)
    (record,) = read_records(tmp_path / "cloud", image_format(classes=classes), tmp_path / "cloud")
    assert record.label == label


@pytest.mark.parametrize(
    ("classes", "path", "message"),
    [
        (
            ("good", "worn"),
            "worn/good/a.png",
            "the folders 'worn' and 'good' could both name the image's class; rename all but",
        ),
        (
            ("good", "worn"),
            "worn/worn/a.png",
            "the folders 'worn' and 'worn' could both name the image's class; rename all but",
        ),
        (("good", "worn"), "0/1/a.png", "the folders '0' and '1' could both name the image's class; rename all but one"),
        (("1", "2", "3"), "0/a.png", "label 'label': found '0'; use one of 1, 2, 3$"),
        (("01", "02"), "1/a.png", "label 'label': found '1'; use one of 01, 02$"),
        (("good", "worn"), "2/a.png", "label 'label': found '2'; use one of good, worn, or an index from 0 to 1"),
        (("good", "worn"), "hall 3/dent/a.png", "label 'label': found 'hall 3/dent'; use one of good, worn"),
        (("cloud", "sun"), "a.png", "it lies in no folder that names its class; put it into one, called one of cloud, sun"),
    ],
)
def test_an_image_whose_class_is_not_given_by_exactly_one_folder_is_refused(
    classes: tuple[str, ...], path: str, message: str, tmp_path: Path
) -> None:
    save(tmp_path / "cloud" / path)
    with pytest.raises(InvalidSamples, match=rf"cloud/{path}, {message.rstrip('$')}\.?" + ("$" if message[-1] == "$" else "")):
        load_samples(tmp_path / "cloud", image_format(classes=classes))


def test_a_folder_or_a_file_that_a_person_names_may_name_the_class_itself(tmp_path: Path) -> None:
    save(tmp_path / "ok" / "scratch" / "1" / "a.png")
    (by_folder,) = read_records(tmp_path / "ok" / "scratch", image_format())
    (by_file,) = read_records(tmp_path / "ok" / "scratch" / "1" / "a.png", image_format())
    assert (by_folder.label, by_file.label) == (1, 1)
    with pytest.raises(InvalidSamples, match="the folders 'ok' and 'scratch' could both"):
        list(read_records(tmp_path / "ok", image_format()))


def test_the_folder_names_the_class_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dent").mkdir()
    Image.new("L", (2, 2)).save(tmp_path / "dent" / "a.png")
    with pytest.raises(InvalidSamples, match=r"dent/a\.png, label 'label': found 'dent'; use one of ok, scratch"):
        list(read_records(tmp_path, image_format(), tmp_path))


def test_a_file_that_is_no_image_is_refused(ok: Path) -> None:
    (ok / "a.png").write_text("not an image")
    with pytest.raises(
        InvalidSamples, match=r"ok/a\.png, it is no image of the formats PNG, JPEG, .*; write it again, or take"
    ):
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


DOCUMENTED = {"PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"}


def test_only_the_documented_formats_are_opened_whatever_a_file_is_called(ok: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    opened: list[str] = []
    monkeypatch.setattr(Image, "EXTENSION", dict(Image.EXTENSION))  # Whatever Spider saves, it takes the ending for its own.
    monkeypatch.setattr(Image, "OPEN", {name: _noting(name, of, opened) for name, of in Image.OPEN.items()})
    read, refused = set(), set()
    for kind in Image.SAVE:
        with contextlib.suppress(Exception), (ok / "a.png").open("wb") as file:  # Some need other images, or more than that.
            Image.new("RGB", (2, 2), 77).save(file, kind)
        try:
            values(ok, image_format(3))
        except InvalidSamples as error:
            assert "it is no image of the formats PNG, JPEG, BMP, GIF, TIFF, WEBP" in str(error)
            refused.add(kind)
        else:
            read.add(kind)
    assert set(opened) == DOCUMENTED <= read
    assert {"EPS", "PDF", "PPM", "TGA", "ICO"} <= refused


def test_postscript_that_is_called_png_never_reaches_ghostscript(ok: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *what: asked.append(what))
    header = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n%%EndComments\n"
    (ok / "a.png").write_bytes(header + b"(/tmp/harm) (w) file closefile\n%%EOF\n")
    with Image.open(ok / "a.png") as opened:
        assert opened.format == "EPS"
    with pytest.raises(InvalidSamples, match="it is no image of the formats PNG"):
        values(ok, image_format())
    assert not asked


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_frames_the_first_is_read(kind: str, ok: Path) -> None:
    frames = [Image.new("L", (2, 2), value) for value in (255, 0)]
    frames[0].save(ok / "a.png", kind, save_all=True, append_images=frames[1:], lossless=True)
    assert values(ok, image_format()) == [[[255, 255], [255, 255]]]


def _noting(name: str, opener: tuple[Any, Any], opened: list[str]) -> tuple[Any, Any]:
    """A way to open a format that notes that it was taken."""

    def open_it(*arguments: Any) -> Any:
        opened.append(name)
        return opener[0](*arguments)

    return open_it, opener[1]


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
