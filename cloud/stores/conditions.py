"""Whether a store keeps what is to be written once: not every S3 knows `If-None-Match`, and some take no notice of it."""

from minio import Minio
from minio.error import InvalidResponseError, S3Error

from cloud.stores.minio_internals import execute, status_of
from cloudedge.errors import StoreFailed

_NAME = "reaper/once"
"""Written by whoever looks first; afterwards each look is one request that changes nothing."""

_NOT_IMPLEMENTED = 501


def require_once(client: Minio, bucket: str, prefix: str) -> None:
    """Find out whether what is written once stays.

    Args:
        client: The store.
        bucket: In which.
        prefix: Of all keys in it.

    Raises:
        StoreFailed: it does not.
        MinioException: the store answers otherwise.
    """
    fault = _fault(client, bucket, prefix)
    if fault:
        raise StoreFailed(
            f"The bucket {bucket} {fault} If-None-Match, so nothing in it can be written only once: two runs could take one "
            "id, and one result of an edge replace another. Use a MinIO, or another S3 that has conditional writes; a proxy "
            "before it must pass that header on."
        )


def _fault(client: Minio, bucket: str, prefix: str) -> str:
    for _ in range(2):
        try:
            execute(client, "PUT", bucket, prefix + _NAME, body=b"", headers={"If-None-Match": "*"})
        except (S3Error, InvalidResponseError) as error:
            code, status = (error.code, error.response.status) if isinstance(error, S3Error) else ("", status_of(error))
            if code == "PreconditionFailed":
                return ""
            if code == "NotImplemented" or status == _NOT_IMPLEMENTED:
                return "does not know"
            raise
    return "takes no notice of"
