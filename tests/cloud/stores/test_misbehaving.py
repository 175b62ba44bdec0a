"""The S3 store before one that misbehaves on purpose: what it says was done was done, whichever answers are lost."""

import contextlib
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.stores import open_store
from cloud.stores.address import S3Address
from cloud.stores.prepare import prepare
from cloudedge.errors import CloudedgeError, Conflict, NotFound, StoreFailed
from cloudedge.store import Store
from cloudedge.transport import Transport
from tests.cloud.stores.test_s3 import others_in
from tests.cloudedge.store.conformance import Place, StoreConformance
from tests.cluster.object_store import MinioServer, User
from tests.http_store import (
    Fault,
    Handler,
    answers,
    cuts_the_answer,
    does_it_and_answers,
    done_in_silence,
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
            yield Place(opened(server, tmp_path), Transport(), lambda name: server.keep(f"/bucket/team/{name}", b""))


def duplicates_keys(request: Handler) -> bool:
    """A listing that tells each of its objects twice."""
    if "list-type" not in request.path:
        return False
    head, end, body = done_in_silence(request).partition(b"\r\n\r\n")
    body = re.sub(rb"(<Contents>.*?</Contents>)", rb"\1\1", body)
    request.wfile.write(re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head) + end + body)
    return True


def is_slow(request: Handler) -> bool:
    """What is asked is done, but nobody waits so long for the answer."""
    done_in_silence(request)
    request.store.stopped.wait(5 * SLOW_SECONDS)
    request.close_connection = True
    return True


SLOW_SECONDS = 0.1
"""So long an answer is waited for, where there are slow ones."""

FAULTS: dict[str, Fault] = {
    "a lost answer": loses_the_answer,
    "a cut answer": cuts_the_answer,
    "an error after it was done": does_it_and_answers(500),
    "a store that is busy": answers(503, "SlowDown"),
    "a condition that meets another": answers(409, "ConditionalRequestConflict"),
    "an error of a proxy": sends(b"<html>Bad gateway</html>", 502, Content_Type="text/html"),
    "objects that are listed twice": duplicates_keys,
    "a slow answer": is_slow,
}
"""What another try mends."""


def to_the_cloud(fault: Fault) -> Fault:
    """A fault that meets no edge: they try again by themselves, from their outbox."""
    return lambda request: "X-Amz-Signature" not in request.path and fault(request)


def now_and_then(seed: int, without: str = "") -> list[Fault]:
    """Every fourth answer to the cloud is one of the faults."""
    chance = random.Random(seed)
    faults = [fault for name, fault in FAULTS.items() if name != without]
    return [to_the_cloud(chance.choice(faults) if chance.random() < 0.25 else fine) for _ in range(5000)]


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


def all_that_can_be_asked(store: Store, small: Path, large: Path) -> list[Callable[[], object]]:
    """All that a store can do, again where it can be done only once."""

    def copy() -> bytes:
        with store.local("runs/a/large") as path:
            return path.read_bytes()[-7:]

    return [
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


def everything(store: Store, small: Path, large: Path) -> list[object]:
    """Ask a store for all that it can do; what it answered."""
    return [_answer(ask) for ask in all_that_can_be_asked(store, small, large)]


def _answer(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except CloudedgeError as error:
        return type(error)


LOOKED = "/bucket/team/reaper/once"
"""What is left of the look whether the store keeps what is written once."""

CONTENTS = [b"".join((bytes(16), b"\1" * 16, b"the end")), b"small", b"1", b"ours"]
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
        wanted = {f"/bucket/team/{key}": content for key, content in zip(KEYS, CONTENTS, strict=True)}
        assert server.objects == {**wanted, LOOKED: b""}
        assert server.uploads == {}
        return len(server.requests)


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


LOGIN_AS_XML = b"<html xmlns='http://www.w3.org/1999/xhtml'><title>Welcome</title><p>Please log in.</p></html>"
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
        lambda store: store.delete("runs/a"),
    ],
)
@pytest.mark.parametrize("page", [LOGIN, LOGIN_AS_XML, b"\xff\xfe no UTF-8"])
def test_a_login_page_is_no_s3(tmp_path: Path, ask: Callable[[Store], object], page: bytes) -> None:
    with s3_server() as server:
        server.faults = [sends(page, Content_Type="text/html")]
        with pytest.raises(StoreFailed, match="is no S3: it answers"):
            ask(opened(server, tmp_path))


