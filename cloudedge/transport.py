"""How an edge fetches and puts files: outward, by the URLs of its orders, and by nothing else."""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import urllib3

from cloudedge.documents.order import RemoteFile, UploadTarget
from cloudedge.errors import Conflict, InvalidInput, InvalidModel, NotFound, StoreFailed
from cloudedge.files import atomic_copy, atomic_write, disk_errors
from cloudedge.network import open_pool, proxy_for, trouble_of, wants_tls
from cloudedge.store.way import said_of, said_of_proxy

_CHUNK = 256 * 1024
_TIMEOUT = urllib3.Timeout(connect=10, read=60)
"""In seconds; the latter for each read, so it does not end a server that sends a byte now and then."""

_STALL_SECONDS = 60.0
_STALL_BYTES = 4096
"""A download that brings less than this in `_STALL_SECONDS` is broken off; the next try goes on where it was."""

_ANSWER_BYTES = 4096
"""So much of a store's explanation is read; its code and message stand at the beginning."""

_ALTERED = (
    "It was altered in the store or on its way. If the store's file is another, put the recorded one back, or run the task "
    "under another id; else run the same task again."
)

_FOR_GOOD = {400, 405, 411, 413}
_PASSING = {"ExpiredToken", "IncompleteBody", "InvalidToken", "RequestTimeout", "TokenRefreshRequired"}
"""S3's codes under 400 that another try or a renewed URL mends."""


_PROXYS = {403, 407}
"""What a proxy answers in the store's place where it refuses."""


