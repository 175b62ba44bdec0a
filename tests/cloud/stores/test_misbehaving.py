"""The S3 store before one that misbehaves on purpose: what it says was done was done, whichever answers are lost."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudedge.errors import Conflict, StoreFailed
from cloudedge.transport import Transport
from tests.cloud.stores.misbehaving import (
    ANSWERS,
    FAULTS,
    LOOKED,
    SLOW_SECONDS,
    everything,
    files,
    is_slow,
    large_file_in_small_parts,
    looked,
    now_and_then,
    opened,
    patch_parts,
    require_done,
)
from tests.cloud.stores.test_s3 import others_in
from tests.cloudedge.store.conformance import Place, StoreConformance
from tests.cluster.object_store import MinioServer
from tests.http_store import (
    Fault,
    Handler,
    answers,
    fine,
    loses_the_answer,
)
from tests.s3_server import S3Server, s3_server

pytestmark = pytest.mark.usefixtures("user_and_short_pauses")

PART = 5 * 1024 * 1024
"""Bytes of a part: the least that a real S3 takes."""


class TestOurOwnS3(StoreConformance):
    """Without faults it is an S3 like any other."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Place]:
        with s3_server() as server:
            yield Place(opened(server, tmp_path), Transport(), lambda name: server.keep(f"/bucket/team/{name}", b""))


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.stores.client._TIMEOUT", urllib3.Timeout(connect=5, read=SLOW_SECONDS))


@pytest.mark.usefixtures("_impatient")
class TestAnS3ThatMisbehavesNowAndThen(StoreConformance):
    """The suite again, with all that another try mends."""

    @pytest.fixture(params=[1, 2])
    def place(self, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
        with s3_server() as server:
            server.faults = now_and_then(request.param)
            yield Place(opened(server, tmp_path), Transport(), lambda name: server.keep(f"/bucket/team/{name}", b""))


class TestARealS3BehindAProxyThatMisbehavesNowAndThen(StoreConformance):
    """The suite again, before a MinIO, which takes its time."""

    @pytest.fixture
    def place(self, minio: MinioServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
        for name, value in minio.root.environment.items():
            monkeypatch.setenv(name, value)
        with s3_server(minio.endpoint) as server:
            server.faults = now_and_then(3, without="a slow answer")
            bucket = minio.bucket()
            yield Place(opened(server, tmp_path, bucket), Transport(), others_in(minio, f"{minio.url}/{bucket}", "team/"))


def test_whichever_answer_is_lost_the_store_and_what_is_told_are_the_same(tmp_path: Path) -> None:
    for number in range(require_done(tmp_path, [])):
        require_done(tmp_path, [*[fine] * number, loses_the_answer])


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.usefixtures("_impatient")
def test_each_fault_that_another_try_mends_is_mended(tmp_path: Path, name: str) -> None:
    chance = random.Random(4)
    require_done(tmp_path, [FAULTS[name] if chance.random() < 0.4 else fine for _ in range(500)])


@settings(max_examples=20)
@given(faults=st.lists(st.sampled_from([fine, fine, *(set(FAULTS.values()) - {is_slow})]), max_size=50))
def test_however_many_answers_are_lost_the_store_and_what_is_told_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, faults: list[Fault]
) -> None:
    require_done(tmp_path_factory.mktemp("store"), faults)


def test_whichever_answer_of_a_real_s3_is_lost_the_store_and_what_is_told_are_the_same(
    minio: MinioServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in minio.root.environment.items():
        monkeypatch.setenv(name, value)
    patch_parts(monkeypatch, PART)
    small, large = files(tmp_path, PART)
    with s3_server(minio.endpoint) as server:
        assert everything(opened(server, tmp_path, minio.bucket()), small, large) == ANSWERS
        changing = [number for number, request in enumerate(server.requests) if request.verb not in ("GET", "HEAD")]
    for number in changing:
        with s3_server(minio.endpoint) as server:
            server.faults = [*[fine] * number, loses_the_answer]
            assert everything(opened(server, tmp_path, minio.bucket()), small, large) == ANSWERS


# An upload in parts that others interfere with


def ends_the_upload(request: Handler) -> bool:
    """Somebody aborts the upload, or a rule of the bucket's does."""
    assert isinstance(request.store, S3Server)
    request.store.uploads.clear()
    return False


@pytest.mark.parametrize("once", [True, False])
def test_an_upload_that_others_end_is_begun_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, once: bool) -> None:
    large = large_file_in_small_parts(monkeypatch, tmp_path)
    with s3_server() as server:
        for number in range(2, 8):
            key = f"runs/a/large-{number}"
            store = looked(server, tmp_path)
            server.faults = [*[fine] * number, ends_the_upload]
            store.put_file(key, large, once=once)
            assert server.objects[f"/bucket/team/{key}"] == large.read_bytes()
            server.faults = []


def test_an_upload_that_others_end_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    large = large_file_in_small_parts(monkeypatch, tmp_path)
    with s3_server() as server:
        server.faults = [ends_the_upload] * 1000
        with pytest.raises(StoreFailed, match="upload of 'runs/a/large' .* was ended: NoSuchUpload. Somebody else writes it"):
            opened(server, tmp_path).put_file("runs/a/large", large)
        assert len(server.requests) < 50


def test_a_large_file_that_another_was_faster_with_leaves_no_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    large = large_file_in_small_parts(monkeypatch, tmp_path)

    def is_slower(request: Handler) -> bool:
        request.store.objects["/bucket/team/runs/a/large"] = b"another's"
        return False

    with s3_server() as server:
        store = looked(server, tmp_path)
        server.faults = [fine, is_slower]
        with pytest.raises(Conflict):
            store.put_file("runs/a/large", large, once=True)
        assert server.objects == {LOOKED: b"", "/bucket/team/runs/a/large": b"another's"}
        assert server.uploads == {}


def test_what_another_wrote_is_not_taken_for_ours_because_an_answer_was_lost(tmp_path: Path) -> None:
    with s3_server() as server:
        server.keep("/bucket/team/runs/a", b"theirs")
        store = looked(server, tmp_path)
        server.faults = [loses_the_answer]
        with pytest.raises(Conflict):
            store.put("runs/a", b"ours!!", once=True)


def test_what_we_wrote_is_known_again_where_the_store_makes_tags_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    large = large_file_in_small_parts(monkeypatch, tmp_path)
    monkeypatch.setattr(S3Server, "keep", _keep_with_another_tag)
    with s3_server() as server:
        store = looked(server, tmp_path)
        server.faults = [loses_the_answer]
        store.put("runs/a/small", b"1", once=True)
        server.faults = [*[fine] * 6, loses_the_answer]
        store.put_file("runs/a/large", large, once=True)
        assert server.faults == []


def _keep_with_another_tag(server: S3Server, key: str, content: bytes, tag: str = "") -> None:
    server.objects[key], server.tags[key], server.times[key] = content, "encrypted", 0.0


def test_what_a_run_has_left_of_unfinished_uploads_goes_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    large = large_file_in_small_parts(monkeypatch, tmp_path)
    with s3_server() as server:
        store = opened(server, tmp_path)
        for key in ("runs/a/large", "runs/ab/large"):
            server.faults = [*[fine] * 3, answers(403, "AccessDenied")]
            with pytest.raises(StoreFailed):
                store.put_file(key, large)
        server.keep("/bucket/team/runs/a/New folder/", b"a console's")
        server.faults = [fine, loses_the_answer, fine, loses_the_answer]
        assert store.delete_below("runs/a") == 1
        assert [key for key, _ in server.uploads.values()] == ["/bucket/team/runs/ab/large"]
        assert server.objects == {}
