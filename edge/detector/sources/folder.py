"""Pictures in a folder, by their names in sorted order."""

import os
from collections import deque
from functools import partial
from pathlib import Path
from typing import Literal

from cloudedge.errors import InvalidInput
from cloudedge.inspection.images import ENDINGS, read
from cloudedge.names import is_passed_over
from cloudedge.places import shown_path
from edge.detector.sources.base import Exhausted, ImageSource, Shot

Mode = Literal["once", "loop", "watch"]


class FolderSource(ImageSource):
    """The pictures of a folder.

    A watched one is looked into again when all that was there is inspected. A picture is taken once two looks have found it of
    the same length, as whoever writes it may still be at it.
    """

    def __init__(self, folder: Path, mode: Mode) -> None:
        """Look into the folder.

        Raises:
            InvalidInput: there is no such folder, it cannot be listed, or there is no picture in it to begin with.
        """
        self._folder = folder
        self._mode = mode
        self._growing: dict[str, int] = {}
        self._taken: set[str] = set()
        self._trouble = ""
        try:
            names = _pictures(folder)
        except OSError as error:
            raise InvalidInput(
                f"Cannot look into {shown_path(folder)}: {error.strerror}. Make the folder, or correct source.path."
            ) from None
        if not names and mode != "watch":
            raise InvalidInput(
                f"There is no picture in {shown_path(folder)} ({', '.join(ENDINGS)}). Put some there, or set source.mode to "
                "'watch'."
            )
        self._waiting = deque(names)

    @property
    def trouble(self) -> str:
        """Why the folder cannot be looked into any more."""
        return self._trouble

    def take(self) -> Shot | None:
        """The next picture.

        Raises:
            Exhausted: that was the last one, of a folder that is read once.
        """
        if not self._waiting:
            if self._mode == "once":
                raise Exhausted
            self._look()
            if not self._waiting:
                return None
        name = self._waiting.popleft()
        self._taken.add(name)
        return Shot(partial(read, self._folder / name), name)

    def _look(self) -> None:
        try:
            found = _pictures(self._folder)
            self._trouble = ""
        except OSError as error:
            self._trouble = f"Cannot look into {shown_path(self._folder)}: {error.strerror}. Bring the folder back."
            return
        if self._mode == "loop":
            self._waiting.extend(found)
            return
        self._taken &= found.keys()  # A name that is gone may come again.
        new = {name: size for name, size in found.items() if name not in self._taken}
        self._waiting.extend(name for name, size in new.items() if size and self._growing.get(name) == size)
        self._growing = new


def _pictures(folder: Path) -> dict[str, int]:
    """Names of pictures in sorted order, with their lengths in bytes."""
    with os.scandir(folder) as entries:
        found = {
            entry.name: entry.stat().st_size
            for entry in entries
            if entry.name.lower().endswith(ENDINGS) and not is_passed_over(entry.name) and entry.is_file()
        }
    return dict(sorted(found.items()))
