"""What is in a bucket, page by page, from a store that may repeat itself."""

from collections.abc import Iterator

from minio.datatypes import Object, parse_list_objects

from cloud.stores.client import S3Client
from cloud.stores.minio_internals import execute
from cloudedge.errors import StoreFailed

_MOST = 1000
"""Objects in one answer; S3 gives no more."""

_BEGINNING = 500
"""Bytes among which a listing says that it is one."""

_MOST_EMPTY = 100
"""Pages in a row that bring nothing new; a store that looks for a while may send some that are empty."""


def listed(client: S3Client, below: str, *, folders: bool = False) -> Iterator[Object]:
    """List what is below a prefix, sorted by name, each once.

    A page is asked for at a time, so that a store that goes away amid a long listing costs one page.

    Args:
        client: Of the store.
        below: What names begin with.
        folders: Whether only what lies directly there is listed, folders among it.

    Raises:
        StoreFailed: the store lists the same again and again, or out of order.
    """
    after, token, empty = "", "", 0
    before: set[str] = set()
    tokens: set[str] = set()
    while True:
        page, more, token = client.asked(below, lambda after=after, token=token: _page(client, below, after, token, folders))  # type: ignore[misc]
        names = {one.object_name or "": one for one in page}
        new = {name: one for name, one in names.items() if name > after}
        if any(not name.startswith(below) for name in names):
            raise StoreFailed(f"{client.address} lists more than what is below {below!r}: use a store that knows prefixes.")
        if not new.keys() | before >= names.keys():
            raise StoreFailed(f"{client.address} lists its objects out of order, as no S3 may: use another store.")
        yield from (one for _, one in sorted(new.items()))
        if not more:
            return
        empty = 0 if new else empty + 1
        if (not new and (token in tokens or not token)) or empty > _MOST_EMPTY:
            raise StoreFailed(
                f"{client.address} lists the same objects again and again: it takes no notice of where a listing is to go on "
                "(continuation-token, start-after). Use another store, or correct the proxy before it."
            )
        tokens.add(token)
        if new:
            before, after = set(names), max(new)


def _page(client: S3Client, below: str, after: str, token: str, folders: bool) -> tuple[list[Object], bool, str]:
    """Ask for a page; its objects, whether there are more, and what the store calls the place where they are.

    Raises:
        ParseError, ValueError: what comes is no listing.
    """
    query = {
        "list-type": "2",
        "delimiter": "/" if folders else "",
        "max-keys": str(_MOST),
        "prefix": below,
    }
    if token:
        query["continuation-token"] = token
    elif after:
        query["start-after"] = after
    answer = execute(client.minio, "GET", client.address.bucket, query=query)
    if b"ListBucketResult" not in answer.data[:_BEGINNING]:
        raise ValueError("this is no listing")
    objects, more, next_token, _ = parse_list_objects(answer)
    # Where a store names no place, the client makes up one.
    return objects, more, next_token or "" if b"NextContinuationToken>" in answer.data else ""