class Transport:
    """Fetches and puts over http, https and, below given roots, the file system."""

    def __init__(self, file_roots: Sequence[Path] = ()) -> None:
        """Accept file:// URLs only below these roots."""
        self._roots = [root.resolve() for root in file_roots]
        self._pools: dict[str, urllib3.PoolManager] = {}

    def fetch(self, file: RemoteFile, path: Path) -> None:
        """Bring a file here, whole and verified, going on where an earlier try broke off.

        Args:
            file: What to fetch, and the digest and size that it must have.
            path: Where to; until it is whole the bytes stand in the same folder with the ending .part.

        Raises:
            StoreFailed: the store, the network or the disk failed; worth another try.
            InvalidModel: what came is not what was announced.
            InvalidInput: the URL may not be used here.
        """
        part = path.with_name(path.name + ".part")
        local = self._local(file.url)
        with disk_errors(part):
            path.parent.mkdir(parents=True, exist_ok=True)
            begun = part.stat().st_size if part.exists() else 0
        if begun > file.size:
            begun = 0
        if local is not None:
            begun = 0
            _copy(local, file, part)
        elif begun == 0 or begun < file.size:
            begun = self._download(file, part, begun)
        _verify(file, part, resumed=begun > 0)
        with disk_errors(path):
            with part.open("rb") as content:
                os.fsync(content.fileno())
            part.replace(path)

    def put(self, target: UploadTarget, content: bytes | Path) -> None:
        """Send an object.

        Raises:
            Conflict: it can be written only once, and was.
            StoreFailed: the store, the network or the disk failed; worth another try.
            InvalidInput: the URL may not be used here, the content is too large, or the store refuses the URL for good.
            NotFound: there is no such file to send.
        """
        size = len(content) if isinstance(content, bytes) else _size(content)
        if size > target.max_bytes:
            raise InvalidInput(f"{size} bytes are too many for {_shown(target.url)}: at most {target.max_bytes} are taken.")
        local = self._local(target.url)
        if local is None:
            # A stream is sent block by block, each with its own timeout: one for all of it would be too short for slow links.
            with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as body:
                self._send(target, body, size)
        elif isinstance(content, bytes):
            atomic_write(local, content, once=target.once)
        else:
            atomic_copy(content, local, once=target.once)

    def _local(self, url: str) -> Path | None:
        try:
            parts = urlsplit(url)
            if parts.scheme in ("http", "https"):
                return None
            if parts.scheme != "file" or parts.netloc:
                raise InvalidInput(f"{_shown(url)} cannot be used: only http, https and, below given roots, file URLs are.")
            path = Path(os.path.realpath(unquote(parts.path, errors="surrogateescape")))
        except ValueError as error:
            raise InvalidInput(f"{_shown(url)!r} is no URL: {error}.") from None
        if not any(root in path.parents for root in self._roots):
            raise InvalidInput(f"{_shown(url)} lies below no folder that this runner may use; give it with --files-root.")
        return path

    def _download(self, file: RemoteFile, part: Path, begun: int) -> int:
        """Fetch what is missing.

        Returns:
            Number of bytes that were there before and still are.
        """
        response = self._request("GET", file.url, {"Range": f"bytes={begun}-"} if begun else {})
        try:
            if response.status not in (200, 206):
                if response.status == 416:
                    part.unlink(missing_ok=True)  # There is nothing behind it, so it is of something else.
                raise _refusal("GET", file.url, response)
            if response.headers.get("Content-Type", "").startswith("text/html"):
                raise _no_store("GET", file.url, response)
            begun = begun if response.status == 206 else 0
            # Without a length the end of the answer and the end of the connection look alike.
            told = response.chunked or response.length_remaining is not None
            with disk_errors(part), part.open("ab" if begun else "wb") as target:
                found = begun + _receive(response, target, file.size - begun)
        except urllib3.exceptions.HTTPError as error:
            raise StoreFailed(f"Cannot fetch {_shown(file.url)}: {error}. What arrived is kept.") from error
        finally:
            response.close()
        if found < file.size and not told:
            raise StoreFailed(
                f"Only {found} of {file.size} bytes of {_shown(file.url)} arrived; the rest is fetched next time."
            )
        return begun

    def _send(self, target: UploadTarget, body: BinaryIO, size: int) -> None:
        signed = {name: value for name, value in target.headers.items() if name.lower() != "content-length"}
        try:
            response = self._request("PUT", target.url, {**signed, "Content-Length": str(size)}, body)
            try:
                if target.once and response.status == 412:
                    raise Conflict(f"{_shown(target.url)} was written before and can be written only once.")
                if response.status not in (200, 201, 204):
                    raise _refusal("PUT", target.url, response)
                # What is read to its end leaves the connection fit for the next one.
                if response.read1(_ANSWER_BYTES).strip():
                    raise _no_store("PUT", target.url, response)
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise StoreFailed(f"Cannot put {_shown(target.url)}: {error}. It is tried again.") from error

    def _request(
        self, verb: str, url: str, headers: Mapping[str, str], body: BinaryIO | None = None
    ) -> urllib3.BaseHTTPResponse:
        try:
            pool = self._pool(url)
            return pool.request(verb, url, headers=headers, body=body, preload_content=False, redirect=False)
        except ValueError:  # The error's own text may hold the signature.
            raise InvalidInput(f"{_shown(url)!r} cannot be used: it, or a header that belongs to it, is malformed.") from None
        except urllib3.exceptions.HTTPError as error:
            # What is wrong for certain is told, and tried again all the same: nobody else could tell the cloud of it.
            trouble = trouble_of(error)
            said = f"The store of {_shown(url)} {said_of(trouble, url)}" if trouble else f"Cannot reach {_shown(url)}: {error}."
            raise StoreFailed(f"{said} It is tried again.") from error

    def _pool(self, url: str) -> urllib3.PoolManager:
        """The connections to a URL's host.

        Raises:
            StoreFailed: the environment names authorities or a proxy that cannot be used.
        """
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._pools:
            try:
                self._pools[origin] = open_pool(origin, _TIMEOUT, 2)
            except InvalidInput as error:  # Of this place and not of the order, whose work waits until it is mended.
                raise StoreFailed(str(error)) from None
        return self._pools[origin]


