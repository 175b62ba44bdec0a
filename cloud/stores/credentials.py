"""Whose rights are used in an S3: asked for at each request, so that those that others have put in their place are taken up."""

import base64
import configparser
import contextlib
import json
import logging
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import urllib3
from minio.credentials.credentials import Credentials
from minio.credentials.providers import AWSConfigProvider, EnvAWSProvider, EnvMinioProvider, IamAwsProvider, Provider

from cloudedge.errors import InvalidInput, StoreFailed
from cloudedge.network import open_pool, trouble_of
from cloudedge.store.way import said_of

_log = logging.getLogger(__name__)

UNKNOWN_SECONDS = 900.0
"""How long credentials are taken to last that are temporary and do not say until when: Amazon and MinIO give none for less."""

_LEAST_PAUSE_SECONDS = 10.0
"""Between two questions to a server that gives credentials."""

_TIMEOUT = urllib3.Timeout(connect=2, read=10)
_FAILS = re.compile(r"HTTP status code (408|429|5\d\d)")
"""As minio says of an answer."""
_ENDS = "AWS_CREDENTIAL_EXPIRATION"
_WEB_IDENTITY = "AWS_WEB_IDENTITY_TOKEN_FILE"
_CONTAINER = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")


class NoCredentials(StoreFailed):
    """Who gives credentials does not do so now; worth another try.

    Attributes:
        away: Whether no answer came at all, or none of a server that works; else it refuses.
    """

    def __init__(self, message: str, *, away: bool) -> None:
        """Say why."""
        super().__init__(message)
        self.away = away


@dataclass(frozen=True)
class Source:
    """Where credentials come from.

    Attributes:
        key: What holds the access key, for people.
        secret: What holds the secret key, for people.
        token: What holds the session token, for people.
        provider: Gives them.
        changes: Whether it may give others while this process runs.
    """

    key: str
    secret: str
    token: str
    provider: Provider
    changes: bool


class Rights(Provider):
    """The credentials of the first source that has any: the environment, a web identity, ~/.aws/credentials, the container."""

    def __init__(self, store: str) -> None:
        """Find the sources.

        Args:
            store: The store's address, for messages.

        Raises:
            InvalidInput: there are none.
        """
        self._store = store
        self._sources = _sources()
        self._source = self._sources[0]
        self._last: Credentials | None = None
        self._warned = False
        self._lock = threading.Lock()
        with contextlib.suppress(NoCredentials):  # Another time, then.
            self.retrieve()

    @property
    def source(self) -> Source:
        """Where those in use came from."""
        return self._source

    def retrieve(self) -> Credentials:
        """The credentials as they are now.

        Raises:
            InvalidInput: no source has any.
            NoCredentials: a server does not give them.
        """
        with self._lock:
            for source in self._sources:
                with contextlib.suppress(ValueError, OSError):  # It has none, or is being written.
                    self._last, self._source = source.provider.retrieve(), source
                    return self._last
            if self._last is None:
                raise InvalidInput(
                    f"There are no credentials for {self._store}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or have "
                    f"them in the profile {os.environ.get('AWS_PROFILE') or 'default'} of {_shared_file()}."
                )
            return self._last

    def seconds_left(self, credentials: Credentials) -> float:
        """How long credentials from here last; infinite where they are not temporary."""
        end = _end_of(credentials, self._source)
        if end is not None:
            return (end - datetime.now(UTC)).total_seconds()
        if not credentials.session_token:
            return float("inf")
        if not self._warned:
            self._warned = True
            _log.warning(
                "The credentials of %s are temporary and do not say when they end, so edges get URLs that hold for %d minutes "
                "and are renewed.",
                self._source.key,
                UNKNOWN_SECONDS / 60,
            )
        return UNKNOWN_SECONDS


