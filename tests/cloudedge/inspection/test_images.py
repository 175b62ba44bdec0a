"""Images on their way into a model."""

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cloudedge.documents.deployable import ImageForm
from cloudedge.errors import InvalidSamples, NotFound
from cloudedge.inspection.images import decoded, prepared, read


def encoded(image: Image.Image, kind: str = "png", **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    to=st.tuples(st.integers(32, 96), st.integers(32, 96)),
    seed=st.integers(0, 99),
)
def test_an_image_is_prepared_the_same_however_it_comes(height: int, width: int, to: tuple[int, int], seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    form = ImageForm(height=to[0], width=to[1])
    from_array = prepared(pixels, form)
    assert from_array.shape == (*to, 3)
    assert from_array.dtype == np.uint8
    stored = decoded(encoded(Image.fromarray(pixels)), "stored")
    assert np.array_equal(prepared(stored, form), from_array)
    assert np.array_equal(prepared(np.asfortranarray(pixels), form), from_array)
    assert np.array_equal(prepared(from_array, form), from_array)


def test_gray_and_transparent_images_become_rgb() -> None:
    gray = decoded(encoded(Image.new("L", (5, 4), 77)), "gray")
    assert gray.shape == (4, 5, 3)
    assert set(gray.flat) == {77}
    assert decoded(encoded(Image.new("RGBA", (5, 4), (1, 2, 3, 0))), "clear")[0, 0].tolist() == [1, 2, 3]


def test_an_image_stands_as_its_camera_says() -> None:
    image = Image.new("RGB", (8, 4))
    exif = Image.Exif()
    exif[274] = 6
    assert decoded(encoded(image, "jpeg", exif=exif), "turned").shape == (8, 4, 3)


def test_what_is_no_image_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "part.png"
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    for content, fault in (
        (b"", "is no image of the formats"),
        (b"GIF89a", "is no image of the formats"),
        (whole[: len(whole) // 2], "is damaged"),
        (encoded(Image.new("I;16", (4, 4))), "not 8-bit ones"),
    ):
        path.write_bytes(content)
        with pytest.raises(InvalidSamples) as error:
            read(path)
        assert fault in str(error.value)
        assert str(path) in str(error.value)
    with pytest.raises(NotFound):
        read(tmp_path / "none.png")


def test_a_small_file_that_unpacks_to_too_much_is_refused_before_it_is() -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    for side in (8_000, 60_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
        with pytest.raises(InvalidSamples, match=r"at most|At most"):
            decoded(bomb, "bomb")


@settings(max_examples=100, deadline=None)
@given(place=st.floats(0, 0.999), value=st.integers(0, 255), kind=st.sampled_from(["png", "jpeg", "bmp", "tiff", "webp"]))
def test_a_damaged_image_is_read_or_refused_and_nothing_else(place: float, value: int, kind: str) -> None:
    content = bytearray(encoded(Image.fromarray(np.arange(48 * 48 * 3, dtype=np.uint8).reshape(48, 48, 3)), kind))
    content[int(place * len(content))] = value
    with contextlib.suppress(InvalidSamples):
        assert decoded(bytes(content), "damaged").shape[2] == 3
