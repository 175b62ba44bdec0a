"""Folders of images: one of the folders that a file lies in names its class, as in <label>/<file>.png.

An image becomes grayscale (1 channel), RGB (3) or RGBA (4) and the field's height and width, so the same files always give the
same values. Values are 0 to 255; of several frames the first is read. Only the formats below are ever opened, whatever a file's
content is: Pillow knows many more, and runs other programs for some. It is imported only when an image is at hand: a place
without images can do without it.
"""

import io
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy

from cloudedge.data.records import Fault, Record, class_at, class_named, labels_in_words, one_value
from cloudedge.documents import DataFormat, SampleField
from cloudedge.errors import InvalidInput, InvalidSamples
from cloudedge.files import atomic_write
from cloudedge.places import shown_path, whole
from cloudedge.texts import shown

ENDINGS: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
"""What files of these endings may hold, in Pillow's words; which of them a file holds is seen in its content."""

MAX_PIXELS = 50_000_000
"""Pixels in an image; a larger one is refused before it is unpacked."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def read(file: Path, data: DataFormat, root: Path) -> Iterator[Record]:
    """Read one image; its class is named by one of the folders between `root` and the file.

    Raises:
        InvalidSamples: names the file, what is wrong with it and the remedy.
    """
    field = data.fields[0]
    try:
        label = _label(file, root, data)
        yield Record({field.name: one_value(_pixels(file, field), field)}, label)
    except Fault as fault:
        raise InvalidSamples(f"{shown_path(file)}, {fault}.") from None


def _label(file: Path, root: Path, data: DataFormat) -> int:
    folders = whole(file).relative_to(whole(root)).parts[:-1]
    for meaning in (class_named, class_at):
        found = [(folder, index) for folder in folders if (index := meaning(folder, data)) is not None]
        if len(found) == 1:
            return found[0][1]
        if found:
            names = " and ".join(repr(folder) for folder, _ in found)
            raise Fault(f"the folders {names} could both name the image's class; rename all but one of them")
    if not folders:
        raise Fault(f"it lies in no folder that names its class; put it into one, called {labels_in_words(data)}")
    raise Fault(f"label {data.label!r}: found {shown('/'.join(folders))}; use {labels_in_words(data)}")


def write(records: Iterable[Record], folder: Path, data: DataFormat, name: str) -> None:
    """Write `<label>/<name>-<number>.png` for each record.

    Raises:
        InvalidInput: values are not those of 8-bit pixels.
    """
    from PIL import Image

    field = data.fields[0]
    for number, record in enumerate(records):
        label = data.classes[record.label]
        pixels = record.values[field.name]
        if not ((pixels >= 0) & (pixels <= 255) & (pixels == numpy.floor(pixels))).all():
            raise InvalidInput(f"Field {field.name!r} has values other than 0, 1, ... 255. Scale them, or use npz.")
        planes = numpy.moveaxis(pixels.astype(numpy.uint8), 0, -1)
        image = Image.fromarray(planes[:, :, 0] if planes.shape[2] == 1 else planes)
        content = io.BytesIO()
        image.save(content, "png")
        atomic_write(folder / label / f"{name}-{number:06}.png", content.getvalue())


def _pixels(file: Path, field: SampleField) -> "numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.uint8]]":
    from PIL import Image, ImageOps, UnidentifiedImageError

    channels, height, width = field.shape
    try:
        with warnings.catch_warnings():
            # The bound below is ours and is stricter than Pillow's; what else it warns of is no reason to refuse.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_FORMATS) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise Fault(f"the image has {opened.width} x {opened.height} pixels; store at most {MAX_PIXELS}")
                if opened.mode.startswith(("I", "F")):
                    raise Fault(f"the image has {opened.mode} pixels, not 8-bit ones; convert it, or store samples as npz")
                image = ImageOps.exif_transpose(opened).convert(_MODES[channels])
    except Fault:
        raise
    except UnidentifiedImageError:
        raise Fault(f"it is no image of the formats {', '.join(_FORMATS)}; write it again, or take it away") from None
    except Image.DecompressionBombError as error:
        raise Fault(f"{error}; store at most {MAX_PIXELS} pixels") from None
    except Exception as error:  # Damaged content makes Pillow raise nearly anything.
        if isinstance(error, OSError) and error.errno:
            raise  # The disk's fault, not the image's.
        raise Fault(f"the image is damaged: {error}; write it again, or take it away") from None
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = numpy.asarray(image, dtype=numpy.uint8).reshape(height, width, channels)
    return numpy.moveaxis(pixels, -1, 0)
