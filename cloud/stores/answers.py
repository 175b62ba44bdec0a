"""What an S3's answers mean, and what a person can do about those that no other try mends."""

import re
from xml.etree import ElementTree

import urllib3
from minio.datatypes import Object
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.response import BaseHTTPResponse

from cloud.stores.address import S3Address
from cloud.stores.credentials import NoCredentials, Rights, Source
from cloud.stores.minio_internals import body_of, content_type_of, status_of
from cloudedge.errors import CloudedgeError, Conflict, NotFound, StoreFailed
from cloudedge.network import proxy_for, trouble_of, wants_tls
from cloudedge.store.way import said_of, said_of_proxy

FAILURES = (MinioException, urllib3.exceptions.HTTPError, ValueError, ElementTree.ParseError, NoCredentials)
"""What a question to an S3 may raise; `ValueError` where its answer is none of an S3's."""

_ABSENT = {"NoSuchKey", "XMinioInvalidObjectName"}
_EXISTS = {"PreconditionFailed"}
_UPLOAD_ENDED = {"NoSuchUpload", "InvalidPart", "InvalidPartOrder"}
"""What a store says of an upload in parts that somebody else has completed, aborted or sent other parts of."""

PASSING = {408, 429, 500, 502, 503, 504}
"""Statuses of HTTP that another try mends. A MinIO that starts has a code of its own for each part that is not there yet."""

_ELSEWHERE = {301, 302, 303, 307, 308}
_PASSING_CODES = {
    "InternalError",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
}
"""S3's codes of the same, as an error may come under a status that says nothing of it, even 200."""

_CONTENDED_CODES = {"ConditionalRequestConflict", "OperationAborted"}
"""Somebody else writes or deletes the same object right now, which passes, too."""

_ENDED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
_TOKEN = {"InvalidToken", "InvalidTokenId"}
_UNKNOWN = {"InvalidAccessKeyId", "InvalidClientTokenId", "InvalidSecurity"}
_WRONG = {"SignatureDoesNotMatch"}
_QUOTA = "Free some space in the bucket, or raise its quota, and start again; nothing is lost."
_LOCKED = "Keep runs in a bucket without object lock, retention and legal hold, or wait until it is over."
_REGION_TOLD = re.compile(rb"<Region>([a-z0-9-]+)</Region>")
_REGION = "Set AWS_REGION to the bucket's region{region}."
_ACCOUNT = "Ask who runs the store about this account."
_KEYS = "Have who runs the store mend its encryption keys, or give these credentials the right to use them."
_WAY_OUT = {
    "AccessDenied": "Give these credentials the right to it (cloudedge store policy prints what is needed), or correct the "
    "bucket's name; they come from {source}.",
    "AccountProblem": _ACCOUNT,
    "AllAccessDisabled": _ACCOUNT,
    "AuthorizationHeaderMalformed": _REGION,
    "BucketAlreadyExists": "Somebody else has a bucket of this name: choose another in CLOUDEDGE_STORE.",
    "EntityTooLarge": "The store takes no object or part so large: raise its limit, or that of a proxy before it.",
    "IllegalLocationConstraintException": _REGION,
    "InvalidBucketName": "Correct the bucket in the store's address.",
    "InvalidLocationConstraint": _REGION,
    "InvalidObjectState": "It is archived: restore it, and take archiving rules off this bucket.",
    "InvalidRegion": _REGION,
    "InvalidRequest": "Look whether the bucket asks for more than is sent, such as encryption or a checksum.",
    "KMS.DisabledException": _KEYS,
    "KMS.NotFoundException": _KEYS,
    "MethodNotAllowed": "What answers there does not do this: check that the address is that of an S3's own port.",
    "NoSuchBucket": "Make the bucket (cloudedge store prepare), or correct the store's address.",
    "NotImplemented": "Use a store that can do it, such as a MinIO; a proxy before it must pass all on.",
    "NotSignedUp": _ACCOUNT,
    "ObjectLocked": _LOCKED,
    "PermanentRedirect": _REGION,
    "Redirect": _REGION,
    "RequestExpired": "Set this machine's clock.",
    "RequestTimeTooSkewed": "Set this machine's clock.",
    "XMinioAdminBucketQuotaExceeded": _QUOTA,
    "QuotaExceeded": _QUOTA,
    "XMinioKMSKeyNotFound": _KEYS,
    "XMinioStorageFull": "Free some space on the store's disks and start again; nothing is lost.",
}
"""What a person can do, by S3's code."""


class UploadEnded(CloudedgeError):
    """An upload in parts is not there any more as it was left."""


class _Contended(StoreFailed):
    """Others change one object again and again; the store does its work, so that this is no `Away` when patience ends."""


class _Unrenewed(StoreFailed):
    """Credentials are refused that may yet be renewed; the store answers, so that this is no `Away` when patience ends."""


