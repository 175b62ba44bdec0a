"""Images on their way into a model: the same in training, in the gate and at a detector, to the last bit.

An image is uint8 RGB of shape (height, width, 3). Only the formats below are ever opened, whatever a file's content is: Pillow
knows many more, and runs other programs for some.
"""

import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from cloudedge.documents.deployable import ImageForm
from cloudedge.errors import InvalidSamples, NotFound, StoreFailed

Pixels = npt.NDArray[np.uint8]
"""Of shape (height, width, 3), RGB."""

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
"""In Pillow's words."""

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""What files of these formats are called."""

MOST_PIXELS = 50_000_000
"""Of an image; a larger one is refused before it is unpacked."""

MOST_BYTES = 256 * 1024 * 1024
"""Of a file; a longer one is refused before it is read."""


def read(path: Path) -> Pixels:
    """Read an image from a file.

    Raises:
        InvalidSamples: it is none, damaged or too large; names the file and the remedy.
        NotFound: there is no such file.
        StoreFailed: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(f"There is no image {path}.") from None
    except OSError as error:
        raise StoreFailed(f"Cannot read {path}: {error.strerror}. Check the path, its rights and the disk.") from error
    return decoded(content, str(path))


def decoded(content: bytes, source: str) -> Pixels:
    """Unpack an image. It is turned as its camera says, and what is transparent in it is as if it were not.

    Args:
        content: The bytes of a file of one of the `FORMATS`.
        source: Where it came from, for the message.

    Returns:
        Of shape (height, width, 3).

    Raises:
        InvalidSamples: it is no image, damaged, too large, or has pixels of more than 8 bits.
    """
    if len(content) > MOST_BYTES:
        raise InvalidSamples(f"The image {source} has more than {MOST_BYTES} bytes. Store it smaller, or take it away.")
    try:
        with warnings.catch_warnings():
            # The bound below is ours and is stricter than Pillow's; what else it warns of is no reason to refuse.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise InvalidSamples(
                        f"The image {source} has {opened.width} x {opened.height} pixels; at most {MOST_PIXELS} are "
                        "allowed. Store it smaller."
                    )
                if opened.mode.startswith(("I", "F")):
                    raise InvalidSamples(f"The image {source} has {opened.mode} pixels, not 8-bit ones. Convert it to 8 bits.")
                return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"), dtype=np.uint8)
    except InvalidSamples:
        raise
    except UnidentifiedImageError:
        raise InvalidSamples(
            f"The file {source} is no image of the formats {', '.join(FORMATS)}. Write it again, or take it away."
        ) from None
    except Image.DecompressionBombError as error:
        raise InvalidSamples(f"The image {source}: {error}. At most {MOST_PIXELS} pixels are allowed.") from None
    except Exception as error:  # Damaged content makes Pillow raise nearly anything.
        raise InvalidSamples(f"The image {source} is damaged: {error}. Write it again, or take it away.") from None


def prepared(image: Pixels, form: ImageForm) -> Pixels:
    """An image in the form that a model gets: resized, where it has another size.

    Args:
        image: uint8 of shape (height, width, 3), RGB.
        form: The model's.

    Returns:
        Of shape (form.height, form.width, 3), contiguous.

    Raises:
        InvalidSamples: it is no such image.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InvalidSamples(
            f"An image is uint8 of shape (height, width, 3), and this is {image.dtype} of shape {image.shape}. Convert it."
        )
    if image.shape[:2] != (form.height, form.width):
        resized = Image.fromarray(np.ascontiguousarray(image)).resize((form.width, form.height), Image.Resampling.BILINEAR)
        return np.asarray(resized, dtype=np.uint8)
    return np.ascontiguousarray(image)
