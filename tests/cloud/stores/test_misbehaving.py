"""The S3 store before one that misbehaves on purpose: what it says was done was done, whichever answers are lost."""

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.stores import open_store
from cloud.stores.prepare import prepare
from cloud.stores.s3 import S3Address
from cloudedge.errors import CloudedgeError, Conflict, NotFound, StoreFailed
from cloudedge.store import Store
from cloudedge.transport import Transport
from tests.cloudedge.store.conformance import Place, StoreConformance
from tests.cluster.object_store import MinioServer, User
from tests.http_store import (
    Fault,
    Handler,
    answers,
    cuts_the_answer,
    does_it_and_answers,
    fine,
    loses_the_answer,
    sends,
)
from tests.s3_server import S3Server, s3_server

PART = 5 * 1024 * 1024
"""Bytes of a part: the least that a real S3 takes."""


@pytest.fixture(autouse=True)
def _credentials_and_short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in User("user", "12345678").environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("cloud.patience._FIRST_PAUSE_SECONDS", 0.001)


def patch_parts(patched: pytest.MonkeyPatch, size: int) -> None:
    """Set how large a part is, in bytes."""
    for module in ("multipart", "s3"):
        patched.setattr(f"cloud.stores.{module}.PART_BYTES", size)


def opened(server: S3Server, folder: Path, bucket: str = "bucket") -> Store:
    return open_store(f"{server.url}/{bucket}/team", for_edges="", scratch=folder, patience_seconds=30)


def looked(server: S3Server, folder: Path) -> Store:
    """A store that has found out already that what is written once stays."""
    store = opened(server, folder)
    with contextlib.suppress(Conflict):
        store.put("reaper/once", b"", once=True)
    return store


class TestOurOwnS3(StoreConformance):
    """Without faults it is an S3 like any other."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Place]:
        with s3_server() as server:
            yield Place(opened(server, tmp_path), Transport())


FAULTS: Sequence[Fault] = (loses_the_answer, cuts_the_answer, does_it_and_answers(500), answers(503, "SlowDown"))


class TestAnS3ThatLosesAnswers(StoreConformance):
    """The suite again, where every fourth answer to the cloud is lost; edges try again by themselves, from their outbox."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Place]:
        def to_the_cloud(fault: Fault) -> Fault:
            return lambda request: "X-Amz-Signature" not in request.path and fault(request)

        with s3_server() as server:
            chance = random.Random(1)
            server.faults = [to_the_cloud(chance.choice([*[fine] * 12, *FAULTS])) for _ in range(5000)]
            yield Place(opened(server, tmp_path), Transport())


def everything(store: Store, small: Path, large: Path) -> list[object]:
    """Ask a store for all that it can do, again where it can be done only once; what it answered."""

    def copy() -> bytes:
        with store.local("runs/a/large") as path:
            return path.read_bytes()[-7:]

    asked: list[Callable[[], object]] = [
        lambda: store.put("runs/a/task", b"ours", once=True),
        lambda: store.put("runs/a/task", b"theirs", once=True),
        lambda: store.put("runs/a/state", b"1"),
        lambda: store.put_file("runs/a/small", small, once=True),
        lambda: store.put_file("runs/a/large", large, once=True),
        lambda: store.put_file("runs/b/large", large),
        lambda: store.get("runs/a/state", 10),
        lambda: store.get("runs/a/missing", 10),
        copy,
        lambda: [entry.key for entry in store.list("runs")],
        lambda: store.folders("runs"),
        lambda: store.delete("runs/b/large"),
        lambda: store.stat("runs/b/large"),
        lambda: (found := store.stat("runs/a/state")) and found.size,
    ]
    return [_answer(ask) for ask in asked]


