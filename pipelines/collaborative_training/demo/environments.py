"""Environments of a factory floor: each changes a clean image the way its light, its sensor or its mounting would."""

from collections.abc import Callable, Mapping

import numpy
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[numpy.float64]
"""One gray image, [height, width], from 0 (black) to 255."""

View = Callable[[Pixels, float, numpy.random.Generator], Pixels]
"""From a clean image, the environment's strength (1: as usual) and a source of randomness to what is seen there."""


def _dim_hall(pixels: Pixels, strength: float, random: numpy.random.Generator) -> Pixels:
    """Little light on the part, and a lamp's glare that grows towards one side."""
    light = random.uniform(0.3, 0.6)
    glare = strength * random.uniform(100, 200)
    return light * pixels + glare * numpy.linspace(0, 1, pixels.shape[1])


def _noisy_line(pixels: Pixels, strength: float, random: numpy.random.Generator) -> Pixels:
    """A sensor that adds noise to every pixel."""
    return pixels + random.normal(0, strength * 60, pixels.shape)


def _tilted_camera(pixels: Pixels, strength: float, random: numpy.random.Generator) -> Pixels:
    """A camera mounted at an angle: the image is turned."""
    angle = strength * random.uniform(35, 50)
    image = Image.fromarray(pixels.astype(numpy.float32))
    return numpy.asarray(image.rotate(angle, Image.Resampling.BILINEAR), dtype=numpy.float64)


def _shifted_belt(pixels: Pixels, strength: float, random: numpy.random.Generator) -> Pixels:
    """A belt that is out of line: parts pass low and to the right, partly out of sight."""
    right, down = strength * random.uniform(1.2, 2.4, size=2)
    image = Image.fromarray(pixels.astype(numpy.float32))
    moved = image.transform(image.size, Image.Transform.AFFINE, (1, 0, -right, 0, 1, -down), Image.Resampling.BILINEAR)
    return numpy.asarray(moved, dtype=numpy.float64)


ENVIRONMENTS: Mapping[str, View] = {
    "dim-hall": _dim_hall,
    "noisy-line": _noisy_line,
    "tilted-camera": _tilted_camera,
    "shifted-belt": _shifted_belt,
}
"""By name, which is also the name of the first edge there."""


def seen(environment: str, strength: float, pixels: Pixels, random: numpy.random.Generator) -> NDArray[numpy.uint8]:
    """An image as it is seen in an environment.

    Args:
        environment: A key of `ENVIRONMENTS`.
        strength: How much of it; 1 is usual.
        pixels: The clean image, [height, width], from 0 to 255.
        random: Where chance comes from.

    Returns:
        Whole pixels, [height, width].
    """
    return ENVIRONMENTS[environment](pixels, strength, random).round().clip(0, 255).astype(numpy.uint8)
