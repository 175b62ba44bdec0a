"""What every object store does for us."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from cloudedge.documents.order import RemoteFile, UploadTarget
from cloudedge.errors import InvalidInput

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}(/[A-Za-z0-9][A-Za-z0-9._-]{0,199})*")
_MOST_KEY_CHARACTERS = 1024  # As S3 has it.


class Entry(NamedTuple):
    """An object in a listing."""

    key: str
    size: int
    """Bytes."""
    version: str
    """Changes whenever the content is written again."""
    modified: float
    """Seconds since the epoch, by the store's clock."""


Changes = Callable[[], dict[str, str] | None]
"""Says what was written since it was last called: versions by key, or None if some of it may be missing, so that only a
listing tells."""


class Store(Protocol):
    """An object store. Keys are names joined by '/'; objects appear whole or not at all. No object's key is another's folder.

    Every method raises StoreFailed when the store, its network or its disk does not do its work, and InvalidInput for a
    key that is none.
    """

    @property
    def longest_url_seconds(self) -> float:
        """How long a URL may live, in seconds; one that was asked to live longer lives so long."""

    def put(self, key: str, content: bytes, *, once: bool = False) -> None:
        """Write an object.

        Raises:
            Conflict: `once`, and it exists already.
        """

    def put_file(self, key: str, path: Path, *, once: bool = False) -> None:
        """Write an object from a local file.

        Raises:
            NotFound: there is no such file.
            Conflict: `once`, and it exists already.
        """

    def get(self, key: str, max_bytes: int) -> bytes:
        """Read an object.

        Raises:
            NotFound: there is none.
            InvalidInput: it has more than `max_bytes`; nothing was read.
        """

    def local(self, key: str) -> AbstractContextManager[Path]:
        """A local, read-only file with the object's content, for as long as the context lasts.

        Raises:
            NotFound: there is none.
        """

    def stat(self, key: str) -> Entry | None:
        """The object's entry, or None if there is none."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """All objects whose key begins with `prefix` and a '/', sorted by key; what others put there under no key is none."""

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Names of the next key parts below `prefix` that have objects below them, sorted.

        A bucket that keeps versions may also name some that had objects.
        """

    def changes(self, prefix: str) -> AbstractContextManager[Changes]:
        """Have the store say what is written below `prefix`, for as long as the context lasts.

        To be told saves listings and replaces none: a store may know nothing, lose sight, or rarely miss something. The first
        call says None, as what was written before it is not told.
        """

    def delete(self, key: str) -> None:
        """Remove an object; that there is none is no error."""

    def delete_below(self, prefix: str) -> int:
        """Remove all objects whose key begins with `prefix` and a '/', what others put there, and the rest of unfinished ones.

        Returns:
            Number of objects removed.
        """

    def download(self, key: str, sha256: str, size: int, expires_seconds: float) -> RemoteFile:
        """A URL for one GET of this object alone, with what the reader must find behind it."""

    def upload(self, key: str, *, max_bytes: int, once: bool, expires_seconds: float) -> UploadTarget:
        """A URL for PUTs of this object alone, up to a size."""


def is_key(key: str) -> bool:
    """Whether an object of ours may have this key; others are a console's folder markers, or put there by hand."""
    return len(key) <= _MOST_KEY_CHARACTERS and _KEY.fullmatch(key) is not None and ".." not in key


def checked_key(key: str) -> str:
    """Return the key as it is, if it is one.

    Raises:
        InvalidInput: it is too long, has an empty part, '..', or characters beyond letters, digits, '.', '_' and '-'.
    """
    if not is_key(key):
        raise InvalidInput(
            f"{key!r} is no key of an object: use letters, digits, '.', '_' and '-', joined by '/', "
            f"at most {_MOST_KEY_CHARACTERS} characters."
        )
    return key
