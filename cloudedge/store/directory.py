"""The object store as a directory: what a laptop uses."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudedge.documents.order import RemoteFile, UploadTarget
from cloudedge.errors import InvalidInput, NotFound
from cloudedge.files import atomic_copy, atomic_write, disk_errors
from cloudedge.store.base import Entry, checked_key


class DirectoryStore:
    """Objects are files below one folder; URLs are file:// ones, which a runner accepts only below roots it was given."""

    def __init__(self, root: Path) -> None:
        """Keep objects below `root`, which is made when first written to."""
        self.root = root.absolute()

    def put(self, key: str, content: bytes, *, once: bool = False) -> None:
        """See `Store.put`."""
        atomic_write(self._path(key), content, once=once)

    def put_file(self, key: str, path: Path, *, once: bool = False) -> None:
        """See `Store.put_file`."""
        atomic_copy(path, self._path(key), once=once)

    def get(self, key: str, max_bytes: int) -> bytes:
        """See `Store.get`."""
        try:
            with self._path(key).open("rb") as file:
                content = file.read(max_bytes + 1)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound(f"There is no object {key!r} in {self.root}.") from None
        if len(content) > max_bytes:
            raise InvalidInput(f"The object {key!r} has more than the {max_bytes} bytes that are read of such an object.")
        return content

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """See `Store.local`; the object's own file, nothing is copied."""
        path = self._path(key)
        if not path.is_file():
            raise NotFound(f"There is no object {key!r} in {self.root}.")
        yield path

    def stat(self, key: str) -> Entry | None:
        """See `Store.stat`."""
        try:
            return _entry(key, self._path(key).stat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def list(self, prefix: str) -> Iterator[Entry]:
        """See `Store.list`."""
        entries: list[Entry] = []
        _walk(self._path(prefix), prefix, entries)
        yield from sorted(entries)

    def folders(self, prefix: str) -> tuple[str, ...]:
        """See `Store.folders`."""
        try:
            children = list(os.scandir(self._path(prefix)))
        except (FileNotFoundError, NotADirectoryError):
            return ()
        return tuple(sorted(child.name for child in children if child.is_dir() and not child.name.startswith(".")))

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        path = self._path(key)
        with disk_errors(path):
            path.unlink(missing_ok=True)

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


def _walk(folder: Path, prefix: str, entries: list[Entry]) -> None:
    try:
        children = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for child in children:
        if child.name.startswith("."):
            continue
        key = f"{prefix}/{child.name}"
        if child.is_dir():
            _walk(folder / child.name, key, entries)
        else:
            try:
                entries.append(_entry(key, child.stat()))
            except FileNotFoundError:
                continue


def _entry(key: str, status: os.stat_result) -> Entry:
    return Entry(key, status.st_size, f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}", status.st_mtime)
