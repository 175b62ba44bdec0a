"""What a real MinIO tells of itself, and that nothing depends on it."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cloud.stores import open_store
from cloud.stores.address import S3Address
from cloud.stores.prepare import policy
from cloudedge.store import Changes, Store
from tests.cluster.object_store import MinioServer, User
from tests.waiting import until


def opened(
    minio: MinioServer, monkeypatch: pytest.MonkeyPatch, folder: Path, user: User | None = None, bucket: str = ""
) -> Store:
    for name, value in (user or minio.root).environment.items():
        monkeypatch.setenv(name, value)
    address = f"{minio.url}/{bucket or minio.bucket()}/team"
    return open_store(address, for_edges="", scratch=folder, patience_seconds=60)


class Told:
    """All that was told."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self.versions: dict[str, str] = {}
        self.unknown = 0

    def listening(self) -> bool:
        """Whether everything since the last call was told."""
        found = self._changes()
        self.unknown += found is None
        self.versions.update(found or {})
        return found is not None


@contextmanager
def listening(store: Store, prefix: str) -> Iterator[Told]:
    with store.changes(prefix) as changes:
        told = Told(changes)
        until(told.listening)
        yield told


def test_each_new_content_is_told_with_its_version(minio: MinioServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = opened(minio, monkeypatch, tmp_path)
    with listening(store, "runs/a") as told:
        for number in range(3):
            store.put("runs/b/x", b"another's")
            store.put("runs/a/x/y.json", str(number).encode())
            until(lambda: told.listening() and told.versions.get("runs/a/x/y.json") == version(store, "runs/a/x/y.json"))
    assert set(told.versions) == {"runs/a/x/y.json"}


def version(store: Store, key: str) -> str:
    entry = store.stat(key)
    assert entry is not None
    return entry.version


def test_many_at_once_are_all_told(minio: MinioServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = opened(minio, monkeypatch, tmp_path)
    keys = {f"runs/a/{number}" for number in range(300)}
    with listening(store, "runs/a") as told:
        for key in keys:
            store.put(key, b"1")
        until(lambda: told.listening() and set(told.versions) == keys)


def test_a_store_that_was_away_asks_for_a_listing_and_tells_again(
    own_minio: MinioServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = opened(own_minio, monkeypatch, tmp_path)
    with listening(store, "runs/a") as told:
        own_minio.kill()
        own_minio.start()
        store.put("runs/a/while-nobody-listened", b"1")
        until(lambda: not told.listening())
        until(told.listening)
        store.put("runs/a/afterwards", b"1")
        until(lambda: told.listening() and "runs/a/afterwards" in told.versions)


def test_a_user_without_the_right_is_told_nothing_and_works_on(
    minio: MinioServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = minio.bucket()
    allowed = policy(S3Address.parse(f"{minio.url}/{bucket}/team"))
    allowed["Statement"] = [one for one in allowed["Statement"] if one["Action"] != ["s3:ListenBucketNotification"]]
    assert len(allowed["Statement"]) == 2
    store = opened(minio, monkeypatch, tmp_path, minio.user(allowed, tmp_path), bucket)
    with caplog.at_level(logging.INFO), store.changes("runs/a") as changes:
        until(lambda: "AccessDenied" in caplog.text)
        store.put("runs/a/b", b"1")
        assert changes() is None
        assert [entry.key for entry in store.list("runs/a")] == ["runs/a/b"]


class AnotherS3(BaseHTTPRequestHandler):
    """Takes the question for a listing, as an S3 does that cannot tell."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'<?xml version="1.0"?>\n<ListBucketResult><Name>bucket</Name></ListBucketResult>'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def test_an_s3_that_cannot_tell_is_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "12345678")
    with ThreadingHTTPServer(("127.0.0.1", 0), AnotherS3) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"http://127.0.0.1:{server.server_port}/bucket"
        store = open_store(address, for_edges="", scratch=tmp_path, patience_seconds=1)
        with caplog.at_level(logging.INFO), store.changes("runs/a") as changes:
            until(lambda: "does not tell what changes" in caplog.text)
            assert changes() is None
        server.shutdown()
