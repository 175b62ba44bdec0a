"""The S3 store against a real MinIO: what every store does, and what only a server on a network can do wrong."""

import logging
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from minio import Minio
from minio.commonconfig import ENABLED
from minio.credentials.credentials import Credentials
from minio.versioningconfig import VersioningConfig

from cloud import datasets
from cloud.faults import Faults
from cloud.runs.deletion import delete, untouched
from cloud.runs.run import Run, run_ids
from cloud.stores import open_store
from cloud.stores.address import S3Address
from cloud.stores.minio_internals import begin_upload, execute, send_part, unfinished_uploads
from cloud.stores.multipart import PART_BYTES
from cloud.stores.signing import presigned
from cloudedge.documents import TrainingTask, UploadTarget
from cloudedge.errors import Conflict, InvalidInput, NotFound, StoreFailed
from cloudedge.store import Store
from cloudedge.transport import Transport
from tests.cloud.runs.builders import DATA, Cloud
from tests.cloudedge.store.conformance import Place, StoreConformance
from tests.cluster.object_store import MinioServer, User
from tests.cluster.processes import free_port
from tests.waiting import until

T = TypeVar("T")


@pytest.fixture
def credentials(minio: MinioServer, monkeypatch: pytest.MonkeyPatch) -> User:
    for name, value in minio.root.environment.items():
        monkeypatch.setenv(name, value)
    return minio.root


@pytest.fixture
def address(minio: MinioServer, credentials: User) -> str:
    return f"{minio.url}/{minio.bucket()}"


@pytest.fixture
def store(address: str, tmp_path: Path) -> Store:
    return opened(address, tmp_path)


def opened(address: str, tmp_path: Path, patience: float = 30, for_edges: str = "") -> Store:
    return open_store(address, for_edges=for_edges, scratch=tmp_path / "scratch", patience_seconds=patience)


def others_in(minio: MinioServer, address: str, prefix: str = "") -> Callable[[str], object]:
    """Puts something into the bucket as any other program may."""
    client, bucket = minio.client(), address.rpartition("/")[2]
    return lambda name: execute(client, "PUT", bucket, f"{prefix}{name}", body=b"")


class TestS3Store(StoreConformance):
    """The suite that every store passes, in a bucket of its own."""

    @pytest.fixture
    def place(self, address: str, minio: MinioServer, tmp_path: Path) -> Place:
        return Place(opened(address, tmp_path), Transport(), others_in(minio, address))


class TestS3StoreBelowAPrefix(StoreConformance):
    """The suite again, in a bucket that others use too."""

    @pytest.fixture
    def place(self, address: str, minio: MinioServer, tmp_path: Path) -> Place:
        client, bucket = minio.client(), address.rpartition("/")[2]
        for name in ("runs/others/object", "team/a", "team-b/runs/x/y"):
            execute(client, "PUT", bucket, name, body=b"somebody else's")
        return Place(opened(f"{address}/team", tmp_path), Transport(), others_in(minio, address, "team/"))


class TestS3StoreInABucketThatKeepsVersions(StoreConformance):
    """The suite again, where nothing that was ever written is lost."""

    former_folders_are_named = True

    @pytest.fixture
    def place(self, address: str, minio: MinioServer, tmp_path: Path) -> Place:
        minio.client().set_bucket_versioning(address.rpartition("/")[2], VersioningConfig(ENABLED))
        return Place(opened(address, tmp_path), Transport(), others_in(minio, address))


def test_what_was_deleted_is_gone_where_the_bucket_keeps_versions(
    store: Store, address: str, minio: MinioServer, tmp_path: Path
) -> None:
    minio.client().set_bucket_versioning(address.rpartition("/")[2], VersioningConfig(ENABLED))
    (tmp_path / "1.csv").write_text("1")
    list(datasets.put(store, "line-3", tmp_path / "1.csv"))
    cloud = Cloud(tmp_path)
    Run(store, "run").create(TrainingTask(name="run", id="run", data=DATA))
    assert datasets.delete(store, "line-3") == 1
    delete(store, cloud.inboxes, "run", "tester", Faults())
    assert datasets.names(store) == ()
    assert list(run_ids(store)) == untouched(store, 0, Faults()) == []


# Many and large objects


def test_a_listing_of_many_objects_is_whole(store: Store) -> None:
    keys = [f"runs/a/{number:05d}" for number in range(2001)]
    for key in keys:
        store.put(key, b"")
    assert [entry.key for entry in store.list("runs")] == keys
    assert [entry.key for entry in store.list("runs/a")] == keys


