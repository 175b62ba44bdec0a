"""The S3 store before one that is none, or none like others: what no other try mends is told, and nothing is left half."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.stores.address import S3Address
from cloud.stores.prepare import prepare
from cloudedge.errors import Conflict, NotFound, StoreFailed
from cloudedge.store import Store
from tests.cloud.stores.misbehaving import (
    CERTAIN,
    CONTENTS,
    KEYS,
    LOGIN,
    LOGIN_AS_XML,
    LOOKED,
    all_that_can_be_asked,
    files,
    ignores_conditions,
    large_file_in_small_parts,
    listing,
    looked,
    of_conditions,
    opened,
    patch_parts,
)
from tests.http_store import (
    Fault,
    Handler,
    answers,
    cuts_the_answer,
    fine,
    loses_the_answer,
    sends,
)
from tests.s3_server import S3Server, s3_server

pytestmark = pytest.mark.usefixtures("user_and_short_pauses")

# What is to be written once


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
