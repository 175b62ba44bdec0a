"""A large file sent in parts: after a crash, only the parts that the store does not have are sent."""

import hashlib
from pathlib import Path
from xml.etree import ElementTree

import urllib3
from minio import Minio
from minio.datatypes import CompleteMultipartUploadResult
from minio.error import InvalidResponseError, S3Error

from cloud.stores.minio_internals import abort_upload, begin_upload, execute, send_part, sent_parts, unfinished_uploads
from cloudedge.files import disk_errors

PART_BYTES = 64 * 1024 * 1024
"""S3 takes parts of 5 MiB and more, and at most 10,000 of them: 610 GiB."""


class Parts:
    """One file on its way into one object.

    The minio client sends parts too, but neither finds those of an earlier try nor completes on a condition.
    """

    def __init__(self, client: Minio, bucket: str, name: str, path: Path) -> None:
        """Ask the store for nothing yet."""
        self._client, self._bucket, self._name, self._path = client, bucket, name, path
        self._upload = ""
        self._sent: dict[int, str] = {}
        self._count = -(-path.stat().st_size // PART_BYTES)

    def find(self) -> None:
        """Take up what an earlier try left, or begin."""
        left = unfinished_uploads(self._client, self._bucket, self._name)
        ours = [upload.upload_id for upload in left if upload.object_name == self._name]
        self._sent = {}
        if not ours:
            self._upload = begin_upload(self._client, self._bucket, self._name)
            return
        self._upload = ours[-1] or ""
        marker: str | None = None
        while True:
            page = sent_parts(self._client, self._bucket, self._name, self._upload, marker)
            for part in page.parts:
                if part.part_number <= self._count and part.etag == self._etag(part.part_number):
                    self._sent[part.part_number] = part.etag
            # A store that begins again and again has the rest sent again.
            if not page.is_truncated or marker == str(page.next_part_number_marker):
                return
            marker = str(page.next_part_number_marker)

    def missing(self) -> list[int]:
        """Numbers of the parts that the store does not have."""
        return [number for number in range(1, self._count + 1) if number not in self._sent]

    def send(self, number: int) -> None:
        """Send one part."""
        content = self._read(number)
        self._sent[number] = send_part(self._client, self._bucket, self._name, self._upload, number, content)

    def tag(self) -> str:
        """The object's, once it is made of the parts; a store that encrypts may give it another."""
        digests = b"".join(bytes.fromhex(self._etag(number)) for number in range(1, self._count + 1))
        return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{self._count}"

    def abort(self) -> None:
        """Have the store forget the parts."""
        abort_upload(self._client, self._bucket, self._name, self._upload)

    def complete(self, *, once: bool) -> None:
        """Make an object of the parts, if `once` only where there is none.

        Raises:
            S3Error: the store did not make it, whatever the status of its answer.
            ProtocolError: its answer does not say so.
            InvalidResponseError: what answers is no S3.
        """
        root = ElementTree.Element("CompleteMultipartUpload")
        for number, etag in sorted(self._sent.items()):
            part = ElementTree.SubElement(root, "Part")
            ElementTree.SubElement(part, "PartNumber").text = str(number)
            ElementTree.SubElement(part, "ETag").text = f'"{etag}"'
        answer = execute(
            self._client,
            "POST",
            self._bucket,
            self._name,
            body=ElementTree.tostring(root),
            headers={"Content-Type": "application/xml", **({"If-None-Match": "*"} if once else {})},
            query={"uploadId": self._upload},
        )
        if "html" in answer.headers.get("content-type", ""):
            raise InvalidResponseError(answer.status, answer.headers["content-type"], None)
        # A store may answer 200 when it begins to work, and say in its answer's body that it failed.
        try:
            said, made = S3Error.fromxml(answer), CompleteMultipartUploadResult(answer).etag
        except ElementTree.ParseError:
            raise urllib3.exceptions.ProtocolError("its answer about an upload is cut off, or no S3's") from None
        if said.code:
            raise said
        if not made:
            raise urllib3.exceptions.ProtocolError("its answer about an upload does not say what came of it")

    def _etag(self, number: int) -> str:
        """As S3 makes it; where it encrypts, it makes another, and the part is sent again."""
        return hashlib.md5(self._read(number), usedforsecurity=False).hexdigest()

    def _read(self, number: int) -> bytes:
        with disk_errors(self._path), self._path.open("rb") as file:
            file.seek((number - 1) * PART_BYTES)
            return file.read(PART_BYTES)