# Listings


def listing(names: Sequence[str], more: bool = False, token: str = "", below: str = "team/runs/") -> Fault:
    """A page of our own."""
    entries = "".join(
        f"<Contents><Key>{below}{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>1</ETag>"
        "<Size>1</Size></Contents>"
        for name in names
    )
    place = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    head = f"<Name>bucket</Name><IsTruncated>{str(more).lower()}</IsTruncated>{place}"
    return sends(f"<ListBucketResult>{head}{entries}</ListBucketResult>".encode(), Content_Type="application/xml")


@pytest.mark.parametrize(
    ("pages", "names"),
    [
        ([listing("ab", True, "1"), listing("cd")], "abcd"),
        ([listing("ab", True), listing("cd")], "abcd"),
        ([listing("ab", True, "1"), listing("bcc")], "abc"),  # Some are told twice.
        ([listing("", True, "1"), listing("", True, "2"), listing("a")], "a"),  # A store that looks for a while.
        ([listing("ab", True, "1"), listing("", False)], "ab"),
    ],
)
def test_a_listing_has_each_object_once(tmp_path: Path, pages: list[Fault], names: str) -> None:
    with s3_server() as server:
        server.faults = pages
        assert [entry.key for entry in opened(server, tmp_path).list("runs")] == [f"runs/{name}" for name in names]


@pytest.mark.parametrize(
    "page",
    [
        lambda _: listing("ab", True, "the same"),
        lambda _: listing("ab", True),
        lambda number: listing("ab", True, str(number)),
        lambda number: listing("", True, str(number)),
    ],
)
def test_a_listing_that_goes_on_for_ever_is_given_up(tmp_path: Path, page: Callable[[int], Fault]) -> None:
    with s3_server() as server:
        server.faults = [page(number) for number in range(1000)]
        store = opened(server, tmp_path)
        for ask in (lambda: list(store.list("runs")), lambda: store.folders("runs"), lambda: store.delete_below("runs")):
            with pytest.raises(StoreFailed, match="lists the same objects again and again"):
                ask()
        assert len(server.requests) < 400


def test_a_listing_out_of_order_is_given_up(tmp_path: Path) -> None:
    with s3_server() as server:
        server.faults = [listing("cd", True, "1"), listing("ab")]
        with pytest.raises(StoreFailed, match="lists its objects out of order"):
            list(opened(server, tmp_path).list("runs"))


def test_a_store_that_knows_no_prefixes_deletes_nothing_of_others(tmp_path: Path) -> None:
    with s3_server() as server:
        server.keep("/bucket/team/theirs", b"1")
        server.faults = [listing(["theirs"], below="team/")]
        with pytest.raises(StoreFailed, match="lists more than what is below 'team/runs/'"):
            opened(server, tmp_path).delete_below("runs")
        assert "/bucket/team/theirs" in server.objects


def test_parts_that_are_listed_for_ever_are_sent_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    large = large_file_in_small_parts(monkeypatch, tmp_path)
    parts = (
        b"<ListPartsResult><IsTruncated>true</IsTruncated><NextPartNumberMarker>1</NextPartNumberMarker>"
        b"<Part><PartNumber>1</PartNumber><ETag>other</ETag><Size>16</Size></Part></ListPartsResult>"
    )
    with s3_server() as server:
        store = looked(server, tmp_path)
        server.faults = [*[fine] * 3, answers(403, "AccessDenied")]
        with pytest.raises(StoreFailed):
            store.put_file("runs/a/large", large)
        server.faults = [fine, *[sends(parts, Content_Type="application/xml")] * 2]
        store.put_file("runs/a/large", large)
        assert server.objects["/bucket/team/runs/a/large"] == large.read_bytes()