class _Server(Provider):
    """Credentials that a server gives, asked for again once half of their time is over."""

    def __init__(self, name: str, url: str, way_out: str, open_provider: Callable[[urllib3.PoolManager], Provider]) -> None:
        self._name, self._url, self._way_out, self._open_provider = name, url, way_out, open_provider
        self._credentials: Credentials | None = None
        self._again_at = datetime.min.replace(tzinfo=UTC)

    def retrieve(self) -> Credentials:
        now = datetime.now(UTC)
        if self._credentials is not None and now < self._again_at:
            return self._credentials
        pause = _LEAST_PAUSE_SECONDS
        try:
            # One that was asked before keeps its answer for too long.
            self._credentials = self._open_provider(open_pool(self._url, _TIMEOUT, 1)).retrieve()
        except (ValueError, KeyError, OSError, ParseError, urllib3.exceptions.HTTPError) as error:
            if self._credentials is None or self._credentials.is_expired():
                trouble = trouble_of(error)
                # A question may hold the token that proves who we are.
                text = " ".join(re.sub(r"\?\S*", "", str(error)).split())[:300]
                said = said_of(trouble, self._url) if trouble else f"does not give them: {text.rstrip('.')}. {self._way_out}"
                away = isinstance(error, urllib3.exceptions.HTTPError) or bool(_FAILS.search(str(error)))
                raise NoCredentials(f"The store's credentials cannot be had: {self._name} {said}", away=away) from None
        else:
            if self._credentials.expiration:
                left = self._credentials.expiration.replace(tzinfo=UTC) - now
                pause = max(pause, left.total_seconds() / 2)
        self._again_at = now + timedelta(seconds=pause)
        return self._credentials


def _sources() -> list[Source]:
    """All that may have credentials, in the order in which Amazon's tools ask."""
    found = [
        Source("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", EnvAWSProvider(), changes=False),
        Source("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "", EnvMinioProvider(), changes=False),
    ]
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if os.environ.get(_WEB_IDENTITY):
        own = os.environ.get("AWS_ENDPOINT_URL_STS")
        url = own or (f"https://sts.{region}.amazonaws.com" if region else "https://sts.amazonaws.com")
        way_out = f"Check the file that {_WEB_IDENTITY} names, AWS_ROLE_ARN, and whom that server takes tokens of."
        found.append(_server(f"{url}, asked with the token in {_WEB_IDENTITY},", url, way_out, region, custom=own))
    file, profile = _shared_file(), os.environ.get("AWS_PROFILE") or "default"
    where = f"of the profile {profile} in {file}"
    keys = f"aws_access_key_id {where}", f"aws_secret_access_key {where}", f"aws_session_token {where}"
    found.append(Source(*keys, _File(str(file), profile), changes=True))
    variable = next((name for name in _CONTAINER if os.environ.get(name)), "")
    if variable and not os.environ.get(_WEB_IDENTITY):
        full = os.environ[variable] if variable == _CONTAINER[0] else "http://169.254.170.2"
        way_out = f"Check {variable}, and the role that this container has."
        found.append(_server(f"{full}, which {variable} names,", full, way_out, region, custom=None))
    return found


def _server(name: str, url: str, way_out: str, region: str | None, custom: str | None) -> Source:
    def open_provider(pool: urllib3.PoolManager) -> Provider:
        return IamAwsProvider(http_client=pool, region=region, custom_endpoint=custom)

    what = f"what comes from {name.rstrip(',')}"
    return Source(what, "its secret", "its token", _Server(name, url, way_out, open_provider), changes=True)


class _File(Provider):
    """The file that Amazon's tools share; somebody may write it right now."""

    def __init__(self, name: str, profile: str) -> None:
        self._provider = AWSConfigProvider(name, profile)

    def retrieve(self) -> Credentials:
        try:
            return self._provider.retrieve()
        except configparser.Error as error:
            raise ValueError(str(error)) from None


def _shared_file() -> Path:
    return Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or Path.home() / ".aws" / "credentials")


def _end_of(credentials: Credentials, source: Source) -> datetime | None:
    """When credentials end, as far as they or their source tell."""
    if credentials.expiration:
        return credentials.expiration.replace(tzinfo=UTC)
    said = os.environ.get(_ENDS)
    if said and not source.changes:
        try:
            end = datetime.fromisoformat(said)
        except ValueError:
            raise InvalidInput(f"{_ENDS} is {said!r}: give a time such as 2030-01-01T00:00:00Z, or unset it.") from None
        return end if end.tzinfo else end.replace(tzinfo=UTC)
    return _end_in_token(credentials.session_token or "")


def _end_in_token(token: str) -> datetime | None:
    """When a MinIO's token ends: it is a JSON Web Token, which says so."""
    try:
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==="))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