def test_a_large_file_goes_in_parts_and_shows_how_far_it_is(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = large_file(tmp_path)
    with caplog.at_level(logging.INFO):
        store.put_file("runs/a/model", path)
    assert [record.getMessage() for record in caplog.records] == [
        "runs/a/model: 64 of 128 MiB sent",
        "runs/a/model: 128 of 128 MiB sent",
        "runs/a/model: 128 of 128 MiB sent",
    ]
    with store.local("runs/a/model") as copy:
        assert copy.read_bytes() == path.read_bytes()
    with pytest.raises(Conflict):
        store.put_file("runs/a/model", path, once=True)


def test_parts_that_an_earlier_try_sent_are_not_sent_again(
    store: Store, address: str, minio: MinioServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = large_file(tmp_path)
    client, bucket = minio.client(), address.rpartition("/")[2]
    upload = begin_upload(client, bucket, "runs/a/model")
    with path.open("rb") as file:
        send_part(client, bucket, "runs/a/model", upload, 1, file.read(PART_BYTES))
    send_part(client, bucket, "runs/a/model", upload, 2, b"of another file" * 1_000_000)
    with caplog.at_level(logging.INFO):
        store.put_file("runs/a/model", path, once=True)
    assert len(caplog.records) == 2
    with store.local("runs/a/model") as copy:
        assert copy.read_bytes() == path.read_bytes()
    assert unfinished_uploads(client, bucket, "runs") == []


def test_what_was_downloaded_is_removed(store: Store, tmp_path: Path) -> None:
    store.put("runs/a/model", b"1")
    with store.local("runs/a/model") as path:
        assert path.name == "model"
    assert list((tmp_path / "scratch").iterdir()) == []


def large_file(folder: Path) -> Path:
    path = folder / "large"
    with path.open("wb") as file:
        for number in range(2):
            file.write(bytes([number]) * PART_BYTES)
        file.write(b"the end")
    return path


# A store that goes away


def test_a_store_that_is_started_again_was_never_gone(
    own_minio: MinioServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in own_minio.root.environment.items():
        monkeypatch.setenv(name, value)
    store = opened(f"{own_minio.url}/{own_minio.bucket()}", tmp_path)
    store.put("runs/a/before", b"1")
    own_minio.kill()
    with ThreadPoolExecutor() as others:
        written = others.submit(store.put, "runs/a/during", b"2", once=True)
        listed = others.submit(lambda: [entry.key for entry in store.list("runs")])
        read = others.submit(store.get, "runs/a/before", 1)
        own_minio.start()
        written.result()
    assert read.result() == b"1"
    assert listed.result()[0] == "runs/a/before"
    assert store.get("runs/a/during", 1) == b"2"


class StartingMinio(BaseHTTPRequestHandler):
    """Refuses all but the last question: first a proxy, then each part that has not started yet, with a code of its own."""

    left: list[tuple[int, str]]

    def do_GET(self) -> None:
        status, code = self.left.pop(0)
        body = f"<Error><Code>{code}</Code><Message>please try again</Message></Error>" if code else "1"
        self.send_response(status)
        kind = "application/xml" if code else "text/html"
        for name, value in (("Content-Length", str(len(body))), ("Content-Type", kind), ("ETag", '"1"')):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def test_a_minio_that_is_starting_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in User("user", "12345678").environment.items():
        monkeypatch.setenv(name, value)
    parts = [(503, f"XMinio{part}NotInitialized") for part in ("Server", "IAM", "BucketMetadata")]
    monkeypatch.setattr(StartingMinio, "left", [(429, ""), (502, ""), *parts, (200, "")], raising=False)
    with HTTPServer(("127.0.0.1", 0), StartingMinio) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            assert opened(f"http://127.0.0.1:{server.server_port}/bucket", tmp_path).get("runs/a", 1) == b"1"
        finally:
            server.shutdown()


def test_a_store_that_stays_away_is_named(minio: MinioServer, credentials: User, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}/bucket"
    with pytest.raises(StoreFailed, match=re.escape(f"{address} does not answer")):
        opened(address, tmp_path, patience=0.5).put("runs/a", b"1")


# What is set up wrongly


def test_an_address_is_said_to_be_none(tmp_path: Path, credentials: User) -> None:
    for wrong in (
        "s3://bucket",
        "http://host",
        "http:///bucket",
        "https://user@host/bucket",
        "http://host/bucket?x=1",
        "bucket",
    ):
        with pytest.raises(InvalidInput, match=re.escape(repr(wrong))):
            opened(wrong, tmp_path)
    with pytest.raises(InvalidInput, match="no address of an S3"):
        opened("http://host/bucket", tmp_path, for_edges="ftp://host")
    assert str(S3Address.parse("https://host:9000/bucket/a/b/")) == "https://host:9000/bucket/a/b"


def test_missing_credentials_are_named(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InvalidInput, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        opened(address, tmp_path)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "SignatureDoesNotMatch.*Correct AWS_SECRET_ACCESS_KEY"),
        ("AWS_ACCESS_KEY_ID", "nobody", "InvalidAccessKeyId.*Correct AWS_ACCESS_KEY_ID"),
    ],
)
def test_wrong_credentials_are_named_at_once(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(StoreFailed, match=told):
        opened(address, tmp_path, patience=600).put("runs/a", b"1")


def test_a_missing_bucket_is_named_at_once(minio: MinioServer, credentials: User, tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="refuses 'runs/a': NoSuchBucket.*Make the bucket"):
        opened(f"{minio.url}/missing", tmp_path, patience=600).put("runs/a", b"1")


def test_what_may_not_be_written_is_named_at_once(
    minio: MinioServer, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = address.rpartition("/")[2]
    reading = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{bucket}/*"]}
    reader = minio.user({"Version": "2012-10-17", "Statement": [reading]}, tmp_path)
    for name, value in reader.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreFailed, match="AccessDenied.*Give these credentials the right to it"):
        opened(address, tmp_path, patience=600).put("runs/a", b"1")


# Presigned URLs: what a thief can do with one

http = urllib3.PoolManager(retries=False)


def status(method: str, url: str, body: bytes | None = None, **headers: str) -> int:
    return http.request(
        method, url, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
    ).status


def answered(ask: Callable[[], T]) -> T:
    """What the server answers: MinIO refuses a PUT before it has read it, and closes; the client may see the close alone."""
    answers: list[T] = []

    def asked() -> bool:
        with suppress(urllib3.exceptions.ProtocolError, StoreFailed):
            answers.append(ask())
        return bool(answers)

    until(asked, what="an answer before the connection's end")
    return answers[0]


def given_up(target: UploadTarget, content: bytes) -> bool:
    """Whether an edge that wants to put this is refused for good."""
    try:
        Transport().put(target, content)
    except InvalidInput:
        return True
    return False


def test_a_stolen_url_is_good_for_one_verb_on_one_object(store: Store) -> None:
    store.put("runs/a/base", b"base")
    store.put("runs/b/base", b"another run's")
    get = store.download("runs/a/base", "0" * 64, 4, 60).url
    put = store.upload("runs/a/report", max_bytes=100, once=False, expires_seconds=60).url
    assert status("GET", get) == 200
    assert status("PUT", put, b"a report") == 200
    for verb in ("PUT", "DELETE", "HEAD"):
        assert status(verb, get, b"x" if verb == "PUT" else None) == 403
    for verb in ("GET", "DELETE"):
        assert status(verb, put) == 403
    assert status("GET", get.replace("/runs/a/", "/runs/b/")) == 403
    assert status("PUT", put.replace("/report", "/manifest"), b"x") == 403
    assert status("GET", get.replace("Expires=60", "Expires=6000")) == 403
    assert status("GET", get[:-1] + ("0" if get[-1] != "0" else "1")) == 403
    assert status("GET", get.partition("?")[0]) == 403
    assert [entry.key for entry in store.list("runs")] == ["runs/a/base", "runs/a/report", "runs/b/base"]
    assert store.get("runs/a/base", 10) == b"base"


def test_a_result_cannot_be_replaced_by_whoever_has_its_url(store: Store) -> None:
    target = store.upload("runs/a/result", max_bytes=100, once=True, expires_seconds=60)
    Transport().put(target, b"the edge's")
    assert answered(lambda: status("PUT", target.url, b"a thief's", If_None_Match="*")) == 412
    assert answered(lambda: status("PUT", target.url, b"a thief's")) in (400, 403)
    assert answered(lambda: given_up(UploadTarget(url=target.url, max_bytes=100, once=False), b"a thief's"))
    assert store.get("runs/a/result", 100) == b"the edge's"


def test_a_url_ends(store: Store, tmp_path: Path) -> None:
    store.put("runs/a/base", b"1")
    url = store.download("runs/a/base", "0" * 64, 1, 1).url
    until(lambda: status("GET", url) == 403)


def test_a_url_lives_as_long_as_an_s3_lets_it(store: Store) -> None:
    week = 7 * 24 * 3600
    assert store.longest_url_seconds == week
    for asked, lives in ((60, 60), (week, week), (week + 1, week)):
        url = store.upload("runs/a/report", max_bytes=100, once=False, expires_seconds=asked).url
        assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == [str(lives)]
        assert status("PUT", url, b"1") == 200


def test_edges_may_reach_the_store_by_another_name(minio: MinioServer, address: str, tmp_path: Path) -> None:
    store = opened(address, tmp_path, for_edges=minio.url.replace("127.0.0.1", "localhost"))
    store.put("runs/a/base", b"1")
    url = store.download("runs/a/base", "0" * 64, 1, 60).url
    assert url.startswith("http://localhost:")
    assert status("GET", url) == 200
    assert status("GET", url.replace("localhost", "127.0.0.1")) == 403


@given(
    key=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,40}", fullmatch=True),
    secret=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=8),
    at=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
    seconds=st.integers(1, 604800),
)
def test_with_nothing_more_to_bind_we_sign_as_the_client_does(key: str, secret: str, at: datetime, seconds: int) -> None:
    client = Minio("host:9000", "user", secret, secure=True, region="eu-1")
    if "//" in key or any(part in (".", "..") for part in key.split("/")):
        return
    theirs = client.get_presigned_url("PUT", "bucket", key, timedelta(seconds=seconds), request_date=at)
    ours = presigned("PUT", theirs.partition("?")[0], Credentials("user", secret), "eu-1", at, seconds, {})
    assert parse_qs(urlsplit(ours).query) == parse_qs(urlsplit(theirs).query)


def test_what_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="There is no object 'runs/a' in http"):
        store.get("runs/a", 1)