# What is fetched


def ignores_ranges(request: Handler) -> bool:
    """The whole object, whatever part of it is asked for."""
    del request.headers["Range"]
    return False


def is_overwritten(request: Handler) -> bool:
    """Somebody writes it anew, and the store takes no notice of what is asked to be the same."""
    assert isinstance(request.store, S3Server)
    request.store.keep(request.key, b"another")
    del request.headers["If-Match"]
    return False


def test_what_is_fetched_from_a_store_without_ranges_is_whole(tmp_path: Path) -> None:
    with s3_server() as server:
        server.keep("/bucket/team/runs/a", bytes(range(256)) * 100)
        server.faults = [cuts_the_answer, ignores_ranges]
        with opened(server, tmp_path).local("runs/a") as path:
            assert path.read_bytes() == bytes(range(256)) * 100


def test_what_is_fetched_is_of_one_version(tmp_path: Path) -> None:
    with s3_server() as server:
        server.keep("/bucket/team/runs/a", bytes(range(256)) * 100)
        server.faults = [cuts_the_answer, is_overwritten]
        with pytest.raises(StoreFailed, match="written anew while it was read"), opened(server, tmp_path).local("runs/a"):
            pass


# What no other try mends


def ignores_places(request: Handler) -> bool:
    """A listing that begins anew at each page."""
    if "list-type" not in request.path:
        return False
    return listing("ab", True, "the same")(request)


CERTAIN: dict[str, Fault] = {
    "a login page": sends(LOGIN, Content_Type="text/html"),
    "a login page in XHTML": sends(LOGIN_AS_XML, Content_Type="application/xhtml+xml"),
    "a page that is not there": sends(LOGIN, 404, Content_Type="text/html"),
    "another address": sends(b"", 301, Content_Type="text/html", Location="https://store.example"),
    "a port of TLS": sends(b"Client sent an HTTP request to an HTTPS server.", 400, Content_Type="text/plain"),
    "ignored conditions": ignores_conditions,
    "unknown conditions": of_conditions(answers(501, "NotImplemented")),
    "an endless listing": ignores_places,
    "a missing bucket": answers(404, "NoSuchBucket"),
    "a token that has ended": answers(400, "ExpiredToken"),
    "no rights": answers(403, "AccessDenied"),
    "a full store": lambda request: request.command == "PUT" and answers(507, "XMinioStorageFull")(request),
    "an answer that is no XML": sends(b"\xff\xfe", Content_Type="application/xml"),
}
"""What no other try mends."""


@pytest.mark.parametrize("name", CERTAIN)
@settings(max_examples=8)
@given(begin=st.integers(0, 60))
def test_what_no_other_try_mends_is_told_in_few_requests_and_leaves_nothing_half(
    tmp_path_factory: pytest.TempPathFactory, name: str, begin: int
) -> None:
    folder = tmp_path_factory.mktemp("store")
    small, large = files(folder, 16)
    whole = {f"/bucket/team/{key}": content for key, content in zip(KEYS, CONTENTS, strict=True)}
    whole |= {LOOKED: b"", "/bucket/team/runs/b/large": large.read_bytes()}
    with pytest.MonkeyPatch.context() as patched, s3_server() as server:
        patch_parts(patched, 16)
        # Whether conditions are heeded is found out once.
        server.faults = [*[fine] * (begin if name != "ignored conditions" else 0), *[CERTAIN[name]] * 2000]
        for ask in all_that_can_be_asked(opened(server, folder / "scratch"), small, large):
            before = len(server.requests)
            try:
                ask()
            except (NotFound, Conflict) as error:
                told = str(error)
            except StoreFailed as error:
                told = str(error)
                assert len(told) > len(server.url) + 40
            else:
                told = ""
            assert "\n" not in told
            assert len(server.requests) - before < 30
        assert {key: content for key, content in server.objects.items() if whole.get(key) != content} == {}
        assert list(folder.rglob("object-*")) == []
