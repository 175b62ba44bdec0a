"""An object store by its address."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cloudedge.errors import InvalidInput
from cloudedge.store import DirectoryStore, Store, checked_key


@dataclass(frozen=True)
class S3Address:
    """A bucket, and a prefix for all keys in it."""

    origin: str
    bucket: str
    prefix: str

    @classmethod
    def parse(cls, address: str) -> "S3Address":
        """Take http(s)://host[:port]/bucket[/prefix] apart.

        Raises:
            InvalidInput: it is of another form.
        """
        parts = urlsplit(address)
        bucket, _, prefix = parts.path.strip("/").partition("/")
        if not parts.hostname or not bucket or parts.query or parts.username:
            raise InvalidInput(
                f"The store's address is {address!r}; an S3's is http(s)://host[:port]/bucket[/prefix], without credentials: "
                "those stand in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )
        return cls(f"{parts.scheme}://{parts.netloc}", bucket, f"{checked_key(prefix)}/" if prefix else "")

    def name(self, key: str) -> str:
        """An object's name in the bucket.

        Raises:
            InvalidInput: this is no key.
        """
        return self.prefix + checked_key(key)

    def __str__(self) -> str:
        """As it was given."""
        return f"{self.origin}/{self.bucket}/{self.prefix}".rstrip("/")


def open_store(address: str, *, for_edges: str, scratch: Path, patience_seconds: float) -> Store:
    """Open the store at an address.

    Args:
        address: file:///folder, or http(s)://host[:port]/bucket[/prefix] of an S3.
        for_edges: http(s)://host[:port] by which edges reach the same S3; empty: the same one.
        scratch: Folder for what is downloaded.
        patience_seconds: How long an S3 that does not answer is asked again.

    Raises:
        InvalidInput: the address is of no known kind, or what the environment says of the way there cannot be used.
    """
    parts = urlsplit(address)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return DirectoryStore(Path(unquote(parts.path, errors="surrogateescape")))
    if parts.scheme in ("http", "https"):
        from cloud.stores.s3 import S3Store  # It takes half a second, and laptops do without.

        return S3Store(S3Address.parse(address), for_edges=for_edges, scratch=scratch, patience_seconds=patience_seconds)
    raise InvalidInput(
        f"The store's address is {address!r}; give file:///folder, or http(s)://host[:port]/bucket[/prefix] of an S3."
    )
