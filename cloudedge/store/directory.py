"""The object store as a directory: what a laptop uses."""

import contextlib
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudedge.documents.order import RemoteFile, UploadTarget
from cloudedge.errors import InvalidInput, NotFound, StoreFailed
from cloudedge.files import TEMPORARY, atomic_copy, atomic_write, disk_errors
from cloudedge.store.base import Changes, Entry, checked_key, is_key


class DirectoryStore:
    """Objects are files below one folder; URLs are file:// ones, which a runner accepts only below roots it was given."""

    def __init__(self, root: Path) -> None:
        """Keep objects below `root`, which is made when first written to."""
        self.root = root.absolute()

    @property
    def longest_url_seconds(self) -> float:
        """See `Store.longest_url_seconds`."""
        return math.inf

    def put(self, key: str, content: bytes, *, once: bool = False) -> None:
        """See `Store.put`."""
        atomic_write(self._path(key), content, once=once)

    def put_file(self, key: str, path: Path, *, once: bool = False) -> None:
        """See `Store.put_file`."""
        atomic_copy(path, self._path(key), once=once)

    def get(self, key: str, max_bytes: int) -> bytes:
        """See `Store.get`."""
        with self._read_errors(key), self._path(key).open("rb") as file:
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise InvalidInput(f"The object {key!r} has more than the {max_bytes} bytes that are read of such an object.")
        return content

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """See `Store.local`; the object's own file, nothing is copied."""
        with self._read_errors(key):
            _entry(key, self._path(key).stat())
        yield self._path(key)

    def stat(self, key: str) -> Entry | None:
        """See `Store.stat`."""
        try:
            with self._read_errors(key):
                return _entry(key, self._path(key).stat())
        except NotFound:
            return None

    def list(self, prefix: str) -> Iterator[Entry]:
        """See `Store.list`."""
        with self._read_errors(prefix):
            entries = sorted(_walk(self._path(prefix), prefix))
        yield from entries

    def folders(self, prefix: str) -> tuple[str, ...]:
        """See `Store.folders`."""
        root = self._path(prefix)
        with self._read_errors(prefix):
            names = sorted(child.name for child in _children(root) if _is_folder(child))
            return tuple(name for name in names if _has_objects(root / name))

    @contextmanager
    def changes(self, prefix: str) -> Iterator[Changes]:
        """See `Store.changes`; a directory tells nothing, and its listing costs little."""
        checked_key(prefix)
        yield lambda: None

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        path = self._path(key)
        with disk_errors(path), contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
            path.unlink()

    def delete_below(self, prefix: str) -> int:
        """See `Store.delete_below`; folders that are left empty go, too."""
        root = self._path(prefix)
        count = 0
        for folder, _, names in os.walk(root, topdown=False):
            with disk_errors(Path(folder)):
                for name in names:
                    if not name.startswith(".") or name.startswith(TEMPORARY):
                        Path(folder, name).unlink(missing_ok=True)
                        count += not name.startswith(TEMPORARY)
            with contextlib.suppress(OSError):  # What is not ours stays.
                Path(folder).rmdir()
        return count

    def download(self, key: str, sha256: str, size: int, expires_seconds: float) -> RemoteFile:
        """See `Store.download`; a file's URL does not expire."""
        del expires_seconds
        return RemoteFile(url=self._path(key).as_uri(), sha256=sha256, size=size)

    def upload(self, key: str, *, max_bytes: int, once: bool, expires_seconds: float) -> UploadTarget:
        """See `Store.upload`; a file's URL does not expire."""
        del expires_seconds
        return UploadTarget(url=self._path(key).as_uri(), max_bytes=max_bytes, once=once)

    def _path(self, key: str) -> Path:
        return self.root / checked_key(key)

    @contextmanager
    def _read_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound(f"There is no object {key!r} in {self.root}.") from None
        except OSError as error:
            place = error.filename or self._path(key)
            raise StoreFailed(f"Cannot read {place}: {error.strerror}. Check the disk and its permissions.") from error


def _walk(folder: Path, prefix: str) -> Iterator[Entry]:
    for child in _children(folder):
        key = f"{prefix}/{child.name}"
        if child.is_dir():
            yield from _walk(folder / child.name, key)
        else:
            with contextlib.suppress(FileNotFoundError):  # It was removed since.
                yield _entry(key, child.stat())


def _is_folder(child: "os.DirEntry[str]") -> bool:
    try:
        return child.is_dir()
    except OSError:  # Such as a link to itself.
        return False


def _has_objects(folder: Path) -> bool:
    try:
        return any(_walk(folder, folder.name))
    except OSError:  # Whoever looks for one of them is told why.
        return True


def _children(folder: Path) -> "list[os.DirEntry[str]]":
    """What is in a folder, but for what is being written there or is not ours."""
    try:
        with os.scandir(folder) as children:
            return [child for child in children if is_key(child.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _entry(key: str, status: os.stat_result) -> Entry:
    """An object's entry.

    Raises:
        IsADirectoryError: it is no object but a folder of some.
    """
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(key)
    return Entry(key, status.st_size, f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}", status.st_mtime)
