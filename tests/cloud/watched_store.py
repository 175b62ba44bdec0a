"""A store that is watched: each request to it is counted, and one of them may be the last before whoever asks dies."""

from collections.abc import Callable
from typing import Any, cast

from cloudedge.errors import StoreFailed
from cloudedge.store import DirectoryStore, Store


class WatchedStore:
    """A directory's store that counts what an S3 would be asked."""

    def __init__(
        self, store: DirectoryStore, most: float = float("inf"), *, before: tuple[int, Callable[[], object]] | None = None
    ) -> None:
        """Pass on the first `most` requests, and fail at all others; let somebody else act `before` one of them."""
        self._store, self._most, self._before = store, most, before
        self.requests: list[tuple[str, str]] = []

    @property
    def as_store(self) -> Store:
        """For whoever asks."""
        return cast(Store, self)

    def __getattr__(self, name: str) -> Any:
        ask: Callable[..., Any] = getattr(self._store, name)

        def asked(key: str, *arguments: Any, **options: Any) -> Any:
            if len(self.requests) >= self._most:
                raise StoreFailed("The store is away.")
            if self._before and len(self.requests) == self._before[0]:
                self._before[1]()
            self.requests.append((name, key))
            return ask(key, *arguments, **options)

        return asked

    def delete_below(self, prefix: str) -> int:
        """One listing, and a request for each object."""
        keys = [entry.key for entry in self.__getattr__("list")(prefix)]
        for key in keys:
            self.__getattr__("delete")(key)
        return len(keys)
