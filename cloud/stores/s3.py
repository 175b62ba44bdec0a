"""The object store as a bucket of MinIO or any other S3: what a cluster uses.

A store that is restarted or does not answer for a while is asked again; a run outlives it.
"""

import filecmp
import hashlib
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from xml.etree import ElementTree

import certifi
import urllib3
from minio import Minio
from minio.credentials.providers import AWSConfigProvider, ChainedProvider, EnvAWSProvider, EnvMinioProvider
from minio.datatypes import Object
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.response import BaseHTTPResponse

from cloud.patience import Patience
from cloud.stores.changes import PING_SECONDS, ChangeStream
from cloud.stores.conditions import require_once
from cloud.stores.multipart import PART_BYTES, Parts
from cloud.stores.signing import MOST_SECONDS, presigned
from cloudedge.documents.order import RemoteFile, UploadTarget
from cloudedge.errors import CloudedgeError, Conflict, InvalidInput, NotFound, StoreFailed
from cloudedge.files import disk_errors
from cloudedge.store import Changes, Entry, checked_key

_log = logging.getLogger(__name__)

_CHUNK = 1024 * 1024
_TIMEOUT = urllib3.Timeout(connect=5, read=15)
"""In seconds; the latter for each answer, as a MinIO that is starting takes requests that it never answers."""
_ABSENT = {"NoSuchKey", "XMinioInvalidObjectName"}
_EXISTS = {"PreconditionFailed"}
_UPLOAD_ENDED = {"NoSuchUpload", "InvalidPart", "InvalidPartOrder"}
"""What a store says of an upload in parts that somebody else has completed, aborted or sent other parts of."""
_PASSING = {408, 429, 500, 502, 503, 504}
"""Statuses of HTTP that another try mends. A MinIO that starts has a code of its own for each part that is not there yet."""
_PASSING_CODES = {
    "ConditionalRequestConflict",  # Somebody else writes or deletes the same object right now.
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
}
"""S3's codes of the same, as an error may come under a status that says nothing of it, even 200."""
_MOST_UPLOADS = 5
"""So often a large file is begun anew that others have interfered with."""
_WAY_OUT = {
    "AccessDenied": "Give these credentials the right to it.",
    "AuthorizationHeaderMalformed": "Set AWS_REGION to the bucket's region.",
    "InvalidAccessKeyId": "Correct AWS_ACCESS_KEY_ID.",
    "NoSuchBucket": "Make the bucket, or correct the store's address.",
    "RequestTimeTooSkewed": "Set this machine's clock.",
    "SignatureDoesNotMatch": "Correct AWS_SECRET_ACCESS_KEY.",
    "XMinioStorageFull": "Free some space on the store's disks and start again; nothing is lost.",
}
"""What a person can do about an error that no other try mends, by S3's code."""

_AT_ONCE = 16
"""Requests under way at a time."""

_PAGE = 1000
"""Objects in one answer to a listing; S3 gives no more."""

_Headers = dict[str, str | list[str] | tuple[str]]


class _UploadEnded(CloudedgeError):
    """An upload in parts is not there any more as it was left."""


_Objects = list[Object]

T = TypeVar("T")


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

    def __str__(self) -> str:
        """As it was given."""
        return f"{self.origin}/{self.bucket}/{self.prefix}".rstrip("/")