class Answers:
    """Tells what is an answer, what another try may mend, and what none does.

    What is wrong with certificates, ports and credentials is certain, so a person who sets a store up is told at once. But a
    store that has answered this process before may have been met while somebody replaced its certificate or these
    credentials: then they are asked again like any other.
    """

    def __init__(self, address: S3Address, rights: Rights) -> None:
        """Nothing was heard of the store yet.

        Args:
            address: Whose answers these are.
            rights: Whose credentials it is asked with.
        """
        self._address = address
        self._rights = rights
        self.worked = False
        """Whether the store has done something that it was asked for, so that the way there and the bucket are right."""

    def explained(self, key: str, error: Exception) -> StoreFailed:
        """What went wrong, if another try may mend it.

        Args:
            key: What was asked for.
            error: One of `FAILURES`.

        Raises:
            CloudedgeError: it is an answer, or no other try mends it.
        """
        if isinstance(error, NoCredentials):
            # Who refuses whom it never gave any will go on to; else the role or the token may be about to be mended.
            return StoreFailed(str(error)) if error.away else self._passing_if(self.worked, error)
        status, code = answered(error)
        trouble = trouble_of(error)
        if trouble is not None:
            said = f"The store {self._address} {said_of(trouble, self._address.origin)}"
            return self._passing_if(self.worked or not trouble.obstacle.certain, StoreFailed(said))
        if code in _CONTENDED_CODES:
            return _Contended(f"The store {self._address} answers {status} {code} for {key!r}: others change it right now.")
        if status in PASSING or code in _PASSING_CODES:
            return StoreFailed(f"The store {self._address} answers {status} {code}".rstrip() + self._and_look())
        if isinstance(error, S3Error):
            return self._refused(key, error)
        if isinstance(error, InvalidResponseError):
            raise StoreFailed(self._said_of_stranger(error)) from None
        if isinstance(error, ElementTree.ParseError | ValueError) and not isinstance(error, MinioException):
            raise StoreFailed(f"{self._address} is no S3: it answers with what is no S3's XML. {_OTHER_PORT}") from None
        said = f"answers {status}" if status else f"does not answer: {str(error) or type(error).__name__}"
        return StoreFailed(f"The store {self._address} {said}{self._and_look()}")

    def exists(self, key: str) -> Conflict:
        """It cannot be written a second time."""
        return Conflict(f"The object {key!r} exists already in {self._address} and can be written only once.")

    def _refused(self, key: str, error: S3Error) -> StoreFailed:
        code, source = error.code or f"status {error.response.status}", self._rights.source
        if code in _ABSENT:
            self.worked = True
            raise NotFound(f"There is no object {key!r} in {self._address}.") from None
        if code in _EXISTS:
            self.worked = True
            raise self.exists(key) from None
        if code in _UPLOAD_ENDED:
            raise UploadEnded(f"The upload of {key!r} to {self._address} was ended: {code}.") from None
        said = f"{self._address} refuses {key!r}: {code}: {(error.message or 'it says no more').rstrip(' .')}."
        remedy = _remedy(code, source)
        if remedy:  # Whoever renews credentials may be about to.
            return self._passing_if(self.worked and source.changes, _Unrenewed(f"{said} {remedy}"))
        told = _REGION_TOLD.search(error.response.data or b"")
        region = error.response.headers.get("x-amz-bucket-region") or (told[1].decode() if told else "")
        way_out = _WAY_OUT.get(code) or (_KEYS if "KMS" in code else _LOCKED if "lock" in said.lower() else "")
        if not way_out:
            request = f" under the request {error.request_id}" if error.request_id else ""
            way_out = f"Look for it in the store's log{request}, and in its documentation of errors."
        raise StoreFailed(f"{said} {way_out.format(source=source.key, region=f', {region}' if region else '')}") from None

    def _said_of_stranger(self, error: InvalidResponseError) -> str:
        body, status = body_of(error) or "", status_of(error)
        if self._address.origin.startswith("http:") and wants_tls(body):
            return f"The store {self._address} speaks HTTPS on this port: begin its address with https://"
        if proxy_for(self._address.origin) is not None and status in (403, 407):
            return f"The store {self._address} {said_of_proxy(status, self._address.origin)}"
        if status in _ELSEWHERE:
            return f"{self._address} leads to another address ({status}): give that one, such as https:// for http://"
        return f"{self._address} is no S3: it answers {status} with {content_type_of(error) or 'no type'}. {_OTHER_PORT}"

    def _and_look(self) -> str:
        proxy = proxy_for(self._address.origin)
        return f". Check that it runs and can be reached{f' through {proxy}' if proxy else ''}."

    @staticmethod
    def _passing_if(passing: bool, failure: StoreFailed) -> StoreFailed:
        if passing:
            return failure
        raise failure from None


_OTHER_PORT = (
    "Check its address, whose port may be that of a console, and whether a page to log in at or a proxy stands before it."
)


def _remedy(code: str, source: Source) -> str:
    """What mends credentials that are refused; empty if it is not they."""
    if code in _ENDED:
        return f"These credentials have ended: renew {source.key}, {source.secret} and {source.token}."
    if code in _TOKEN:
        return f"Correct {source.token}, which belongs to {source.key}, or renew them all."
    if code in _UNKNOWN:
        return f"Correct {source.key}."
    return f"Correct {source.secret}." if code in _WRONG else ""


def answered(error: Exception) -> tuple[int, str]:
    """Status and code of an S3's answer; 0 where there was none."""
    if isinstance(error, S3Error):
        return error.response.status, error.code or ""
    if isinstance(error, InvalidResponseError):
        return status_of(error), ""
    return (error.status_code, "") if isinstance(error, ServerError) else (0, "")


def require_tag(answer: BaseHTTPResponse) -> str:
    """The tag that an S3 gives each object that it has written or sends.

    Raises:
        InvalidResponseError: there is none, so that whoever answers 200 is no S3: a login page or a proxy.
    """
    tag = answer.headers.get("etag", "").strip('"')
    if not tag:
        raise _no_s3(answer.status, answer.headers.get("content-type"))
    return tag


def with_tag(found: Object) -> Object:
    """An object that was looked at, if it has a tag; see `require_tag`."""
    if not found.etag:
        raise _no_s3(200, found.content_type)
    return found


def _no_s3(status: int, content_type: str | None) -> InvalidResponseError:
    return InvalidResponseError(status, content_type or "no type", None)
