"""What is written into a bucket, told by the store itself over a connection that stays open.

MinIO tells (ListenBucketNotification); other S3 do not, and a MinIO may refuse it, lose the connection, or drop news when there
are too many at once. So nothing may depend on being told: while the connection is not up, we say so, and who asks lists.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from urllib.parse import unquote_plus
from xml.etree.ElementTree import ParseError

import urllib3
from minio.error import MinioException
from urllib3.response import BaseHTTPResponse

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""Before another try to be told, once the connection is lost or was refused."""

_MOST_LINE_BYTES = 1024 * 1024
"""Of one piece of news; a MinIO's has about a thousand."""

PING_SECONDS = 1
"""The store says something at least this often, so that a dead connection is noticed."""


_MALFORMED = (ValueError, KeyError, TypeError)
"""What a line raises that is not of the form that MinIO's have."""


class ChangeStream:
    """Collects, in a thread of its own, what the store tells."""

    def __init__(self, listen: Callable[[], BaseHTTPResponse]) -> None:
        """Begin to listen.

        Args:
            listen: Opens the connection.
        """
        self._listen = listen
        self._lock = threading.Lock()
        self._told: dict[str, str] = {}
        self._listening = False
        self._whole = False
        self._over = threading.Event()
        threading.Thread(target=self._run, name="changes", daemon=True).start()

    def take(self) -> dict[str, str] | None:
        """Versions by name of what was written since this was last asked, or None if some of it may not have been told."""
        with self._lock:
            told, whole = self._told, self._whole
            self._told, self._whole = {}, self._listening
        return told if whole else None

    def close(self) -> None:
        """Listen no longer; the thread ends within `PING_SECONDS` or the connection's time-out."""
        self._over.set()

    def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._over.is_set():
            try:
                for line in _lines(self._listen()):
                    if self._over.is_set():
                        return
                    self._hear(line)
                    pause = _FIRST_PAUSE_SECONDS
            # Whatever an S3 that cannot tell may answer, its listings are what counts.
            except (MinioException, urllib3.exceptions.HTTPError, OSError, ParseError, *_MALFORMED) as error:
                _log.info("the store does not tell what changes, so it is listed: %s", " ".join(str(error).split()))
            with self._lock:
                self._listening = self._whole = False
                self._told = {}
            self._over.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _hear(self, line: bytes) -> None:
        """Take a line of the store's, the first of which proves that it listens for us.

        Raises:
            ValueError, KeyError, TypeError: this is no such line.
        """
        records = json.loads(line)["Records"] or ()
        told = [record["s3"]["object"] for record in records]
        with self._lock:
            self._listening = True
            self._told.update({unquote_plus(one["key"]): one["eTag"] for one in told})


def _lines(response: BaseHTTPResponse) -> Iterator[bytes]:
    """The lines of an answer, each as soon as it has arrived."""
    rest = b""
    try:
        for chunk in response.stream():
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _MOST_LINE_BYTES:
                raise ValueError("a line has no end")
            yield from (line for line in lines if line.strip())
    finally:
        response.close()