def credentials_for(address: S3Address) -> ChainedProvider:
    """Whose rights are used: those of the environment, else of ~/.aws/credentials.

    Raises:
        InvalidInput: there are none.
    """
    found = ChainedProvider([EnvAWSProvider(), EnvMinioProvider(), AWSConfigProvider()])
    try:
        found.retrieve()
    except ValueError:
        raise InvalidInput(
            f"There are no credentials for {address}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from None
    return found


def trusted_authorities() -> str:
    """File of the certificate authorities that a store's certificate may come from."""
    return os.environ.get("SSL_CERT_FILE") or certifi.where()


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
            InvalidInput: there are no credentials.
        """
        self._address = address
        self._for_edges = for_edges.rstrip("/") or address.origin
        self._scratch = scratch
        self._patience = patience_seconds
        self._region = os.environ.get("AWS_REGION") or "us-east-1"
        self._credentials = credentials_for(address)
        http = urllib3.PoolManager(
            timeout=_TIMEOUT,
            retries=False,  # `_asked` knows what is worth another try, and for how long.
            maxsize=_AT_ONCE,
            cert_reqs="CERT_REQUIRED",
            ca_certs=trusted_authorities(),
        )
        self._client = self._minio(address.origin, http)
        self._client_for_edges = self._minio(self._for_edges, http)
        self._keeps_once = False

    @property
    def longest_url_seconds(self) -> float:
        """See `Store.longest_url_seconds`."""
        return MOST_SECONDS

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
            except _UploadEnded as error:
                failure = StoreFailed(f"{error} Somebody else writes it at the same time, or ends what others begin to send.")
            else:
                return
            patience.wait(failure)
        raise failure

    def get(self, key: str, max_bytes: int) -> bytes:
        """See `Store.get`."""

        def read() -> bytes:
            response = self._client.get_object(self._address.bucket, self._name(key))
            try:
                _require_tag(response)
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

        def stat() -> Object:
            found = self._client.stat_object(self._address.bucket, self._name(key))
            if not found.etag:
                raise _no_s3(200, found.content_type)
            return found

        try:
            found = self._asked(key, stat)
        except NotFound:
            return None
        return _entry(key, found)

    def list(self, prefix: str) -> Iterator[Entry]:
        """See `Store.list`."""
        after: str | None = None
        while page := self._page(prefix, after):
            for found in page:
                yield _entry((found.object_name or "")[len(self._address.prefix) :], found)
            if len(page) < _PAGE:
                return
            after = page[-1].object_name

    def folders(self, prefix: str) -> tuple[str, ...]:
        """See `Store.folders`."""
        below = self._name(prefix) + "/"
        found = self._asked(prefix, lambda: list(self._client.list_objects(self._address.bucket, below)))
        return tuple(sorted(one.object_name.rstrip("/").rpartition("/")[2] for one in found if one.is_dir))

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
        self._asked(key, lambda: self._client.remove_object(self._address.bucket, self._name(key)))

    def delete_below(self, prefix: str) -> int:
        """See `Store.delete_below`."""

        def remove(entry: Entry) -> None:  # Also what others put there under a name that is no key of ours.
            name = self._address.prefix + entry.key
            self._asked(prefix, lambda: self._client.remove_object(self._address.bucket, name))

        with ThreadPoolExecutor(_AT_ONCE) as others:  # The time goes into waiting, and not every S3 deletes many at once.
            count = sum(1 for _ in others.map(remove, self.list(prefix)))
        self._abort_below(prefix)
        return count

    def _abort_below(self, prefix: str) -> None:
        """Have the store forget unfinished uploads in parts; a MinIO lists none by a prefix, and forgets them after a day."""
        bucket, below = self._address.bucket, self._name(prefix) + "/"
        for upload in self._asked(prefix, lambda: self._client._list_multipart_uploads(bucket, prefix=below)).uploads:
            place = bucket, upload.object_name, upload.upload_id
            with suppress(_UploadEnded):
                self._asked(prefix, lambda place=place: self._client._abort_multipart_upload(*place))  # type: ignore[misc]

    def download(self, key: str, sha256: str, size: int, expires_seconds: float) -> RemoteFile:
        """See `Store.download`."""
        return RemoteFile(url=self._presigned("GET", key, expires_seconds, {}), sha256=sha256, size=size)

    def upload(self, key: str, *, max_bytes: int, once: bool, expires_seconds: float) -> UploadTarget:
        """See `Store.upload`; the signature binds `once`. S3 cannot bind the size of a PUT from above: readers do."""
        headers = {"If-None-Match": "*"} if once else {}
        url = self._presigned("PUT", key, expires_seconds, headers)
        return UploadTarget(url=url, headers=headers, max_bytes=max_bytes, once=once)

    def _put(self, key: str, content: bytes, *, once: bool) -> None:
        headers: _Headers | None = {"If-None-Match": "*"} if once else None
        if once:
            self._require_once(key)

        def put() -> None:
            # The client's own put_object takes no condition.
            answer = self._client._execute("PUT", self._address.bucket, self._name(key), body=content, headers=headers)
            _require_tag(answer)

        def is_done() -> bool:
            entry = self.stat(key)
            if entry is None or entry.size != len(content):
                return False
            return entry.version == _md5(content) or self.get(key, len(content)) == content

        self._done(key, put, is_done)

    def _require_once(self, key: str) -> None:
        """Find out, before the first time that it matters, whether what is written once stays."""
        if not self._keeps_once:
            self._asked(key, lambda: require_once(self._client, self._address.bucket, self._address.prefix))
            self._keeps_once = True

    def _put_in_parts(self, key: str, path: Path, size: int, *, once: bool) -> None:
        """Write an object from a large file.

        Raises:
            Conflict: `once`, and it exists already.
            _UploadEnded: somebody else has ended the upload, or writes the same object.
        """
        parts = Parts(self._client, self._address.bucket, self._name(key), path)
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
        except (Conflict, _UploadEnded):
            if tries == 1 or not is_done():
                raise

    def _fetch(self, key: str, path: Path) -> None:
        """Bring an object here, going on where an earlier try broke off."""
        version = ""

        def fetch() -> None:
            nonlocal version
            begun = path.stat().st_size if version else 0
            wanted: _Headers | None = {"If-Match": f'"{version}"'} if version else None
            response = self._client.get_object(self._address.bucket, self._name(key), offset=begun, request_headers=wanted)
            try:
                version = _require_tag(response)
                left = int(response.headers["content-length"])
                with disk_errors(path), path.open("ab" if begun else "wb") as file:
                    while left and (chunk := response.read(min(_CHUNK, left))):
                        left -= file.write(chunk)
            finally:
                response.close()
            if left:
                raise urllib3.exceptions.HTTPError(f"{left} bytes are missing")

        try:
            self._asked(key, fetch)
        except Conflict:
            raise StoreFailed(f"The object {key!r} was written anew while it was read; start again.") from None

    def _listen(self, below: str) -> BaseHTTPResponse:
        # The client's own listen_bucket_notification connects again without a word about what it missed in between.
        query: _Headers = {"prefix": below, "events": "s3:ObjectCreated:*", "ping": str(PING_SECONDS)}
        return self._client._execute("GET", self._address.bucket, query_params=query, preload_content=False)

    def _page(self, prefix: str, after: str | None) -> _Objects:
        """A page at a time, so that a store that goes away amid a long listing costs one page."""
        below = self._name(prefix) + "/"
        return self._asked(
            prefix,
            lambda: list(
                islice(self._client.list_objects(self._address.bucket, below, recursive=True, start_after=after), _PAGE)
            ),
        )

    def _presigned(self, method: str, key: str, expires_seconds: float, headers: dict[str, str]) -> str:
        plain = self._client_for_edges.get_presigned_url(method, self._address.bucket, self._name(key)).partition("?")[0]
        return presigned(
            method,
            plain,
            self._credentials.retrieve(),
            self._region,
            datetime.now(UTC),
            max(1, int(min(expires_seconds, self.longest_url_seconds))),
            headers,
        )

    def _asked(self, key: str, ask: Callable[[], T]) -> T:
        """Ask the store, again and again while it does not answer.

        Raises:
            NotFound: there is no such object.
            Conflict: it was to be written once, and exists.
            _UploadEnded: somebody else has ended the upload.
            StoreFailed: the store refuses, or did not answer for as long as there is patience.
        """
        checked_key(key)
        patience = Patience(self._patience)
        while True:
            try:
                return ask()
            except (MinioException, urllib3.exceptions.HTTPError, ValueError, ElementTree.ParseError) as error:
                passing = self._explained(key, error)
            patience.wait(passing)

    def _explained(self, key: str, error: Exception) -> StoreFailed:
        """What went wrong, if another try may mend it.

        Raises:
            CloudedgeError: it is an answer, or no other try mends it.
        """
        answer: CloudedgeError | None = None
        status, code = _answered(error)
        passing = status in _PASSING or code in _PASSING_CODES
        if isinstance(error, S3Error) and not passing:
            if error.code in _ABSENT:
                answer = NotFound(f"There is no object {key!r} in {self._address}.")
            elif error.code in _EXISTS:
                answer = self._exists(key)
            elif error.code in _UPLOAD_ENDED:
                answer = _UploadEnded(f"The upload of {key!r} to {self._address} was ended: {error.code}.")
            else:
                way_out = _WAY_OUT.get(error.code or "", "Check the store and start again.")
                answer = StoreFailed(f"{self._address} refuses {key!r}: {error.code}: {error.message} {way_out}")
        elif isinstance(error, InvalidResponseError) and not passing:
            answer = StoreFailed(f"{self._address} is no S3: it answers {error._code} with {error._content_type}.")
        elif isinstance(error, ElementTree.ParseError):
            answer = StoreFailed(f"{self._address} is no S3: it answers with what is no XML.")
        elif isinstance(error, ValueError) and not isinstance(error, MinioException):
            answer = InvalidInput(f"The store's address {self._address} cannot be used: {error}.")
        if answer is not None:
            raise answer from None
        said = f"answers {status} {code}".rstrip() if status else f"does not answer: {str(error) or type(error).__name__}"
        return StoreFailed(f"The store {self._address} {said}. Check that it runs and can be reached.")

    def _exists(self, key: str) -> Conflict:
        return Conflict(f"The object {key!r} exists already in {self._address} and can be written only once.")

    def _name(self, key: str) -> str:
        return self._address.prefix + checked_key(key)

    def _minio(self, origin: str, http: urllib3.PoolManager) -> Minio:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise InvalidInput(f"{origin!r} is no address of an S3 for edges; give http(s)://host[:port].")
        try:
            return Minio(
                parts.netloc,
                secure=parts.scheme == "https",
                region=self._region,
                http_client=http,
                credentials=self._credentials,
            )
        except ValueError as error:
            raise InvalidInput(f"{origin!r} is no address of an S3: {error}.") from None


def _answered(error: Exception) -> tuple[int, str]:
    """Status and code of an S3's answer; 0 where there was none."""
    if isinstance(error, S3Error):
        return error.response.status, error.code or ""
    if isinstance(error, InvalidResponseError):
        return error._code, ""
    return (error.status_code, "") if isinstance(error, ServerError) else (0, "")


def _require_tag(answer: BaseHTTPResponse) -> str:
    """The tag that an S3 gives each object that it has written or sends.

    Raises:
        InvalidResponseError: there is none, so that whoever answers 200 is no S3: a login page or a proxy.
    """
    tag = answer.headers.get("etag", "").strip('"')
    if not tag:
        raise _no_s3(answer.status, answer.headers.get("content-type"))
    return tag


def _no_s3(status: int, content_type: str | None) -> InvalidResponseError:
    return InvalidResponseError(status, content_type or "no type", None)


def _md5(content: bytes) -> str:
    """An object's tag, as S3 makes it where it does not encrypt."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _entry(key: str, found: Object) -> Entry:
    # Whole seconds, as an answer about a single object has no more.
    modified = found.last_modified.timestamp() // 1 if found.last_modified else 0.0
    return Entry(key, found.size or 0, (found.etag or "").strip('"'), modified)
