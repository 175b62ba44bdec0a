"""How an edge fetches and puts files: outward, by the URLs of its orders, and by nothing else."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import urllib3

from cloudedge.documents.order import RemoteFile, UploadTarget
from cloudedge.errors import Conflict, InvalidInput, InvalidModel, StoreFailed
from cloudedge.files import atomic_copy, atomic_write, disk_errors

_CHUNK = 1024 * 1024
_TIMEOUT = urllib3.Timeout(connect=10, read=60)
_ALREADY_WRITTEN = {409, 412}


class Transport:
    """Fetches and puts over http, https and, below given roots, the file system."""

    def __init__(self, file_roots: Sequence[Path] = ()) -> None:
        """Accept file:// URLs only below these roots."""
        self._roots = [root.resolve() for root in file_roots]
        self._http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False, maxsize=2)

    def fetch(self, file: RemoteFile, path: Path) -> None:
        """Bring a file here, whole and verified, going on where an earlier try broke off.

        Args:
            file: What to fetch, and the digest and size that it must have.
            path: Where to; until it is whole the bytes stand in the same folder with the ending .part.

        Raises:
            StoreFailed: the store or the network failed; worth another try.
            InvalidModel: what came is not what was announced.
            InvalidInput: the URL may not be used here.
        """
        part = path.with_name(path.name + ".part")
        with disk_errors(part):
            path.parent.mkdir(parents=True, exist_ok=True)
        local = self._local(file.url)
        if local is not None:
            self._copy(local, file, part)
        else:
            self._download(file, part)
        found = part.stat().st_size
        if found < file.size:
            raise StoreFailed(f"Only {found} of {file.size} bytes of {_shown(file.url)} arrived; the rest is fetched next time.")
        with part.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if found != file.size or digest != file.sha256:
            part.unlink()
            raise InvalidModel(
                f"{_shown(file.url)} has {found} bytes with sha256 {digest}; the order announced {file.size} bytes with "
                f"sha256 {file.sha256}. It was altered or cut on its way; run the task again."
            )
        with disk_errors(path):
            with part.open("rb") as content:
                os.fsync(content.fileno())
            part.replace(path)

    def put(self, target: UploadTarget, content: bytes | Path) -> None:
        """Send an object.

        Raises:
            Conflict: it can be written only once, and was.
            StoreFailed: the store or the network failed; worth another try.
            InvalidInput: the URL may not be used here, the content is too large, or the store refuses the URL for good.
        """
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        if size > target.max_bytes:
            raise InvalidInput(f"{size} bytes are too many for {_shown(target.url)}: at most {target.max_bytes} are taken.")
        local = self._local(target.url)
        if local is None:
            self._send(target, content, size)
        elif isinstance(content, bytes):
            atomic_write(local, content, once=target.once)
        else:
            atomic_copy(content, local, once=target.once)

    def _local(self, url: str) -> Path | None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https"):
            return None
        if parts.scheme != "file" or parts.netloc:
            raise InvalidInput(f"{_shown(url)} cannot be used: only http, https and, below given roots, file URLs are.")
        path = Path(unquote(parts.path)).resolve()
        if not any(path.is_relative_to(root) for root in self._roots):
            raise InvalidInput(f"{_shown(url)} lies below no folder that this runner may use; give it with --files-root.")
        return path

    def _copy(self, source: Path, file: RemoteFile, part: Path) -> None:
        try:
            content = source.open("rb")
        except OSError as error:
            raise StoreFailed(f"Cannot read {source}: {error.strerror}.") from error
        with content, disk_errors(part), part.open("wb") as target:
            shutil.copyfileobj(_Bounded(content, file.size + 1), target, _CHUNK)

    def _download(self, file: RemoteFile, part: Path) -> None:
        have = part.stat().st_size if part.exists() else 0
        if have >= file.size:
            part.unlink(missing_ok=True)
            have = 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        try:
            response = self._http.request("GET", file.url, headers=headers, preload_content=False, redirect=False)
            try:
                if response.status == 200:
                    have = 0
                elif response.status != 206:
                    raise _refusal("GET", file.url, response)
                with disk_errors(part), part.open("ab" if have else "wb") as target:
                    for chunk in response.stream(_CHUNK):
                        have += len(chunk)
                        if have > file.size:
                            break
                        target.write(chunk)
                    if have > file.size:
                        target.truncate(0)
                        raise InvalidModel(f"{_shown(file.url)} is longer than the {file.size} bytes that the order announced.")
            finally:
                response.release_conn() if have == file.size else response.close()
        except urllib3.exceptions.HTTPError as error:
            raise StoreFailed(f"Cannot fetch {_shown(file.url)}: {error}") from error

    def _send(self, target: UploadTarget, content: bytes | Path, size: int) -> None:
        headers = {**target.headers, "Content-Length": str(size)}
        try:
            if isinstance(content, bytes):
                response = self._http.request("PUT", target.url, body=content, headers=headers, redirect=False)
            else:
                with content.open("rb") as body:
                    response = self._http.request("PUT", target.url, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise StoreFailed(f"Cannot put {_shown(target.url)}: {error}") from error
        if target.once and response.status in _ALREADY_WRITTEN:
            raise Conflict(f"{_shown(target.url)} was written before and can be written only once.")
        if response.status not in (200, 201, 204):
            raise _refusal("PUT", target.url, response)


class _Bounded:
    """A reader that ends after a number of bytes."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._left = most

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(chunk)
        return chunk


def _refusal(verb: str, url: str, response: urllib3.BaseHTTPResponse) -> StoreFailed | InvalidInput:
    said = response.read(500, decode_content=False).decode(errors="replace").strip()
    message = f"The store answered {response.status} to {verb} {_shown(url)}: {said or response.reason}"
    if response.status in (400, 401, 405, 411, 413):
        return InvalidInput(f"{message}. The order's URL is not usable; it is given up.")
    return StoreFailed(f"{message}. It is tried again; the cloud renews URLs that have expired.")


def _shown(url: str) -> str:
    """The URL without its query, which holds the signature."""
    return url.split("?", 1)[0]
