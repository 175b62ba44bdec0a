"""What an administrator does once: the bucket, and a user of it who may do just what cloudedge does."""

import json
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from minio import Minio, MinioAdmin
from minio.error import MinioAdminException, MinioException

from cloud.stores.conditions import require_once
from cloud.stores.s3 import S3Address, credentials_for, trusted_authorities
from cloudedge.errors import InvalidInput, StoreFailed

_FOLDERS = ("runs", "datasets", "reaper")


def policy(address: S3Address) -> dict[str, Any]:
    """What the pipeline's user needs, as S3 writes policies."""
    bucket = f"arn:aws:s3:::{address.bucket}"
    objects = [
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    ]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:ListBucketMultipartUploads"], "Resource": [bucket]},
            # MinIO's own, and not needed: with it the waiting step is told what changes, and lists seldom.
            {"Effect": "Allow", "Action": ["s3:ListenBucketNotification"], "Resource": [bucket]},
            {"Effect": "Allow", "Action": objects, "Resource": [f"{bucket}/{address.prefix}{name}/*" for name in _FOLDERS]},
        ],
    }


def prepare(address: S3Address, access_key: str, secret_key: str) -> bool:
    """Make the bucket if there is none, and in a MinIO the user if a key is given. Repeated, it changes nothing.

    Args:
        address: The bucket.
        access_key: Of the user to make; empty: none is made.
        secret_key: Of the user to make.

    Returns:
        Whether the bucket was made.

    Raises:
        InvalidInput: there are no credentials of an administrator, or the user's keys are too short for MinIO.
        StoreFailed: the store refuses, does not answer, or lets what is to be written once be overwritten.
    """
    if access_key and (len(access_key) < 3 or len(secret_key) < 8):
        raise InvalidInput("The user's access key needs 3 characters or more, the secret key 8 or more.")
    parts = urlsplit(address.origin)
    credentials = credentials_for(address)
    secure = parts.scheme == "https"
    patient = urllib3.Retry(total=8, backoff_factor=0.2, status_forcelist=[503], respect_retry_after_header=False)
    http = urllib3.PoolManager(
        retries=patient, timeout=urllib3.Timeout(connect=5, read=30), cert_reqs="CERT_REQUIRED", ca_certs=trusted_authorities()
    )
    try:
        client = Minio(parts.netloc, secure=secure, credentials=credentials, http_client=http)
        made = not client.bucket_exists(address.bucket)
        if made:
            client.make_bucket(address.bucket)
        require_once(client, address.bucket, address.prefix)
        if access_key:
            admin = MinioAdmin(endpoint=parts.netloc, credentials=credentials, secure=secure, http_client=http)
            _make_user(admin, address, access_key, secret_key)
    except (MinioException, MinioAdminException, urllib3.exceptions.HTTPError) as error:
        raise StoreFailed(f"{address} could not be prepared: {' '.join(str(error).split())[:500]}") from None
    return made


def _make_user(admin: MinioAdmin, address: S3Address, access_key: str, secret_key: str) -> None:
    name = f"cloudedge-{address.bucket}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "policy.json"
        file.write_text(json.dumps(policy(address)))
        admin.policy_add(name, policy_file=str(file))
    admin.user_add(access_key, secret_key)
    try:
        admin.attach_policy([name], user=access_key)
    except MinioAdminException as error:
        if "already" not in str(error):  # Attached before.
            raise