def _receive(response: urllib3.BaseHTTPResponse, target: BinaryIO, most: int) -> int:
    """Write an answer's body as it stands in the store; one byte more than `most` tells that it is too long.

    Returns:
        Number of bytes written.

    Raises:
        StoreFailed: it hardly moves.
    """
    found = before = 0
    look_at = time.monotonic() + _STALL_SECONDS
    while found <= most and (chunk := response.read1(_CHUNK, decode_content=False)):
        target.write(chunk[: most + 1 - found])
        found += len(chunk)
        if time.monotonic() >= look_at:
            if found - before < _STALL_BYTES:
                raise StoreFailed(f"The store sent {found - before} bytes in {_STALL_SECONDS:.0f} s; it is asked again.")
            before, look_at = found, time.monotonic() + _STALL_SECONDS
    return found


def _copy(source: Path, file: RemoteFile, part: Path) -> None:
    try:
        content = source.open("rb")
    except OSError as error:
        raise StoreFailed(f"Cannot read {source}: {error.strerror}.") from error
    with content, disk_errors(part), part.open("wb") as target:
        shutil.copyfileobj(_Bounded(content, file.size + 1), target, _CHUNK)


def _verify(file: RemoteFile, part: Path, *, resumed: bool) -> None:
    found = part.stat().st_size
    with part.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if found == file.size and digest == file.sha256:
        return
    part.unlink()
    if resumed:  # A power cut may have spoilt what an earlier try left.
        raise StoreFailed(f"What was kept of {_shown(file.url)} does not fit what came after it; it is fetched anew.")
    if found > file.size:
        said = f"{_shown(file.url)} is longer than the {file.size} bytes with sha256 {file.sha256} that the order announced."
    else:
        said = (
            f"{_shown(file.url)} has {found} bytes with sha256 {digest}; the order announced {file.size} bytes with "
            f"sha256 {file.sha256}."
        )
    raise InvalidModel(f"{said} {_ALTERED}")


class _Bounded:
    """A reader that ends after a number of bytes."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._left = most

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(chunk)
        return chunk


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        raise NotFound(f"There is no file {path} to send; it was deleted.") from None


def _refusal(verb: str, url: str, response: urllib3.BaseHTTPResponse) -> StoreFailed | InvalidInput:
    # Only S3's own code and message are shown: the rest of its answer may repeat the signature.
    answer = response.read1(_ANSWER_BYTES).decode(errors="replace")
    code, text = (found[1] if (found := re.search(f"<{tag}>([^<]*)</{tag}>", answer)) else "" for tag in ("Code", "Message"))
    said = ": ".join(filter(None, (code, text))) or response.reason
    message = f"The store answered {response.status} to {verb} {_shown(url)}: {said}"
    if not code and wants_tls(answer):
        return StoreFailed(f"{message}. The order's URL begins with http://: correct CLOUDEDGE_STORE_FOR_EDGES in the cloud.")
    if not code and response.status in _PROXYS and proxy_for(url) is not None:
        return StoreFailed(f"The store of {_shown(url)} {said_of_proxy(response.status, url)} It is tried again.")
    if response.status in _FOR_GOOD and code not in _PASSING:
        return InvalidInput(f"{message}. The order's URL is not usable; it is given up.")
    return StoreFailed(f"{message}. It is tried again; the cloud renews URLs that have expired.")


def _no_store(verb: str, url: str, response: urllib3.BaseHTTPResponse) -> StoreFailed:
    """An answer that says success and is none of a store's, which has nothing to say of a PUT and no page to show."""
    kind = response.headers.get("Content-Type", "no type")[:80]
    return StoreFailed(
        f"What answered {response.status} to {verb} {_shown(url)} is no object store: it sent {kind}. Check whether this "
        "network has a page to log in at, or a proxy before the store. It is tried again."
    )


def _shown(url: str) -> str:
    """The URL without its query, which holds the signature."""
    return url.split("?", 1)[0]
