"""Parts for the demo: crops of photographed textures, in order or with a drawn defect.

The photographs of brick, grass and gravel come with scikit-image. Parts to train on are cut from another half of a photograph
than those to test on, so that no pixel is in both.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cloudedge.errors import InvalidInput
from cloudedge.files import disk_errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Mask = NDArray[np.bool_]

SIZE = 128
"""Height and width of a part's image, in pixels."""

Half = Literal["trained", "tested"]


class Texture:
    """A photographed texture that parts are cut from."""

    def __init__(self, name: str, seed: int = 0) -> None:
        """Open a photograph.

        Args:
            name: brick, grass or gravel.
            seed: All that is drawn by chance follows from it.

        Raises:
            InvalidInput: scikit-image, which has the photographs, is not installed.
        """
        import numpy as np

        try:
            from skimage import data
        except ImportError:
            raise InvalidInput(
                "The demo's photographs come with scikit-image: install cloudedge with its extra 'textures'."
            ) from None
        self.name = name
        self._photograph: Pixels = np.asarray(getattr(data, name)(), dtype=np.uint8)
        self._random = np.random.default_rng([seed, *name.encode()])

    def part(self, half: Half) -> "Pixels":
        """A part that is in order: uint8 of shape (SIZE, SIZE, 3). Light and noise differ from part to part."""
        import numpy as np

        height, width = self._photograph.shape
        # The upper half is trained on, the lower one tested on.
        lowest = height // 2 - SIZE
        top = int(self._random.integers(0, lowest + 1)) + (height // 2 if half == "tested" else 0)
        left = int(self._random.integers(0, width - SIZE + 1))
        crop = self._photograph[top : top + SIZE, left : left + SIZE].astype(np.float32)
        lit = crop * self._random.uniform(0.95, 1.05) + self._random.normal(0, 2.0, crop.shape)
        return np.repeat(np.clip(lit, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)

    def defective(self, half: Half, defect: str) -> "tuple[Pixels, Mask]":
        """A part with a defect, and where it is: bool of shape (SIZE, SIZE)."""
        part = self.part(half)
        return part, _DEFECTS[defect](part, self._random)


def _scratch(part: "Pixels", random: "np.random.Generator") -> "Mask":
    """A thin bent line, brighter or darker than what it crosses."""
    import numpy as np
    from PIL import Image, ImageDraw

    start, heading = random.uniform(20, SIZE - 20, 2), random.uniform(0, 2 * np.pi)
    points = [start]
    for _ in range(4):
        heading += random.normal(0, 0.25)
        points.append(points[-1] + 14 * np.array([np.cos(heading), np.sin(heading)]))
    line = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(line).line([(float(x), float(y)) for x, y in points], fill=255, width=2)
    mask: Mask = np.asarray(line) > 0
    change = random.choice([-90, 90])
    part[mask] = np.clip(part[mask].astype(np.int16) + change, 0, 255).astype(np.uint8)
    return mask


def _stain(part: "Pixels", random: "np.random.Generator") -> "Mask":
    """A soft spot, darker or brighter, and without the texture's contrast."""
    import numpy as np

    centre, radius = random.uniform(24, SIZE - 24, 2), random.uniform(10, 18)
    y, x = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(y - centre[0], x - centre[1]) / radius
    share = np.clip(1.5 - distance, 0, 1)[:, :, None] * 0.8
    colour = part.mean() + random.choice([-60, 60])
    part[:] = (part * (1 - share) + colour * share).astype(np.uint8)
    mask: Mask = distance < 1.2
    return mask


def _patch(part: "Pixels", random: "np.random.Generator") -> "Mask":
    """A square of the same texture that lies the wrong way."""
    import numpy as np

    side = int(random.integers(32, 48))
    top, left, other_top, other_left = random.integers(4, SIZE - 4 - side, 4)
    square = np.rot90(part[other_top : other_top + side, other_left : other_left + side]).copy()
    part[top : top + side, left : left + side] = square
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


_DEFECTS: "Mapping[str, Callable[[Pixels, np.random.Generator], Mask]]" = {
    "scratch": _scratch,
    "stain": _stain,
    "patch": _patch,
}

DEFECTS = tuple(_DEFECTS)
"""Names of the defects."""


def write_parts(folder: Path, texture: Texture, half: Half, count: int) -> None:
    """Write images of parts that are in order.

    Args:
        folder: Where to.
        texture: What they are cut from.
        half: Of the photograph.
        count: How many.

    Raises:
        StoreFailed: the disk does not take them.
    """
    from PIL import Image

    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.fromarray(texture.part(half)).save(folder / f"{number:04d}.png")


def write_test_set(folder: Path, texture: Texture, normal: int, of_each_defect: int) -> None:
    """Write a test set with masks, as the gate reads it.

    Raises:
        StoreFailed: the disk does not take it.
    """
    from PIL import Image

    write_parts(folder / "normal", texture, "tested", normal)
    with disk_errors(folder):
        for defect in DEFECTS:
            for place in (folder / defect, folder / "masks" / defect):
                place.mkdir(parents=True, exist_ok=True)
            for number in range(of_each_defect):
                part, mask = texture.defective("tested", defect)
                Image.fromarray(part).save(folder / defect / f"{number:04d}.png")
                Image.fromarray(mask).save(folder / "masks" / defect / f"{number:04d}.png")


def write_belt(folder: Path, texture: Texture, count: int, defect_every: int) -> None:
    """Write what comes along a production line: parts in order, and now and then one with a defect.

    Args:
        folder: Where to.
        texture: What they are cut from.
        count: How many.
        defect_every: Each so many-th has a defect.

    Raises:
        StoreFailed: the disk does not take it.
    """
    from PIL import Image

    write_parts(folder, texture, "trained", count)
    with disk_errors(folder):
        for number in range(defect_every - 1, count, defect_every):
            part, _ = texture.defective("tested", DEFECTS[number // defect_every % len(DEFECTS)])
            Image.fromarray(part).save(folder / f"{number:04d}.png")
