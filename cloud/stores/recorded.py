"""A run's models, which are read only as long as they are what was recorded of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudedge.errors import InvalidModel
from cloudedge.names import sha256_of
from cloudedge.store import Store


@contextmanager
def recorded(store: Store, key: str, sha256: str) -> Iterator[Path]:
    """A local, read-only file with a model, for as long as the context lasts.

    Args:
        store: Where it is.
        key: Its key.
        sha256: Its digest, as it was recorded when it was made.

    Raises:
        InvalidModel: it is another than was recorded.
        NotFound: there is none.
    """
    with store.local(key) as path:
        found = sha256_of(path)
        if found != sha256:
            raise InvalidModel(
                f"{key} was altered in the store after it was recorded: its SHA-256 digest is {found}, not {sha256}. "
                "Put the recorded file back and run the same task again, or run the task under another id."
            )
        yield path
