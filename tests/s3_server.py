"""An S3 over real HTTP that can be told to misbehave: one of our own, or a real one behind us.

It knows what cloudedge asks of an S3, believes every signature, and keeps all in memory. Faults are those of
`tests.http_store`, one for each request that comes.
"""

import hashlib
import http.client
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from itertools import count
from time import time
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.http_store import Handler, HttpStore, served


@dataclass
class S3Server(HttpStore):
    """Objects by '/bucket/key', their tags and times, and the uploads in parts that are not completed."""

    tags: dict[str, str] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    uploads: dict[str, tuple[str, dict[int, bytes]]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, key: str, content: bytes, tag: str = "") -> None:
        """Write an object."""
        self.objects[key] = content
        self.tags[key] = tag or _md5(content)
        self.times[key] = time()


class S3Handler(Handler):
    """What an S3 answers."""

    store: S3Server

    @property
    def key(self) -> str:
        """The request's path, as objects are kept by it."""
        return unquote(urlsplit(self.path).path)

    @property
    def query(self) -> dict[str, str]:
        """The request's query."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()}

    def answer(self) -> None:
        """See `Handler.answer`."""
        with self.store.lock:
            self._answer(self.query)

    def _answer(self, query: dict[str, str]) -> None:
        if "uploadId" in query and query["uploadId"] not in self.store.uploads:
            self.refuse(404, "NoSuchUpload", "The upload may have been aborted or completed.")
        elif self.command == "POST":
            self._complete(query["uploadId"]) if "uploadId" in query else self._begin()
        elif self.command == "PUT":
            self._put_part(query) if "uploadId" in query else self._put()
        elif self.command == "DELETE":
            self._delete(query)
        elif "uploadId" in query:
            self._list_parts(query["uploadId"])
        elif "location" in query:
            self._say("LocationConstraint", "")
        elif self.key.count("/") == 1 and self.command == "HEAD":
            self.head(200, 0)
        elif "uploads" in query:
            self._list_uploads(query["prefix"])
        elif "list-type" in query:
            self._list(query)
        else:
            self._get()

    def _get(self) -> None:
        content = self.store.objects.get(self.key)
        if content is None:
            self.refuse(404, "NoSuchKey", "The key does not exist.")
        elif self.headers.get("If-Match", self._tag) != self._tag:
            self.refuse(412, "PreconditionFailed", "It is another.")
        else:
            begin = self.range_begin()
            modified = formatdate(self.store.times[self.key], usegmt=True)
            self.head(206 if begin else 200, len(content) - begin, ETag=self._tag, Last_Modified=modified)
            if self.command == "GET":
                self.wfile.write(content[begin:])

    def _put(self) -> None:
        if self._exists_already():
            self.refuse(412, "PreconditionFailed", "It exists.")
        else:
            self.store.keep(self.key, self.body)
            self.head(200, 0, ETag=self._tag)

    def _delete(self, query: dict[str, str]) -> None:
        if "uploadId" in query:
            del self.store.uploads[query["uploadId"]]
        else:
            self.store.objects.pop(self.key, None)
        self.head(204, 0)

    def _begin(self) -> None:
        upload = f"upload-{next(self.store.numbers)}"
        self.store.uploads[upload] = (self.key, {})
        self._say("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")

    def _put_part(self, query: dict[str, str]) -> None:
        self.store.uploads[query["uploadId"]][1][int(query["partNumber"])] = self.body
        self.head(200, 0, ETag=f'"{_md5(self.body)}"')

    def _complete(self, upload: str) -> None:
        _, parts = self.store.uploads[upload]
        asked = [(part.findtext("PartNumber"), part.findtext("ETag")) for part in ElementTree.fromstring(self.body)]
        if [(str(number), f'"{_md5(content)}"') for number, content in sorted(parts.items())] != asked:
            self.refuse(400, "InvalidPart", "A part is another.")
        elif self._exists_already():
            self.refuse(412, "PreconditionFailed", "It exists.")
        else:
            digests = b"".join(hashlib.md5(content).digest() for _, content in sorted(parts.items()))
            self.store.keep(
                self.key, b"".join(content for _, content in sorted(parts.items())), f"{_md5(digests)}-{len(parts)}"
            )
            del self.store.uploads[upload]
            self._say("CompleteMultipartUploadResult", f"<ETag>{escape(self._tag)}</ETag>")

    def _list_parts(self, upload: str) -> None:
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{_md5(content)}</ETag><Size>{len(content)}</Size></Part>"
            for number, content in sorted(self.store.uploads[upload][1].items())
        )
        self._say("ListPartsResult", f"<IsTruncated>false</IsTruncated>{parts}")

    def _list_uploads(self, prefix: str) -> None:
        uploads = "".join(
            f"<Upload><Key>{self._named(key)}</Key><UploadId>{upload}</UploadId></Upload>"
            for upload, (key, _) in self.store.uploads.items()
            if key.startswith(f"{self.key}/{prefix}")
        )
        self._say("ListMultipartUploadsResult", f"<IsTruncated>false</IsTruncated>{uploads}")

    def _list(self, query: dict[str, str]) -> None:
        prefix = f"{self.key}/{query['prefix']}"
        after = query.get("continuation-token") or query.get("start-after") or ""
        folders, entries = set[str](), dict[str, str]()
        for key in sorted(self.store.objects):
            below = key.removeprefix(prefix)
            if not key.startswith(prefix) or self._named(key) <= after:
                continue
            if query["delimiter"] and query["delimiter"] in below:
                folders.add(self._named(prefix) + below.split(query["delimiter"])[0] + query["delimiter"])
            else:
                modified = f"{datetime.fromtimestamp(self.store.times[key], UTC):%Y-%m-%dT%H:%M:%S.000Z}"
                entries[self._named(key)] = (
                    f"<Contents><Key>{self._named(key)}</Key><LastModified>{modified}</LastModified>"
                    f"<ETag>{escape(self.store.tags[key])}</ETag><Size>{len(self.store.objects[key])}</Size></Contents>"
                )
        page = list(entries)[: int(query["max-keys"])]
        more = len(entries) > len(page)
        token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if more else ""
        common = "".join(f"<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>" for folder in sorted(folders))
        listed = "".join(entries[key] for key in page)
        self._say(
            "ListBucketResult",
            f"<Name>{self.key[1:]}</Name><IsTruncated>{str(more).lower()}</IsTruncated>{token}{listed}{common}",
        )

    @property
    def _tag(self) -> str:
        return f'"{self.store.tags.get(self.key, "")}"'

    def _exists_already(self) -> bool:
        return self.headers.get("If-None-Match") == "*" and self.key in self.store.objects

    def _named(self, key: str) -> str:
        """An object's key in its bucket."""
        return key.split("/", 2)[2]

    def _say(self, kind: str, content: str) -> None:
        text = f'<?xml version="1.0"?><{kind} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{content}</{kind}>'.encode()
        self.head(200, len(text), Content_Type="application/xml")
        self.wfile.write(text)


class ProxyHandler(S3Handler):
    """What a real S3 answers, which is asked on the client's behalf: the host that it signed stays."""

    backend: str

    def answer(self) -> None:
        """See `Handler.answer`."""
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        with closing(http.client.HTTPConnection(self.backend)) as connection:
            connection.request(self.command, self.path, self.body, headers)
            response = connection.getresponse()
            content = response.read()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        if response.getheader("Content-Length") is None and self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def s3_server(backend: str = "", tls: ssl.SSLContext | None = None) -> Iterator[S3Server]:
    """An S3 that serves as long as the block lasts.

    Args:
        backend: host:port of the real one that does what is asked; without it we do it ourselves.
        tls: The certificate to serve with; none: plain HTTP.
    """
    handler = type("Bound", (ProxyHandler,), {"backend": backend}) if backend else S3Handler
    with served(S3Server(), handler, tls) as store:
        yield store


def _md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()
