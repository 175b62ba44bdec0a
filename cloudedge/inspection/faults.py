"""Faults drawn into normal images: what tells directions in which a fault moves features from those in which nothing says much.

Nothing is trained to find just these; they only weigh the features (see `anomaly`). Their kinds are strokes, spots, pieces from
elsewhere, and places out of focus, as in Li et al., "CutPaste: Self-Supervised Learning for Anomaly Detection and
Localization", CVPR 2021, and Zavrtanik et al., "DRAEM: A discriminatively trained reconstruction embedding", ICCV 2021.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from cloudedge.inspection.images import Pixels

Cover = npt.NDArray[np.float32]
"""Of shape (height, width): how much of each pixel is covered, 0 to 1."""


class Fault(NamedTuple):
    """An image with a fault.

    Attributes:
        pixels: uint8 of shape (height, width, 3).
        cover: Where the fault is, of shape (height, width).
    """

    pixels: Pixels
    cover: Cover


def drawn(image: Pixels, other: Pixels, chance: np.random.Generator) -> Fault:
    """Draw one fault of any kind.

    Args:
        image: What it is drawn into, uint8 of shape (height, width, 3).
        other: A normal image of the same form, for pieces from elsewhere.
        chance: Decides kind, place, size, colour and strength.
    """
    height, width = image.shape[:2]
    base = image.astype(np.float32)
    kind = chance.integers(4)
    if kind == 0:
        cover, content = _piece(base, other, chance)
    elif kind == 1:
        cover, content = _spot(height, width, chance), _out_of_focus(image, chance)
    else:
        cover = _stroke(height, width, chance) if kind == 2 else _spot(height, width, chance)
        content = _coloured(base, chance)
    mixed = base + (content - base) * cover[..., np.newaxis]
    return Fault(np.clip(np.rint(mixed), 0, 255).astype(np.uint8), cover)


def _piece(base: npt.NDArray[np.float32], other: Pixels, chance: np.random.Generator) -> tuple[Cover, npt.NDArray[np.float32]]:
    """A piece of the other image, at another place."""
    height, width = base.shape[:2]
    tall, wide = (max(2, int(size * share)) for size, share in zip((height, width), chance.uniform(0.08, 0.35, 2), strict=True))
    top, from_top = chance.integers(0, height - tall + 1, 2)
    left, from_left = chance.integers(0, width - wide + 1, 2)
    cover = np.zeros((height, width), np.float32)
    cover[top : top + tall, left : left + wide] = 1
    content = base.copy()
    content[top : top + tall, left : left + wide] = other[from_top : from_top + tall, from_left : from_left + wide]
    return cover, content


def _coloured(base: npt.NDArray[np.float32], chance: np.random.Generator) -> npt.NDArray[np.float32]:
    """The image brighter, darker, or with a colour over it."""
    if chance.random() < 0.5:
        return base * np.float32(chance.uniform(0.3, 1.7))
    colour = chance.uniform(0, 255, 1 if chance.random() < 0.7 else 3)
    share = chance.uniform(0.3, 1)
    return (base * (1 - share) + colour * share).astype(np.float32)


def _out_of_focus(image: Pixels, chance: np.random.Generator) -> npt.NDArray[np.float32]:
    height, width = image.shape[:2]
    factor = int(chance.integers(3, 11))
    small = Image.fromarray(image).resize((max(2, width // factor), max(2, height // factor)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), np.float32)


def _spot(height: int, width: int, chance: np.random.Generator) -> Cover:
    """A spot with an uneven edge."""
    cells = int(chance.integers(3, 9))
    rough = Image.fromarray(chance.normal(size=(cells, cells)).astype(np.float32))
    uneven = np.asarray(rough.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    down, right = np.mgrid[:height, :width].astype(np.float32)
    y, x = chance.uniform(0.1, 0.9, 2)
    size = chance.uniform(0.06, 0.25)
    near = np.exp(-((down / height - y) ** 2 + (right / width - x) ** 2) / (2 * size * size))
    edge = chance.uniform(4, 20)
    cover: Cover = np.clip((near * (1 + 0.6 * uneven) - 0.55) * edge, 0, 1).astype(np.float32)
    return cover


def _stroke(height: int, width: int, chance: np.random.Generator) -> Cover:
    """The way of a round brush that turns as it goes."""
    cover = np.zeros((height, width), np.float32)
    size = min(height, width)
    y, x = chance.uniform(0.1, 0.9, 2) * (height, width)
    angle, bend = chance.uniform(0, 2 * np.pi), chance.normal(0, 0.06)
    radius = chance.uniform(0.005, 0.03) * size
    for turn in chance.normal(bend, 0.05, int(chance.uniform(0.15, 0.6) * size)):
        y, x, angle = y + np.sin(angle), x + np.cos(angle), angle + turn
        top, bottom = max(int(y - radius - 2), 0), min(int(y + radius + 3), height)
        left, right = max(int(x - radius - 2), 0), min(int(x + radius + 3), width)
        if top >= bottom or left >= right:
            break
        down, across = np.mgrid[top:bottom, left:right]
        brush = np.clip(radius + 0.5 - np.hypot(down - y, across - x), 0, 1)
        cover[top:bottom, left:right] = np.maximum(cover[top:bottom, left:right], brush)
    return cover
