"""Images varied as a line varies them, so that a model learned from few of them does not take that for a fault."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from cloudedge.documents.inspection import Augmentation
from cloudedge.inspection.images import Pixels


def varied(image: Pixels, asked: Augmentation, chance: np.random.Generator) -> Iterator[Pixels]:
    """The image itself, mirrored where asked, and as many copies varied at random as asked.

    Args:
        image: uint8 of shape (height, width, 3).
        asked: How it is varied. Where it is turned or moved, its border is repeated.
        chance: Decides by how much.

    Yields:
        Images of the same shape.
    """
    mirrored = [image]
    if asked.flip_horizontal:
        mirrored += [each[:, ::-1] for each in mirrored]
    if asked.flip_vertical:
        mirrored += [each[::-1] for each in mirrored]
    yield from map(np.ascontiguousarray, mirrored)
    for _ in range(asked.copies):
        yield _varied(mirrored[int(chance.integers(len(mirrored)))], asked, chance)


def _varied(image: Pixels, asked: Augmentation, chance: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    angle = np.deg2rad(chance.uniform(-asked.rotate_degrees, asked.rotate_degrees))
    down, right = chance.uniform(-asked.shift, asked.shift, 2) * (height, width)
    bright, contrast = (
        1 + chance.uniform(-asked.brightness, asked.brightness),
        1 + chance.uniform(-asked.contrast, asked.contrast),
    )
    found = image
    if asked.rotate_degrees or asked.shift:
        found = _moved(image, angle, down, right)
    if asked.brightness or asked.contrast:
        values = found.astype(np.float32)
        mean = values.mean()
        found = np.clip(np.rint(((values - mean) * contrast + mean) * bright), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(found)


def _moved(image: Pixels, angle: float, down: float, right: float) -> Pixels:
    """Turned about its centre and moved, by bilinear interpolation."""
    height, width = image.shape[:2]
    # So much border that no corner of what is turned and moved lies outside.
    border = int(np.ceil(np.hypot(height, width) / 2 - min(height, width) / 2 + np.hypot(down, right))) + 2
    padded = np.pad(image, ((border, border), (border, border), (0, 0)), mode="edge")
    cosine, sine = np.cos(angle), np.sin(angle)
    y, x = (height - 1) / 2 + border + 0.5, (width - 1) / 2 + border + 0.5
    to_x, to_y = (width - 1) / 2 + 0.5 + right, (height - 1) / 2 + 0.5 + down
    place = (cosine, sine, x - cosine * to_x - sine * to_y, -sine, cosine, y + sine * to_x - cosine * to_y)
    moved = Image.fromarray(padded).transform((width, height), Image.Transform.AFFINE, place, Image.Resampling.BILINEAR)
    return np.asarray(moved, np.uint8)
