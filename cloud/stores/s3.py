"""The object store as a bucket of MinIO or any other S3: what a cluster uses.

A store that is restarted or does not answer for a while is asked again; a run outlives it.
"""

import filecmp
import hashlib
import logging
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import urllib3
from minio.datatypes import Object
from minio.error import InvalidResponseError, S3Error, ServerError
from minio.helpers import DictType
from minio.time import from_http_header
from urllib3.response import BaseHTTPResponse

from cloud.patience import Patience
from cloud.stores.address import S3Address
from cloud.stores.answers import PASSING, UploadEnded, answered, require_tag, with_tag
from cloud.stores.changes import PING_SECONDS, ChangeStream
from cloud.stores.client import AT_ONCE, S3Client
from cloud.stores.conditions import require_once
from cloud.stores.listing import listed
from cloud.stores.minio_internals import abort_upload, execute, unfinished_uploads
from cloud.stores.multipart import PART_BYTES, Parts
from cloud.stores.signing import MOST_SECONDS, presigned
from cloudedge.documents.order import RemoteFile, UploadTarget
from cloudedge.errors import CloudedgeError, Conflict, InvalidInput, NotFound, StoreFailed
from cloudedge.files import disk_errors
from cloudedge.store import Changes, Entry, checked_key, is_key

_log = logging.getLogger(__name__)

_CHUNK = 1024 * 1024
_MOST_UPLOADS = 5
"""So often a large file is begun anew that others have interfered with."""

_PARTIAL, _NOT_FOUND = 206, 404


