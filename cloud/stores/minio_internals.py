"""What the minio client keeps to itself and this store cannot do without; nothing else here reaches behind its interface.

Its public functions write on no condition, go on with no upload that an earlier try began, and listen again without a word
about what they missed in between; its errors tell status and body only in a sentence.
"""

from collections.abc import Mapping

from minio import Minio
from minio.datatypes import ListPartsResult, Upload
from minio.error import InvalidResponseError, MinioAdminException
from minio.helpers import DictType
from urllib3.response import BaseHTTPResponse


def execute(
    client: Minio,
    method: str,
    bucket: str,
    name: str | None = None,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    whole: bool = True,
) -> BaseHTTPResponse:
    """Send one signed request.

    Args:
        client: Of the store.
        method: GET, PUT, POST or DELETE.
        bucket: In which.
        name: Of the object; none: what is asked concerns the bucket.
        body: What is sent.
        headers: Beside those that the client adds.
        query: By name.
        whole: Whether the answer is read to its end; else whoever reads it closes it.

    Raises:
        MinioException: the store refuses.
    """
    sent: DictType | None = None if headers is None else {**headers}  # The client adds to it, and the next try has its own.
    asked: DictType | None = None if query is None else {**query}
    return client._execute(
        method=method,
        bucket_name=bucket,
        object_name=name,
        body=body,
        headers=sent,
        query_params=asked,
        preload_content=whole,
    )


def unfinished_uploads(client: Minio, bucket: str, prefix: str) -> list[Upload]:
    """The uploads in parts that were begun below a prefix and neither completed nor aborted."""
    return client._list_multipart_uploads(bucket_name=bucket, prefix=prefix).uploads


def begin_upload(client: Minio, bucket: str, name: str) -> str:
    """Begin to send an object in parts; the upload's id."""
    return client._create_multipart_upload(bucket_name=bucket, object_name=name, headers={})


def sent_parts(client: Minio, bucket: str, name: str, upload: str, after: str | None) -> ListPartsResult:
    """A page of the parts that the store has of an upload.

    Args:
        client: Of the store.
        bucket: In which.
        name: Of the object.
        upload: Id of the upload.
        after: Where the page before it ended; none: it is the first.
    """
    return client._list_parts(bucket_name=bucket, object_name=name, upload_id=upload, part_number_marker=after)


def send_part(client: Minio, bucket: str, name: str, upload: str, number: int, content: bytes) -> str:
    """Send one part of an upload; the tag that the store gives it.

    Args:
        client: Of the store.
        bucket: In which.
        name: Of the object.
        upload: Id of the upload.
        number: Of the part, counted from 1.
        content: The part.
    """
    return client._upload_part(
        bucket_name=bucket, object_name=name, data=content, headers=None, upload_id=upload, part_number=number
    )


def abort_upload(client: Minio, bucket: str, name: str, upload: str) -> None:
    """Have the store forget an upload and its parts."""
    client._abort_multipart_upload(bucket_name=bucket, object_name=name, upload_id=upload)


def status_of(error: InvalidResponseError) -> int:
    """The status of an answer that is no XML."""
    return error._code


def content_type_of(error: InvalidResponseError) -> str | None:
    """The type of an answer that is no XML, if it says so."""
    return error._content_type


def body_of(error: InvalidResponseError) -> str | None:
    """What stands in an answer that is no XML, as far as the client kept it."""
    return error._body


def status_of_admin(error: MinioAdminException) -> str:
    """The status of an answer to an administrator's question that was refused."""
    return error._code


def body_of_admin(error: MinioAdminException) -> str:
    """What stands in an answer to an administrator's question that was refused."""
    return error._body
