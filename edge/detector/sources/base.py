"""What all sources of images have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""An image: (height, width, 3), red, green and blue."""


class Exhausted(Exception):
    """A source has given its last image."""


@dataclass(frozen=True)
class Shot:
    """An image at the moment of a tick. Its pixels may still have to be decoded, which is done by who looks at them.

    Attributes:
        pixels: Gives the image; raises InvalidInput where there is none, saying why.
        name: What its source calls it; empty: nothing.
        truth: What it shows, where the source knows: 'normal', or a defect's name.
    """

    pixels: Callable[[], Pixels]
    name: str = ""
    truth: str = ""


class ImageSource(ABC):
    """Gives an image for a tick."""

    @abstractmethod
    def take(self) -> Shot | None:
        """The image of this moment; none: nothing has come that was not inspected yet. Returns at once.

        Raises:
            Exhausted: there will be no more.
        """

    @property
    def trouble(self) -> str:
        """What a person should look after; empty: nothing."""
        return ""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Give back what it holds."""