class S3Store:
    """Objects in a bucket; an edge gets presigned URLs, each for one verb on one object."""

    def __init__(self, address: S3Address, *, for_edges: str = "", scratch: Path, patience_seconds: float) -> None:
        """Connect when first asked for something.

        Args:
            address: The bucket.
            for_edges: http(s)://host[:port] by which edges reach the same S3; empty: the address's own.
            scratch: Folder for what is downloaded.
            patience_seconds: How long a store that does not answer is asked again, in seconds.

        Raises:
            InvalidInput: there are no credentials, or what the environment says of the way there cannot be used.
        """
        self._address = address
        self._scratch = scratch
        self._client = S3Client(address, patience_seconds=patience_seconds)
        self._minio = self._client.minio
        self._url_for_edges = self._client.urls(for_edges.rstrip("/") or address.origin)
        self._asked = self._client.asked
        self._name = address.name
        self._keeps_once = False

    @property
    def longest_url_seconds(self) -> float:
        """See `Store.longest_url_seconds`."""
        return max(1.0, min(MOST_SECONDS, self._client.rights.seconds_left(self._client.credentials())))

    def put(self, key: str, content: bytes, *, once: bool = False) -> None:
        """See `Store.put`."""
        self._put(key, content, once=once)

    def put_file(self, key: str, path: Path, *, once: bool = False) -> None:
        """See `Store.put_file`; a large file goes in parts, and those that an earlier try has sent are not sent again."""
        checked_key(key)
        try:
            size = path.stat().st_size
            if size <= PART_BYTES:
                self._put(key, path.read_bytes(), once=once)
                return
        except FileNotFoundError:
            raise NotFound(f"There is no file {path} to copy.") from None
        if once:
            self._require_once(key)
            if self.stat(key) is not None:
                raise self._exists(key)
        patience = Patience(math.inf)  # To send it takes as long as it takes.
        for _ in range(_MOST_UPLOADS):
            try:
                self._put_in_parts(key, path, size, once=once)
            except UploadEnded as error:
                failure = StoreFailed(f"{error} Somebody else writes it at the same time, or ends what others begin to send.")
            else:
                return
            patience.wait(failure)
        raise failure

    def get(self, key: str, max_bytes: int) -> bytes:
        """See `Store.get`."""

        def read() -> bytes:
            response = self._minio.get_object(self._address.bucket, self._name(key))
            try:
                require_tag(response)
                return bytes(response.read(max_bytes + 1))
            finally:
                response.close()

        content = self._asked(key, read)
        if len(content) > max_bytes:
            raise InvalidInput(f"The object {key!r} has more than the {max_bytes} bytes that are read of such an object.")
        return content

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """See `Store.local`; a copy in the scratch folder, which is removed in the end."""
        with disk_errors(self._scratch):
            self._scratch.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="object-", dir=self._scratch))
        try:
            path = folder / checked_key(key).rpartition("/")[2]
            self._fetch(key, path)
            yield path
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def stat(self, key: str) -> Entry | None:
        """See `Store.stat`."""
        tells_why = False

        def stat() -> Object:
            nonlocal tells_why
            if not tells_why:
                try:
                    return self._minio.stat_object(self._address.bucket, self._name(key))
                except (S3Error, ServerError, ValueError) as error:  # The client stumbles over some.
                    status, _ = answered(error)
                    if status in PASSING or (status == _NOT_FOUND and self._client.answers.worked):
                        raise
                    # A refusal of HEAD has no body, and may mean that there is no such bucket, or no such key of ours.
                    tells_why = True
            return self._begun(key)

        try:
            found = self._asked(key, lambda: with_tag(stat()))
        except NotFound:
            return None
        return _entry(key, found)

    def _begun(self, key: str) -> Object:
        """What an object's own answer begins with, which is not read on."""
        answer = self._minio.get_object(self._address.bucket, self._name(key))
        answer.close()
        size, modified = answer.headers.get("content-length", ""), answer.headers.get("last-modified", "")
        return Object(
            self._address.bucket, key, etag=require_tag(answer), size=int(size), last_modified=from_http_header(modified)
        )

    def list(self, prefix: str) -> Iterator[Entry]:
        """See `Store.list`."""
        return (entry for entry in self._everything(prefix) if is_key(entry.key))

    def _everything(self, prefix: str) -> Iterator[Entry]:
        """All objects below a prefix, also those that others put there under a name that is no key of ours."""
        for found in listed(self._client, self._name(prefix) + "/"):
            yield _entry((found.object_name or "")[len(self._address.prefix) :], found)

    def folders(self, prefix: str) -> tuple[str, ...]:
        """See `Store.folders`."""
        below = self._name(prefix) + "/"
        found = listed(self._client, below, folders=True)
        names = ((one.object_name or "").removeprefix(below).removesuffix("/") for one in found if one.is_dir)
        return tuple(sorted(filter(is_key, names)))

    @contextmanager
    def changes(self, prefix: str) -> Iterator[Changes]:
        """See `Store.changes`; told by a MinIO that lets these credentials listen, otherwise never known."""
        below = self._name(prefix) + "/"
        stream = ChangeStream(lambda: self._listen(below))

        def told() -> dict[str, str] | None:
            found = stream.take()
            return found if found is None else {name[len(self._address.prefix) :]: version for name, version in found.items()}

        try:
            yield told
        finally:
            stream.close()

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self._remove(key, self._name(key))

    def delete_below(self, prefix: str) -> int:
        """See `Store.delete_below`."""

        def remove(entry: Entry) -> None:
            self._remove(prefix, self._address.prefix + entry.key)

        with ThreadPoolExecutor(AT_ONCE) as others:  # The time goes into waiting, and not every S3 deletes many at once.
            count = sum(1 for _ in others.map(remove, self._everything(prefix)))
        self._abort_below(prefix)
        return count

    def _remove(self, key: str, name: str) -> None:
        def remove() -> None:
            answer = execute(self._minio, "DELETE", self._address.bucket, name)
            if answer.data.strip():  # Who has done it has nothing to say.
                raise InvalidResponseError(answer.status, answer.headers.get("content-type", "no type"), None)

        self._asked(key, remove)

    def _abort_below(self, prefix: str) -> None:
        """Have the store forget unfinished uploads in parts; a MinIO lists none by a prefix, and forgets them after a day."""
        bucket, below = self._address.bucket, self._name(prefix) + "/"
        for upload in self._asked(prefix, lambda: unfinished_uploads(self._minio, bucket, below)):
            upload_of = bucket, upload.object_name, upload.upload_id
            with suppress(UploadEnded):
                self._asked(prefix, lambda upload_of=upload_of: abort_upload(self._minio, *upload_of))  # type: ignore[misc]

    def download(self, key: str, sha256: str, size: int, expires_seconds: float) -> RemoteFile:
        """See `Store.download`."""
        return RemoteFile(url=self._presigned("GET", key, expires_seconds, {}), sha256=sha256, size=size)

    def upload(self, key: str, *, max_bytes: int, once: bool, expires_seconds: float) -> UploadTarget:
        """See `Store.upload`; the signature binds `once`. S3 cannot bind the size of a PUT from above: readers do."""
        headers = {"If-None-Match": "*"} if once else {}
        url = self._presigned("PUT", key, expires_seconds, headers)
        return UploadTarget(url=url, headers=headers, max_bytes=max_bytes, once=once)

    def _put(self, key: str, content: bytes, *, once: bool) -> None:
        headers = {"If-None-Match": "*"} if once else None
        if once:
            self._require_once(key)

        def put() -> None:
            answer = execute(self._minio, "PUT", self._address.bucket, self._name(key), body=content, headers=headers)
            require_tag(answer)

        def is_done() -> bool:
            entry = self.stat(key)
            if entry is None or entry.size != len(content):
                return False
            return entry.version == _md5(content) or self.get(key, len(content)) == content

        self._done(key, put, is_done)

    def _require_once(self, key: str) -> None:
        """Find out, before the first time that it matters, whether what is written once stays."""
        if not self._keeps_once:
            self._asked(key, lambda: require_once(self._minio, self._address.bucket, self._address.prefix))
            self._keeps_once = True

    def _put_in_parts(self, key: str, path: Path, size: int, *, once: bool) -> None:
        """Write an object from a large file.

        Raises:
            Conflict: `once`, and it exists already.
            UploadEnded: somebody else has ended the upload, or writes the same object.
        """
        parts = Parts(self._minio, self._address.bucket, self._name(key), path)
        self._asked(key, parts.find)
        for number in parts.missing():
            self._asked(key, lambda number=number: parts.send(number))  # type: ignore[misc]
            _log.info("%s: %d of %d MiB sent", key, min(number * PART_BYTES, size) >> 20, size >> 20)

        def is_done() -> bool:
            entry = self.stat(key)
            if entry is None or entry.size != size:
                return False
            if entry.version == parts.tag():
                return True
            with self.local(key) as copy:
                return filecmp.cmp(path, copy, shallow=False)

        try:
            self._done(key, lambda: parts.complete(once=once), is_done)
        except Conflict:
            with suppress(CloudedgeError):  # Else what was sent takes up room that nobody sees.
                self._asked(key, parts.abort)
            raise

    def _done(self, key: str, do: Callable[[], None], is_done: Callable[[], bool]) -> None:
        """Have the store do what can be done only once, however often it is asked because its answers are lost.

        Args:
            key: Of the object.
            do: Asks for it.
            is_done: Looks into the store whether it was done just as we want it, by whatever try.

        Raises:
            CloudedgeError: as `_asked` does, unless it was an earlier try of ours that the store refuses a later one for.
        """
        tries = 0

        def counted() -> None:
            nonlocal tries
            tries += 1
            do()

        try:
            self._asked(key, counted)
        except (Conflict, UploadEnded):
            if tries == 1 or not is_done():
                raise

    def _fetch(self, key: str, path: Path) -> None:
        """Bring an object here, going on where an earlier try broke off."""
        version = ""
        changed = StoreFailed(f"The object {key!r} was written anew while it was read; start again.")

        def fetch() -> None:
            nonlocal version
            begun = path.stat().st_size if version else 0
            wanted: DictType | None = {"If-Match": f'"{version}"'} if version else None
            response = self._minio.get_object(self._address.bucket, self._name(key), offset=begun, request_headers=wanted)
            try:
                tag = require_tag(response)
                if version and tag != version:
                    raise changed
                version, left = tag, int(response.headers.get("content-length", ""))
                # Not every store or proxy knows ranges.
                with disk_errors(path), path.open("ab" if begun and response.status == _PARTIAL else "wb") as file:
                    while left and (chunk := response.read(min(_CHUNK, left))):
                        left -= file.write(chunk)
            finally:
                response.close()
            if left:
                raise urllib3.exceptions.HTTPError(f"{left} bytes are missing")

        try:
            self._asked(key, fetch)
        except Conflict:
            raise changed from None

    def _listen(self, below: str) -> BaseHTTPResponse:
        query = {"prefix": below, "events": "s3:ObjectCreated:*", "ping": str(PING_SECONDS)}
        return execute(self._minio, "GET", self._address.bucket, query=query, whole=False)

    def _presigned(self, method: str, key: str, expires_seconds: float, headers: dict[str, str]) -> str:
        return presigned(
            method,
            self._url_for_edges(key),
            self._client.credentials(),
            self._client.region,
            datetime.now(UTC),
            max(1, int(min(expires_seconds, self.longest_url_seconds))),
            headers,
        )

    def _exists(self, key: str) -> Conflict:
        return self._client.answers.exists(key)


def _md5(content: bytes) -> str:
    """An object's tag, as S3 makes it where it does not encrypt."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _entry(key: str, found: Object) -> Entry:
    # Whole seconds, as an answer about a single object has no more.
    modified = found.last_modified.timestamp() // 1 if found.last_modified else 0.0
    return Entry(key, found.size or 0, (found.etag or "").strip('"'), modified)
