"""What lies in a folder that people and sensors fill: found in the same way on both shores, and nothing left out in silence."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cloudedge.names import is_passed_over

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}

_NOT_UTF8 = "has a name that is not UTF-8: rename it"


class Found(NamedTuple):
    """What stands at a path.

    Attributes:
        path: The path, as the operating system has it; `shown_path` is for people.
        fault: Why it cannot be read, as what is said of it, with the remedy; none: it is a file, which opens without waiting.
    """

    path: Path
    fault: str | None = None

    @property
    def key(self) -> str:
        """The path in a database: as it is where that can be written, else as it is shown."""
        return str(self.path) if is_utf8(self.path) else shown_path(self.path)

    def told(self) -> str:
        """The fault as a sentence about the path."""
        return f"{shown_path(self.path)} {self.fault}."


def shown_path(path: str | os.PathLike[str]) -> str:
    """A path as messages, JSON and databases hold it: what is not UTF-8 or cannot be printed is escaped."""
    text = os.fspath(path)
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(letter: str) -> str:
    if letter.isprintable():
        return letter
    code = ord(letter)
    # Python keeps a byte that is no UTF-8 as half a surrogate pair.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else letter.encode("unicode_escape").decode()


def is_utf8(path: str | os.PathLike[str]) -> bool:
    """Whether a path can stand in a database or a document as it is."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, linked ones among them, sorted by name.

    Raises:
        OSError: it cannot be listed.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not is_passed_over(entry.name))
    return [folder / name for name in names]


def whole(path: Path) -> Path:
    """The path from the root, without dots; links stay, as a link's name may be what counts."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def found_at(path: Path) -> Found:
    """Look at one path, without opening it."""
    if not is_utf8(path):
        return Found(path, _NOT_UTF8)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return Found(path, f"cannot be read: {error.strerror}; check it and its rights")
    if stat.S_ISREG(mode):
        return Found(path)
    return Found(path, f"is {_KINDS.get(stat.S_IFMT(mode), 'no file')}, not a file of samples: take it away")


def files_below(root: Path, wanted: Callable[[str], bool] = bool) -> list[Found]:
    """Find the files below a folder.

    Hidden and system files and folders are passed over. Linked folders are followed. A link back to a folder that it lies in
    adds nothing and is passed over; one that leads out to a folder around `root`, or to one whose files were found already, is
    a fault, as are folders that cannot be listed. Where there is no folder, there are no files.

    Args:
        root: The folder.
        wanted: Whether a file counts, by its name.

    Returns:
        Files and faults, sorted by the parts of their paths.
    """
    walk = _Walk(root, wanted)
    return sorted(walk.found, key=lambda found: found.path.parts)


_Identity = tuple[int, int]
"""Device and inode."""


class _Walk:
    """Finds real folders first, then the linked ones, so that of two ways to a folder the link is the one too many."""

    def __init__(self, root: Path, wanted: Callable[[str], bool]) -> None:
        self.found: list[Found] = []
        self._wanted = wanted
        self._seen: dict[_Identity, Path] = {}
        for parent in Path(os.path.realpath(root)).parents:
            self._seen[_identity(parent)] = parent
        self._links: list[tuple[Path, frozenset[_Identity]]] = []
        self._folder(root, frozenset())
        while self._links:
            links, self._links = sorted(self._links, key=lambda link: link[0].parts), []
            for path, above in links:
                self._link(path, above)

    def _link(self, path: Path, above: frozenset[_Identity]) -> None:
        try:
            identity = _identity(path)
        except OSError:
            return  # It is gone again.
        if identity in above:
            return
        if identity in self._seen:
            other = shown_path(self._seen[identity])
            self.found.append(Found(path, f"leads to {other}, whose files are found without it: remove the link"))
        else:
            self._folder(path, above)

    def _folder(self, top: Path, above: frozenset[_Identity]) -> None:
        waiting = [(top, above)]
        while waiting:
            folder, above = waiting.pop()
            try:
                identity = _identity(folder)
                with os.scandir(folder) as entries:
                    inside = list(entries)
            except FileNotFoundError:
                continue  # It is gone again.
            except OSError as error:
                self.found.append(Found(folder, f"cannot be listed: {error.strerror}; check its rights"))
                continue
            if identity in self._seen:
                other = shown_path(self._seen[identity])
                self.found.append(Found(folder, f"is the same folder as {other}: keep one way to it"))
                continue
            self._seen[identity] = folder
            here = above | {identity}
            for entry in inside:
                path = folder / entry.name
                if is_passed_over(entry.name):
                    continue
                if _is(entry.is_dir):
                    if not is_utf8(path):
                        self.found.append(Found(path, _NOT_UTF8))
                    elif entry.is_symlink():
                        self._links.append((path, here))
                    else:
                        waiting.append((path, here))
                elif self._wanted(entry.name):
                    # A regular file is known by its entry; what is not is looked at.
                    self.found.append(Found(path) if is_utf8(path) and _is(entry.is_file) else found_at(path))


def _identity(path: Path) -> _Identity:
    status = path.stat()
    return status.st_dev, status.st_ino


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # Such as a link to itself.
        return False
