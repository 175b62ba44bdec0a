"""Pictures of a texture that is made here, some with a defect, and the truth about each.

A large piece of the texture is made once; a part is a random window of it, with the light varying a little. What a picture
shows depends on the seed and its number only.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from cloudedge.documents.detector import Generator
from cloudedge.documents.inspection import NORMAL
from edge.detector.sources.base import Exhausted, ImageSource, Pixels, Shot

DEFECTS = ("scratch", "stain", "hole")

_SPARE = 64
"""Pixels by which the piece is larger than a window, each way."""


class GeneratorSource(ImageSource):
    """An endless line of generated parts, or one of so many."""

    def __init__(self, settings: Generator) -> None:
        """Make the texture."""
        self._settings = settings
        self._number = 0
        height, width = settings.height + _SPARE, settings.width + _SPARE
        self._texture = _texture(settings.texture, height, width, np.random.default_rng([settings.seed, 0]))

    def take(self) -> Shot:
        """The next part.

        Raises:
            Exhausted: there were to be no more.
        """
        if self._settings.most and self._number >= self._settings.most:
            raise Exhausted
        self._number += 1
        chance = np.random.default_rng([self._settings.seed, self._number])
        truth = str(chance.choice(DEFECTS)) if chance.random() < self._settings.defects else NORMAL
        return Shot(partial(self._part, chance, truth), f"{self._number:08d}", truth)

    def _part(self, chance: np.random.Generator, truth: str) -> Pixels:
        height, width = self._settings.height, self._settings.width
        top, left = chance.integers(0, _SPARE, size=2)
        part = self._texture[top : top + height, left : left + width] * np.float32(chance.uniform(0.97, 1.03))
        if truth != NORMAL:
            _damage(part, truth, chance)
        pixels: Pixels = np.clip(part, 0, 255).astype(np.uint8)
        return pixels


def _texture(kind: str, height: int, width: int, chance: np.random.Generator) -> NDArray[np.float32]:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    grain = chance.normal(0, 6, size=(height, width)).astype(np.float32)
    if kind == "weave":
        base = 128 + 32 * np.sin(x * np.pi / 4) * np.sin(y * np.pi / 4) + 12 * np.sin((x + y) * np.pi / 8)
    elif kind == "stripes":
        base = 128 + 48 * np.sin(x * np.pi / 8)
    else:
        base = np.full((height, width), 128, np.float32)
        grain *= 3
    colour = np.array([1.0, 0.96, 0.9], np.float32)
    texture: NDArray[np.float32] = ((base + grain)[:, :, None] * colour).astype(np.float32)
    return texture


def _damage(part: NDArray[np.float32], defect: str, chance: np.random.Generator) -> None:
    """Draw a defect into a part."""
    height, width = part.shape[:2]
    y, x = np.ogrid[0:height, 0:width]
    middle_y, middle_x = chance.uniform(0.25, 0.75) * height, chance.uniform(0.25, 0.75) * width
    size = min(height, width)
    if defect == "scratch":
        angle, half = chance.uniform(0, np.pi), chance.uniform(0.12, 0.25) * size
        along = (x - middle_x) * np.cos(angle) + (y - middle_y) * np.sin(angle)
        across = (y - middle_y) * np.cos(angle) - (x - middle_x) * np.sin(angle)
        part[(np.abs(along) < half) & (np.abs(across) < max(1.0, size / 100))] = 225
        return
    radius = chance.uniform(0.05, 0.1) * size
    inside = (y - middle_y) ** 2 + (x - middle_x) ** 2 < radius**2
    if defect == "stain":
        part[inside] *= np.array([0.75, 0.6, 0.45], np.float32)
    else:
        part[inside] = 12