def _answer(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except CloudedgeError as error:
        return type(error)


LOOKED = "/bucket/team/reaper/once"
"""What is left of the look whether the store keeps what is written once."""

KEYS = ["runs/a/large", "runs/a/small", "runs/a/state", "runs/a/task"]
ANSWERS = [
    None,
    Conflict,
    None,
    None,
    None,
    None,
    b"1",
    NotFound,
    b"the end",
    [*KEYS, "runs/b/large"],
    ("a", "b"),
    None,
    None,
    1,
]


def files(folder: Path, part: int) -> tuple[Path, Path]:
    """A small one, and one of three parts."""
    small, large = folder / "small", folder / "large-file"
    small.write_bytes(b"small")
    large.write_bytes(bytes(part) + b"\1" * part + b"the end")
    return small, large


def require_done(folder: Path, faults: Sequence[Fault]) -> int:
    """Ask for everything, and find all of it done; returns the number of requests that it took."""
    small, large = files(folder, 16)
    with pytest.MonkeyPatch.context() as patched, s3_server() as server:
        patch_parts(patched, 16)
        server.faults = list(faults)
        assert everything(opened(server, folder), small, large) == ANSWERS
        contents = [b"".join((bytes(16), b"\1" * 16, b"the end")), b"small", b"1", b"ours"]
        wanted = {f"/bucket/team/{key}": content for key, content in zip(KEYS, contents, strict=True)}
        assert server.objects == {**wanted, LOOKED: b""}
        assert server.uploads == {}
        return len(server.requests)


def test_whichever_answer_is_lost_the_store_and_what_is_told_are_the_same(tmp_path: Path) -> None:
    for number in range(require_done(tmp_path, [])):
        require_done(tmp_path, [*[fine] * number, loses_the_answer])


@settings(max_examples=20)
@given(faults=st.lists(st.sampled_from([fine, fine, *FAULTS]), max_size=50))
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


def large_file_in_small_parts(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    patch_parts(monkeypatch, 16)
    return files(folder, 16)[1]


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


# What is to be written once


def ignores_conditions(request: Handler) -> bool:
    """As some S3 do, and some proxies make of one."""
    del request.headers["If-None-Match"]
    return False


def of_conditions(fault: Fault) -> Fault:
    """A fault that meets only what is to be written once."""
    return lambda request: "If-None-Match" in request.headers and fault(request)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (ignores_conditions, "takes no notice of If-None-Match"),
        (answers(501, "NotImplemented"), "does not know If-None-Match"),
        (sends(b"<html>", 501, Content_Type="text/html"), "does not know If-None-Match"),
    ],
)
@pytest.mark.parametrize("lost", [0, 1])
def test_a_store_that_lets_what_is_written_once_be_overwritten_is_refused_before_anything_is(
    tmp_path: Path, fault: Fault, told: str, lost: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    asked: list[Callable[[S3Server], object]] = [
        lambda server: opened(server, tmp_path).put("runs/a", b"1", once=True),
        lambda server: opened(server, tmp_path).put_file("runs/a", path, once=True),
        lambda server: prepare(S3Address.parse(f"{server.url}/bucket/team"), "", ""),
    ]
    for ask in asked[: len(asked) - lost]:  # Who prepares a store has no patience with it.
        with s3_server() as server:
            server.faults = [*[loses_the_answer] * lost, *[of_conditions(fault)] * 9]
            with pytest.raises(StoreFailed, match=f"The bucket bucket {told}, so nothing in it can be written only once"):
                ask(server)
            assert set(server.objects) <= {LOOKED}


def test_it_is_looked_into_once(tmp_path: Path) -> None:
    with s3_server() as server:
        for _ in range(2):
            store = opened(server, tmp_path)
            for number in range(3):
                with contextlib.suppress(Conflict):
                    store.put(f"runs/{number}", b"1", once=True)
        assert [request.path for request in server.requests].count(LOOKED) == 3


# Success is not judged by the status


def completing(answer: Fault) -> Fault:
    """A fault of the completion of an upload alone."""
    return lambda request: request.command == "POST" and "uploadId" in request.path and answer(request)


ERROR = b"<?xml version='1.0'?>\n  <Error><Code>InternalError</Code><Message>We are sorry.</Message></Error>"


@pytest.mark.parametrize("body", [ERROR, b"", b"<?xml version='1.0'?>\n    ", ERROR.replace(b"InternalError", b"SlowDown")])
@pytest.mark.parametrize("done", [True, False])
def test_an_upload_that_is_answered_200_before_it_failed_is_completed_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: bytes, done: bool
) -> None:
    large = large_file_in_small_parts(monkeypatch, tmp_path)

    def answers_too_early(request: Handler) -> bool:
        if done:
            loses_the_answer(request)
        return sends(body, Content_Type="application/xml")(request)

    with s3_server() as server:
        store = looked(server, tmp_path)
        server.faults = [*[fine] * 6, completing(answers_too_early)]
        store.put_file("runs/a/large", large, once=True)
        assert server.faults == []
        assert server.objects == {LOOKED: b"", "/bucket/team/runs/a/large": large.read_bytes()}


def test_an_upload_that_is_answered_200_and_refused_is_not_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    large = large_file_in_small_parts(monkeypatch, tmp_path)
    with s3_server() as server:
        store = looked(server, tmp_path)
        server.faults = [*[fine] * 6, completing(sends(ERROR.replace(b"InternalError", b"AccessDenied")))]
        with pytest.raises(StoreFailed, match="AccessDenied: We are sorry. Give these credentials the right"):
            store.put_file("runs/a/large", large, once=True)


LOGIN = b"<html><title>Welcome</title><br>Please log in.</html>"


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.put("runs/a", b"1"),
        lambda store: store.get("runs/a", 1),
        lambda store: store.stat("runs/a"),
        lambda store: list(store.list("runs")),
        lambda store: store.folders("runs"),
        lambda store: store.local("runs/a").__enter__(),
    ],
)
def test_a_login_page_is_no_s3(tmp_path: Path, ask: Callable[[Store], object]) -> None:
    with s3_server() as server:
        server.faults = [sends(LOGIN, Content_Type="text/html")]
        with pytest.raises(StoreFailed, match="is no S3: it answers"):
            ask(opened(server, tmp_path))
