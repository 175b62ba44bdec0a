"""The light over a part: its level is one line of text to whatever controls it.

A controller on a serial line or a bus is told by its device, one that polls by a file, which is replaced as a whole. What is
written is the configuration's `command` with the level in it, and an end of line.
"""

from pathlib import Path

from cloudedge.documents.detector import Light
from cloudedge.errors import StoreFailed
from cloudedge.files import atomic_write


class LightControl:
    """The light, which is told only what changes.

    Attributes:
        trouble: Why the light was not told; empty: it was.
    """

    def __init__(self, light: Light | None, base: Path) -> None:
        """Prepare; nothing is written yet.

        Args:
            light: How it is set; none: there is none to set.
            base: Folder that a relative path is below.
        """
        self.trouble = ""
        self._light = light
        self._base = base
        self._told: int | None = None

    def set_for(self, brand: str) -> None:
        """Tell it the level for a brand, unless it has that already; what fails is tried again with the next call."""
        if self._light is None:
            return
        level = self._light.brands.get(brand, self._light.level)
        if level == self._told:
            return
        try:
            atomic_write(self._base / self._light.path, self._light.command.format(level=level).encode() + b"\n")
        except StoreFailed as error:
            self.trouble = f"The light was not set to {level}: {error}"
        else:
            self._told = level
            self.trouble = ""
