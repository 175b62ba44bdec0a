"""An object store by its address."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from cloudedge.errors import InvalidInput
from cloudedge.store import DirectoryStore, Store


def open_store(address: str, *, for_edges: str, scratch: Path, patience_seconds: float) -> Store:
    """Open the store at an address.

    Args:
        address: file:///folder, or http(s)://host[:port]/bucket[/prefix] of an S3, whose credentials stand in
            AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
        for_edges: http(s)://host[:port] by which edges reach the same S3; empty: the same one.
        scratch: Folder for what is downloaded.
        patience_seconds: How long an S3 that does not answer is asked again.

    Raises:
        InvalidInput: the address is of no known kind.
    """
    parts = urlsplit(address)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return DirectoryStore(Path(unquote(parts.path, errors="surrogateescape")))
    if parts.scheme in ("http", "https"):
        from cloud.stores.s3 import S3Address, S3Store  # It takes half a second, and laptops do without.

        return S3Store(S3Address.parse(address), for_edges=for_edges, scratch=scratch, patience_seconds=patience_seconds)
    raise InvalidInput(
        f"The store's address is {address!r}; give file:///folder, or http(s)://host[:port]/bucket[/prefix] of an S3."
    )
