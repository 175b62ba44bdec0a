"""Samples on this machine, as a run there reads them."""

from pathlib import Path

from cloudedge.errors import InvalidInput
from cloudedge.places import is_utf8, shown_path, subfolders


class Data:
    """Where a run's samples are: DIR/cloud, DIR/edges/<edge>, DIR/test, as far as a system has use for each."""

    def __init__(self, folder: Path) -> None:
        """Look at a folder.

        Raises:
            InvalidInput: no pipeline can be told its name.
        """
        self.folder = folder.absolute()
        self.cloud = self.folder / "cloud"
        self.shown = shown_path(folder)
        if not is_utf8(self.folder):
            raise InvalidInput(f"{self.shown} has a name that is not UTF-8, or lies in a folder that has. Rename it.")

    def edges(self) -> dict[str, Path]:
        """Folder of samples by edge."""
        root = self.folder / "edges"
        return {path.name: path for path in subfolders(root)} if root.is_dir() else {}

    @property
    def test(self) -> str:
        """Folder of the test data, or an empty text."""
        folder = self.folder / "test"
        return str(folder) if folder.exists() else ""
