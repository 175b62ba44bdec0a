"""`cloudedge store` against a real MinIO: what it makes is enough for a pipeline, and no more."""

import json

import pytest
from minio.error import S3Error

from cloud.stores.minio_internals import execute
from tests.cluster.site import Site
from tests.waiting import until


def test_to_prepare_again_changes_nothing(site: Site) -> None:
    keys = ("--access-key", site.user.access_key, "--secret-key", site.user.secret_key)
    said = site.cli("store", "prepare", *keys, environment=site.minio.root.environment)
    bucket = site.address.rpartition("/")[2]
    assert said == f"The bucket {bucket} was there already.\nThe user {site.user.access_key} may use it.\n"
    site.store.put("runs/a/b", b"1")


def test_the_pipelines_user_reaches_its_folders_alone(site: Site) -> None:
    user, bucket = site.minio.client(site.user), site.address.rpartition("/")[2]
    for key in ("runs/a", "datasets/a/b", "weights/a", "reaper/clock", "automl/trace/a.json"):
        execute(user, "PUT", bucket, key, body=b"1")
        assert user.get_object(bucket, key).data == b"1"
    others = site.minio.bucket()
    for asked in (
        lambda: execute(user, "PUT", bucket, "elsewhere", body=b"1"),
        lambda: execute(user, "PUT", others, "runs/a", body=b"1"),
        lambda: list(user.list_objects(others)),
        lambda: user.make_bucket("another-bucket"),
        lambda: user.remove_bucket(bucket),
    ):
        with pytest.raises(S3Error, match="AccessDenied"):
            asked()


def test_the_pipelines_user_is_told_what_changes(site: Site) -> None:
    with site.store.changes("runs/a") as changes:
        until(lambda: changes() is not None, what="being told")


def test_the_policy_can_be_given_to_another_s3(site: Site) -> None:
    found = json.loads(site.cli("store", "policy", environment={"CLOUDEDGE_STORE": "https://s3.example/models/factory"}))
    resources = [resource for statement in found["Statement"] for resource in statement["Resource"]]
    assert resources[0] == "arn:aws:s3:::models"
    folders = {resource.removeprefix("arn:aws:s3:::models/factory/") for resource in resources[2:]}
    assert folders == {"runs/*", "datasets/*", "weights/*", "reaper/*", "automl/*"}


@pytest.mark.parametrize(
    ("environment", "arguments", "code", "told"),
    [
        ({"CLOUDEDGE_STORE": "file:///tmp/x"}, (), 2, "CLOUDEDGE_STORE is 'file:///tmp/x': set it to http"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, (), 5, "Correct AWS_SECRET_ACCESS_KEY"),
        ({}, ("--access-key", "ab", "--secret-key", "12345678"), 2, "needs 3 characters or more"),
    ],
)
def test_what_cannot_be_is_one_message(
    site: Site, environment: dict[str, str], arguments: tuple[str, ...], code: int, told: str
) -> None:
    said = site.cli("store", "prepare", *arguments, code=code, environment={**site.minio.root.environment, **environment})
    assert told in said
    assert "Traceback" not in said
