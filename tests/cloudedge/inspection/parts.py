"""Parts to inspect, drawn: a plate with a regular pattern, and what can be wrong with it."""

import hashlib
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import numpy.typing as npt

from cloudedge.inspection.backbone import default_backbone
from cloudedge.inspection.training import Example

SIZE = 64

Pixels = npt.NDArray[np.uint8]


@cache
def weights() -> Path:
    """The default weights, made once."""
    return default_backbone(Path(mkdtemp(prefix="backbone-")))


def normal(number: int, size: int = SIZE) -> Pixels:
    chance = np.random.default_rng([1, number])
    down, right = np.mgrid[:size, :size]
    pattern = 120 + 50 * np.sin(down / 3 + chance.uniform(0, 6)) * np.sin(right / 4 + chance.uniform(0, 6))
    values: npt.NDArray[np.float64] = pattern[..., np.newaxis] * (1.0, 0.9, 0.8) + chance.normal(0, 3, (size, size, 3))
    image: Pixels = np.clip(values, 0, 255).astype(np.uint8)
    return image


def hole(number: int) -> Pixels:
    chance = np.random.default_rng([2, number])
    image = normal(1000 + number)
    down, right = np.mgrid[:SIZE, :SIZE]
    y, x = chance.uniform(16, 48, 2)
    image[np.hypot(down - y, right - x) < 6] = 10
    return image


def smear(number: int) -> Pixels:
    chance = np.random.default_rng([3, number])
    image = normal(2000 + number)
    top = int(chance.integers(8, 44))
    image[top : top + 10, 8:56] = (230, 220, 40)
    return image


def examples(label: str, count: int) -> list[Example]:
    draw = {"normal": normal, "hole": hole, "smear": smear}[label]
    images = [draw(number) for number in range(count)]
    return [Example(image, label, hashlib.sha256(image.tobytes()).hexdigest()) for image in images]
