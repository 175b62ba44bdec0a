"""A client of an S3, and how it is asked: again, while it does not answer."""

import os
import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.helpers import check_bucket_name

from cloud.patience import Patience
from cloud.stores.address import S3Address
from cloud.stores.answers import FAILURES, Answers
from cloud.stores.credentials import Rights
from cloudedge.errors import InvalidInput, StoreFailed
from cloudedge.network import open_pool

_TIMEOUT = urllib3.Timeout(connect=5, read=15)
"""In seconds; the latter for each answer, as a MinIO that is starting takes requests that it never answers."""

AT_ONCE = 16
"""Requests under way at a time."""

_REGION = re.compile(r"[a-z0-9_-]{1,63}")

T = TypeVar("T")


def region() -> str:
    """The region that requests are signed for: that of AWS_REGION, else AWS_DEFAULT_REGION, else S3's first.

    Raises:
        InvalidInput: it is none.
    """
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if found := os.environ.get(variable):
            if not _REGION.fullmatch(found):
                raise InvalidInput(f"{variable} is {found!r}: give the bucket's region, such as eu-central-1, or unset it.")
            return found
    return "us-east-1"


class S3Client:
    """The connections to one bucket, and the credentials that it is asked with."""

    def __init__(self, address: S3Address, *, patience_seconds: float) -> None:
        """Connect when first asked for something.

        Args:
            address: The bucket.
            patience_seconds: How long a store that does not answer is asked again, in seconds.

        Raises:
            InvalidInput: there are no credentials, or the address, the region, the authorities or the proxy cannot be used.
        """
        self.address = address
        self.region = region()
        self.rights = Rights(str(address))
        self.answers = Answers(address, self.rights)
        self.http = open_pool(address.origin, _TIMEOUT, AT_ONCE)
        self.minio = self._of(address.origin, self.rights)
        self._patience = patience_seconds
        try:
            check_bucket_name(address.bucket)
        except ValueError as error:
            raise InvalidInput(f"The store's address is {str(address)!r}, whose bucket is none: {error}.") from None

    def urls(self, origin: str) -> Callable[[str], str]:
        """What gives the URL, by its key, of an object in the same store by another name.

        Args:
            origin: http(s)://host[:port].

        Raises:
            InvalidInput: it is none.
        """
        unsigned = self._of(origin, None)
        return lambda key: unsigned.get_presigned_url("GET", self.address.bucket, self.address.name(key))

    def _of(self, origin: str, rights: Rights | None) -> Minio:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise InvalidInput(f"{origin!r} is no address of an S3 for edges; give http(s)://host[:port].")
        secure = parts.scheme == "https"
        try:
            return Minio(parts.netloc, secure=secure, region=self.region, http_client=self.http, credentials=rights)
        except ValueError as error:
            raise InvalidInput(f"{origin!r} is no address of an S3: {error}.") from None

    def asked(self, key: str, ask: Callable[[], T]) -> T:
        """Ask the store, again and again while it does not answer.

        Args:
            key: What it is asked for, for messages.
            ask: Asks once.

        Raises:
            NotFound: there is no such object.
            Conflict: it was to be written once, and exists.
            UploadEnded: somebody else has ended the upload.
            StoreFailed: the store refuses, or did not answer for as long as there is patience.
        """

        def answer() -> T:
            found = ask()
            self.answers.worked = True
            return found

        return self._again(answer, lambda error: self.answers.explained(key, error))

    def credentials(self) -> Credentials:
        """The credentials as they are now, asked for again while who gives them does not answer.

        Raises:
            StoreFailed: they could not be had for as long as there is patience.
        """
        return self._again(self.rights.retrieve, lambda error: self.answers.explained("", error))

    def _again(self, ask: Callable[[], T], explained: Callable[[Exception], StoreFailed]) -> T:
        patience = Patience(self._patience)
        while True:
            try:
                return ask()
            except FAILURES as error:
                failure = explained(error)
            patience.wait(failure)
