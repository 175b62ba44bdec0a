"""Drawn drums of a meter's counter, each showing a digit: what meter readers photograph, small.

A drum may stand between two digits (then it shows what more is seen of), tilted, in shadow, behind a reflection or dirty, and a
camera adds blur and noise. No photograph is needed, and no two are the same.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIGITS = tuple("0123456789")

_FINE = 48
"""Pixels each way that a drum is drawn with, before it is made small."""


@dataclass(frozen=True)
class Camera:
    """How bad the pictures are.

    Attributes:
        rolled: Largest share of a digit's height by which a drum stands away from showing one digit; below a half.
        tilted: Largest tilt in degrees.
        noise: Standard deviation of a pixel's noise, of 255.
    """

    rolled: float = 0.25
    tilted: float = 8.0
    noise: float = 8.0


class Dials:
    """Drums drawn by chance."""

    def __init__(self, seed: int, size: int = 16, camera: Camera | None = None) -> None:
        """Begin.

        Args:
            seed: All that is drawn follows from it.
            size: Height and width of an image in pixels.
            camera: What took them; none: an ordinary one.
        """
        self.size, self.camera = size, camera or Camera()
        self._chance = np.random.default_rng(seed)
        self._fonts = [ImageFont.load_default(points) for points in (34, 38, 42)]

    def images(self, count: int) -> "tuple[NDArray[np.uint8], NDArray[np.int64]]":
        """Images [count, size, size], and the digits that they show [count]; of each digit as many, give or take one."""
        labels = self._chance.permutation(np.arange(count) % len(DIGITS))
        return np.stack([self.image(int(label)) for label in labels]), labels

    def image(self, digit: int) -> "NDArray[np.uint8]":
        """One image [size, size] of a digit."""
        chance, camera = self._chance, self.camera
        dark = bool(chance.random() < 0.5)
        paper, ink = (chance.integers(10, 70), chance.integers(150, 256))[:: 1 if dark else -1]
        drum = Image.new("L", (_FINE, 3 * _FINE), int(paper))
        pen = ImageDraw.Draw(drum)
        font = self._fonts[chance.integers(len(self._fonts))]
        for place, shown in enumerate((digit - 1, digit, digit + 1)):
            pen.text((_FINE / 2, (place + 0.5) * _FINE), DIGITS[shown % 10], fill=int(ink), font=font, anchor="mm")
        moved = chance.uniform(-camera.rolled, camera.rolled) * _FINE
        shift = chance.uniform(-4, 4)
        tilt = chance.uniform(-camera.tilted, camera.tilted)
        drum = drum.rotate(tilt, Image.Resampling.BILINEAR, center=(_FINE / 2, 1.5 * _FINE), fillcolor=int(paper))
        window = drum.transform(
            (_FINE, _FINE), Image.Transform.AFFINE, (1, 0, shift, 0, 1, _FINE + moved), Image.Resampling.BILINEAR
        )
        pixels: NDArray[np.floating[Any]] = np.asarray(
            window.filter(ImageFilter.GaussianBlur(chance.uniform(0.5, 2.5))), np.float32
        )
        # The drum is round: light falls off towards its upper and lower edge.
        rows = np.linspace(-1, 1, _FINE)[:, None]
        pixels = pixels * (1 - chance.uniform(0.1, 0.6) * (rows + chance.uniform(-0.5, 0.5)) ** 2)
        pixels = self._disturbed(pixels)
        small = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).resize((self.size, self.size), Image.Resampling.BOX)
        noisy = np.asarray(small, np.float32) + chance.normal(0, camera.noise, (self.size, self.size))
        return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)

    def _disturbed(self, pixels: "NDArray[np.floating[Any]]") -> "NDArray[np.floating[Any]]":
        """With a reflection on the glass, and dirt."""
        chance = self._chance
        y, x = np.mgrid[:_FINE, :_FINE] / _FINE
        if chance.random() < 0.5:
            heading, where = chance.uniform(0, np.pi), chance.uniform(-0.2, 1.2)
            across = np.cos(heading) * x + np.sin(heading) * y
            pixels = pixels + chance.uniform(40, 140) * np.exp(-(((across - where) / chance.uniform(0.05, 0.15)) ** 2))
        for _ in range(int(chance.integers(0, 3))):
            row, column = chance.uniform(0, 1, 2)
            spot = np.exp(-((y - row) ** 2 + (x - column) ** 2) / chance.uniform(0.05, 0.12) ** 2)
            pixels = pixels * (1 - 0.9 * spot) + chance.uniform(0, 255) * 0.9 * spot
        return pixels
