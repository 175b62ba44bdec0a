"""What an administrator does once: the bucket, and a user of it who may do just what cloudedge does."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from minio import MinioAdmin
from minio.error import MinioAdminException, S3Error

from cloud.stores.address import S3Address
from cloud.stores.client import S3Client
from cloud.stores.conditions import require_once
from cloud.stores.minio_internals import body_of_admin, execute, status_of_admin
from cloudedge.errors import InvalidInput, StoreFailed

_FOLDERS = ("runs", "datasets", "weights", "reaper", "automl")
_SAID = re.compile(r'"Code":"([^"]*)","Message":"([^"]*)"')
"""What a MinIO says of an administrator's question that it refuses."""

_PATIENCE_SECONDS = 30.0
"""How long a store that does not answer is asked again, while a person waits; in seconds."""


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
        InvalidInput: there are no credentials of an administrator, the user's keys are too short for MinIO, or what the
            environment says of the way to the store cannot be used.
        StoreFailed: the store refuses, does not answer, or lets what is to be written once be overwritten.
    """
    if access_key and (len(access_key) < 3 or len(secret_key) < 8):
        raise InvalidInput("The user's access key needs 3 characters or more, the secret key 8 or more.")
    client = S3Client(address, patience_seconds=_PATIENCE_SECONDS)
    made = client.asked(address.bucket, lambda: _make_bucket(client))
    client.asked(address.bucket, lambda: require_once(client.minio, address.bucket, address.prefix))
    if access_key:
        parts = urlsplit(address.origin)
        admin = MinioAdmin(
            endpoint=parts.netloc,
            credentials=client.rights,
            region=client.region,
            secure=parts.scheme == "https",
            http_client=client.http,
        )
        try:
            client.asked(access_key, lambda: _make_user(admin, address, access_key, secret_key))
        except MinioAdminException as error:
            said = _SAID.search(body_of_admin(error))
            text = f"{said[1]}: {said[2]}" if said else f"it answers {status_of_admin(error)}."
            raise StoreFailed(
                f"{address} makes no user {access_key!r}: {text} Users are made in a MinIO, and "
                f"by an administrator: {client.rights.source.key} must be one's. Elsewhere, make one by hand who may "
                "do what cloudedge store policy prints."
            ) from None
    return made


def _make_bucket(client: S3Client) -> bool:
    """Make the bucket unless it is there; whether it was made."""
    bucket = client.address.bucket
    try:
        # HEAD would not say why not.
        query = {"list-type": "2", "delimiter": "", "max-keys": "1", "prefix": ""}
        execute(client.minio, "GET", bucket, query=query)
    except S3Error as error:
        if error.code == "AccessDenied":
            raise _no_administrator(client, "may not look into the bucket") from None
        if error.code != "NoSuchBucket":
            raise
    else:
        return False
    try:
        client.minio.make_bucket(bucket)
    except S3Error as error:
        if error.code == "AccessDenied":
            raise _no_administrator(client, "may not make the bucket, which is not there") from None
        if error.code != "BucketAlreadyOwnedByYou":  # By a try whose answer was lost.
            raise
    return True


def _no_administrator(client: S3Client, fault: str) -> StoreFailed:
    return StoreFailed(
        f"Whose credentials come from {client.rights.source.key} {fault}: {client.address}. Set those of an administrator in "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or have one make the bucket."
    )


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
