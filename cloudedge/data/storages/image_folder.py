"""Folders of images, one folder for each class: <label>/<file>.png.

An image becomes grayscale (1 channel), RGB (3) or RGBA (4) and the field's height and width, so the same files always give the
same values. Values are 0 to 255. Pillow is imported only when an image is at hand: a place without images can do without it.
"""

import io
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy

from cloudedge.data.records import Fault, Record, class_index, one_value
from cloudedge.documents import DataFormat, Field
from cloudedge.errors import InvalidInput, InvalidSamples
from cloudedge.files import atomic_write

ENDINGS: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")

MAX_PIXELS = 50_000_000
"""Pixels in an image; a larger one is refused before it is unpacked."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def read(file: Path, data: DataFormat) -> Iterator[Record]:
    """Read one image; its label is the name of its folder.

    Raises:
        InvalidSamples: names the file, what is wrong with it and the remedy.
    """
    field = data.fields[0]
    try:
        label = class_index(file.absolute().parent.name, data)
        yield Record({field.name: one_value(_pixels(file, field), field)}, label)
    except Fault as fault:
        raise InvalidSamples(f"{file}, {fault}.") from None


def write(records: Iterable[Record], folder: Path, data: DataFormat, name: str) -> None:
    """Write `<label>/<name>-<number>.png` for each record.

    Raises:
        InvalidInput: a class's name cannot be a folder's, or values are not those of 8-bit pixels.
    """
    from PIL import Image

    field = data.fields[0]
    mode = _mode(field)
    for number, record in enumerate(records):
        label = data.classes[record.label]
        if label.startswith(".") or "/" in label or "\0" in label or not label:
            raise InvalidInput(f"The class {label!r} cannot be the name of a folder. Rename it, or store samples as npz.")
        pixels = record.values[field.name]
        if not ((pixels >= 0) & (pixels <= 255) & (pixels == numpy.floor(pixels))).all():
            raise InvalidInput(f"Field {field.name!r} has values other than 0, 1, ... 255. Scale them, or use npz.")
        planes = numpy.moveaxis(pixels.astype(numpy.uint8), 0, -1)
        image = Image.fromarray(planes[:, :, 0] if mode == "L" else planes)
        content = io.BytesIO()
        image.save(content, "png")
        atomic_write(folder / label / f"{name}-{number:06}.png", content.getvalue())


def _pixels(file: Path, field: Field) -> "numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.uint8]]":
    from PIL import Image, ImageOps, UnidentifiedImageError

    mode = _mode(field)
    _, height, width = field.shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # The bound below is ours and is stricter.
            with Image.open(file) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise Fault(f"the image has {opened.width} x {opened.height} pixels; store at most {MAX_PIXELS}")
                if opened.mode.startswith(("I", "F")):
                    raise Fault(f"the image has {opened.mode} pixels, not 8-bit ones; convert it, or store samples as npz")
                image = ImageOps.exif_transpose(opened).convert(mode)
    except UnidentifiedImageError:
        raise Fault("it is no image that can be read; write it again, or take it away") from None
    except Image.DecompressionBombError as error:
        raise Fault(f"{error}; store at most {MAX_PIXELS} pixels") from None
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # The disk's fault, not the image's.
        raise Fault(f"the image is damaged: {error}; write it again, or take it away") from None
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = numpy.asarray(image, dtype=numpy.uint8).reshape(height, width, field.shape[0])
    return numpy.moveaxis(pixels, -1, 0)


def _mode(field: Field) -> str:
    mode = _MODES.get(field.shape[0])
    if mode is None:
        raise InvalidInput(
            f"Field {field.name!r} has {field.shape[0]} channels, but images have 1, 3 or 4. Correct its shape, or use npz."
        )
    return mode
