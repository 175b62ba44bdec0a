"""Files come whole, as announced and from where they may, whatever the store and the network do."""

import gzip
import hashlib
import resource
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from cloudedge import transport as module
from cloudedge.documents import RemoteFile, UploadTarget
from cloudedge.errors import CloudedgeError, Conflict, InvalidInput, InvalidModel, NotFound, StoreFailed
from cloudedge.transport import Transport
from tests.http_store import (
    Fault,
    Handler,
    HttpStore,
    answers,
    breaks_off_after,
    fine,
    http_store,
    ignores_ranges,
    loses_the_answer,
    sends,
    trickles,
)
from tests.waiting import PATIENCE

CONTENT = bytes(range(256)) * 4096
"""1 MiB, so that it does not come in one piece."""


@pytest.fixture
def store() -> Iterator[HttpStore]:
    with http_store() as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "received" / "model.safetensors"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def failed_fetch(file: RemoteFile, path: Path, kind: type[CloudedgeError]) -> str:
    with pytest.raises(kind) as raised:
        Transport().fetch(file, path)
    assert type(raised.value) is kind
    assert "secret" not in str(raised.value)
    assert not path.exists()
    return str(raised.value)


def local_file(path: Path, content: bytes) -> RemoteFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return RemoteFile(url=path.as_uri(), sha256=hashlib.sha256(content).hexdigest(), size=len(content))


@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
def test_a_file_comes_as_it_is(store: HttpStore, path: Path, content: bytes) -> None:
    Transport().fetch(store.holds("/model", content), path)
    assert path.read_bytes() == content
    assert names(path.parent) == [path.name]


def test_a_fetch_goes_on_where_it_broke_off(store: HttpStore, path: Path) -> None:
    file = store.holds("/model", CONTENT)
    store.faults = [breaks_off_after(300_000), breaks_off_after(500_000)]
    for kept in (300_000, 800_000):
        failed_fetch(file, path, StoreFailed)
        assert part(path).stat().st_size == kept
    Transport().fetch(file, path)
    assert path.read_bytes() == CONTENT
    assert [request.headers.get("Range") for request in store.requests] == [None, "bytes=300000-", "bytes=800000-"]


BREAKS: list[Fault] = [breaks_off_after(count) for count in (0, 1, 400, 999)]
ERRORS: list[Fault] = [answers(status) for status in (401, 403, 404, 408, 429, 500, 503)]
ELSEWHERE: list[Fault] = [ignores_ranges, breaks_off_after(300, announced=False), fine]


@given(faults=st.lists(st.sampled_from([*BREAKS, *ERRORS, *ELSEWHERE]), max_size=6))
def test_whatever_the_store_does_in_between_the_bytes_are_exact(
    tmp_path_factory: pytest.TempPathFactory, faults: list[Fault]
) -> None:
    path = tmp_path_factory.mktemp("edge") / "model"
    content = CONTENT[:1000]
    with http_store() as store:
        file = store.holds("/model", content)
        store.faults = list(faults)
        for _ in range(len(faults) + 1):
            try:
                Transport().fetch(file, path)
            except StoreFailed:
                continue
            break
        assert path.read_bytes() == content


LOGIN = sends(b"<html>Please log in.</html>", Content_Type="text/html; charset=utf-8")


def test_a_login_page_is_neither_a_file_nor_a_receipt(store: HttpStore, path: Path) -> None:
    file = store.holds("/model", CONTENT)
    store.faults = [breaks_off_after(300_000), LOGIN, LOGIN]
    failed_fetch(file, path, StoreFailed)
    assert "is no object store: it sent text/html; charset=utf-8. Check whether this network" in failed_fetch(
        file, path, StoreFailed
    )
    with pytest.raises(StoreFailed, match="answered 200 to PUT http://.*/result is no object store"):
        Transport().put(store.target("/result", once=True), b"1")
    assert "/result" not in store.objects
    Transport().fetch(file, path)
    Transport().put(store.target("/result", once=True), b"1")
    assert path.read_bytes() == CONTENT
    assert store.objects["/result"] == b"1"


def test_a_store_without_ranges_starts_over(store: HttpStore, path: Path) -> None:
    file = store.holds("/model", CONTENT)
    store.faults = [breaks_off_after(300_000), ignores_ranges]
    failed_fetch(file, path, StoreFailed)
    Transport().fetch(file, path)
    assert path.read_bytes() == CONTENT


def test_a_file_that_had_arrived_before_a_crash_is_not_fetched_again(store: HttpStore, path: Path) -> None:
    path.parent.mkdir()
    part(path).write_bytes(CONTENT)
    Transport().fetch(store.holds("/model", CONTENT), path)
    assert path.read_bytes() == CONTENT
    assert store.requests == []


@pytest.mark.parametrize("kept", [b"\0" * 1000, b"\0" * len(CONTENT), b"\0" * (len(CONTENT) + 1)])
def test_what_a_power_cut_spoilt_is_fetched_anew(store: HttpStore, path: Path, kept: bytes) -> None:
    file = store.holds("/model", CONTENT)
    path.parent.mkdir()
    part(path).write_bytes(kept)
    if len(kept) <= len(CONTENT):
        assert "anew" in failed_fetch(file, path, StoreFailed)
        assert not part(path).exists()
    Transport().fetch(file, path)
    assert path.read_bytes() == CONTENT


def test_a_range_beyond_the_object_starts_over(store: HttpStore, path: Path) -> None:
    file = store.holds("/model", CONTENT)
    path.parent.mkdir()
    part(path).write_bytes(CONTENT[:1000])
    store.faults = [answers(416, "InvalidRange")]
    failed_fetch(file, path, StoreFailed)
    Transport().fetch(file, path)
    assert path.read_bytes() == CONTENT


def test_tampered_bytes_are_refused_and_not_kept(store: HttpStore, path: Path) -> None:
    file = store.holds("/model", CONTENT)
    store.objects["/model"] = CONTENT[:-1] + b"!"
    assert file.sha256 in failed_fetch(file, path, InvalidModel)
    assert not part(path).exists()


def test_a_shorter_object_is_not_waited_for(store: HttpStore, path: Path) -> None:
    file = store.holds("/model", CONTENT)
    store.objects["/model"] = CONTENT[:1000]
    assert "has 1000 bytes" in failed_fetch(file, path, InvalidModel)
    assert not part(path).exists()


def test_a_longer_object_is_refused_and_not_kept(store: HttpStore, path: Path) -> None:
    file = store.holds("/model", CONTENT[:1000])
    store.objects["/model"] = CONTENT * 20

    assert "longer than the 1000 bytes" in failed_fetch(file, path, InvalidModel)
    assert not part(path).exists()


def test_an_endless_answer_takes_no_more_disk_than_announced(store: HttpStore, path: Path) -> None:
    file = store.holds("/model", CONTENT[:1000])
    sizes = []

    def endless(request: Handler) -> bool:
        request.head(200, None, Connection="close")
        request.close_connection = True
        try:
            while not request.store.stopped.is_set():
                request.wfile.write(CONTENT)
                sizes.append(part(path).stat().st_size if part(path).exists() else 0)
        except OSError:
            pass
        return True

    store.faults = [endless]
    failed_fetch(file, path, InvalidModel)
    assert max(sizes, default=0) <= 1001


def test_bytes_are_taken_as_they_lie_in_the_store(store: HttpStore, path: Path) -> None:
    """A content encoding is not undone: the digest is of what was stored, and a bomb does not go off."""
    content = gzip.compress(b"\0" * 1_000_000)
    file = store.holds("/model", content)
    store.faults = [sends(content, Content_Encoding="gzip")]
    Transport().fetch(file, path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(store: HttpStore, path: Path, status: int) -> None:
    file = store.holds("/model", CONTENT)
    with http_store() as other:
        other.holds("/model", CONTENT)
        store.faults = [sends(b"", status, Location=f"{other.url}/model"), sends(b"", status, Location=f"{other.url}/model")]
        assert f"answered {status}" in failed_fetch(file, path, StoreFailed)
        with pytest.raises(StoreFailed, match=f"answered {status}"):
            Transport().put(store.target("/model"), b"1")
        assert other.requests == []


def test_a_store_that_trickles_is_left_and_asked_again(store: HttpStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STALL_SECONDS", 0.2)
    file = store.holds("/model", CONTENT)
    store.faults = [trickles(0.01)]
    assert "it is asked again" in failed_fetch(file, path, StoreFailed)
    kept = part(path).stat().st_size
    assert 0 < kept < 4096
    Transport().fetch(file, path)
    assert path.read_bytes() == CONTENT
    assert store.requests[1].headers["Range"] == f"bytes={kept}-"


def test_a_slow_store_is_waited_for(store: HttpStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STALL_SECONDS", 0.05)
    monkeypatch.setattr(module, "_STALL_BYTES", 1)
    Transport().fetch(store.holds("/model", CONTENT[:50]), path)
    store.faults = [trickles(0.01)]
    Transport().fetch(store.holds("/other", CONTENT[:50]), path)
    assert path.read_bytes() == CONTENT[:50]


def test_a_store_that_is_away_is_worth_another_try(path: Path) -> None:
    with socket.socket() as deaf:  # Nobody else gets its port, and it does not listen.
        deaf.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/model?signature=secret"
        failed_fetch(RemoteFile(url=url, sha256="0" * 64, size=1), path, StoreFailed)
        with pytest.raises(StoreFailed) as raised:
            Transport().put(UploadTarget(url=url, max_bytes=9, once=False), b"1")
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://[bad/model?signature=secret",
        "http://host:port/model?signature=secret",
        "http:///model?signature=secret",
        "https://?signature=secret",
        "ftp://host/model?signature=secret",
        "file://host/model?signature=secret",
        "file:///model%00?signature=secret",
        "model?signature=secret",
    ],
)
def test_an_unusable_url_is_refused_for_good(tmp_path: Path, path: Path, url: str) -> None:
    failed_fetch(RemoteFile(url=url, sha256="0" * 64, size=1), path, InvalidInput)
    with pytest.raises(InvalidInput) as raised:
        Transport([tmp_path]).put(UploadTarget(url=url, max_bytes=9, once=False), b"1")
    assert "secret" not in str(raised.value)


# What is put


def test_what_is_put_arrives_with_the_signed_headers_as_they_are(store: HttpStore, tmp_path: Path) -> None:
    target = store.target("/result").model_copy(update={"headers": {"x-amz-Meta-Edge": "edge-1", "content-length": "7"}})
    (tmp_path / "model").write_bytes(CONTENT)
    Transport().put(target, tmp_path / "model")
    assert store.objects["/result"] == CONTENT
    headers = store.requests[0].headers
    assert headers["x-amz-Meta-Edge"] == "edge-1"
    assert [value for name, value in headers.items() if name.lower() == "content-length"] == [str(len(CONTENT))]
    assert "Transfer-Encoding" not in headers
    assert store.requests[0].path == "/result?signature=secret"


@pytest.mark.parametrize("headers", [{"name": "one\r\nX-Two: three"}, {"name": "☃"}])
def test_a_header_that_is_none_is_refused_for_good(store: HttpStore, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="malformed"):
        Transport().put(store.target("/result").model_copy(update={"headers": headers}), b"1")
    assert store.objects == {}


def test_an_object_that_can_be_written_once_is(store: HttpStore) -> None:
    target = store.target("/result", once=True)
    Transport().put(target, b"first")
    with pytest.raises(Conflict, match="only once"):
        Transport().put(target, b"second")
    assert store.objects["/result"] == b"first"


def test_a_put_whose_answer_was_lost_is_known_to_have_arrived(store: HttpStore) -> None:
    target = store.target("/result", once=True)
    store.faults = [loses_the_answer]
    with pytest.raises(StoreFailed):
        Transport().put(target, b"first")
    with pytest.raises(Conflict):
        Transport().put(target, b"first")


def test_another_writer_at_the_same_time_is_worth_another_try(store: HttpStore) -> None:
    """S3 answers 409 while another write is under way, which may yet fail; only 412 says that the object exists."""
    store.faults = [answers(409, "ConditionalRequestConflict")]
    with pytest.raises(StoreFailed, match="ConditionalRequestConflict"):
        Transport().put(store.target("/result", once=True), b"1")


def test_an_object_that_may_be_overwritten_is(store: HttpStore) -> None:
    edge = Transport()
    for number in range(5):
        edge.put(store.target("/report"), str(number).encode())
    assert store.objects["/report"] == b"4"
    assert len({request.connection for request in store.requests}) == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "EntityTooLarge", InvalidInput),
        (400, "RequestTimeout", StoreFailed),
        (400, "ExpiredToken", StoreFailed),
        (401, "", StoreFailed),
        (403, "AccessDenied", StoreFailed),
        (403, "SignatureDoesNotMatch", StoreFailed),
        (404, "NoSuchBucket", StoreFailed),
        (405, "MethodNotAllowed", InvalidInput),
        (411, "MissingContentLength", InvalidInput),
        (413, "", InvalidInput),
        (412, "PreconditionFailed", StoreFailed),
        (500, "InternalError", StoreFailed),
        (503, "SlowDown", StoreFailed),
        (507, "XMinioStorageFull", StoreFailed),
    ],
)
def test_a_refusal_is_told_with_the_stores_own_word_and_no_signature(
    store: HttpStore, status: int, code: str, kind: type[CloudedgeError]
) -> None:
    store.faults = [answers(status, code)]
    with pytest.raises(kind) as raised:
        Transport().put(store.target("/result"), b"1")
    assert type(raised.value) is kind
    assert f"answered {status} to PUT {store.url}/result: " in str(raised.value)
    assert code in str(raised.value)
    assert "We are sorry." in str(raised.value)
    assert "secret" not in str(raised.value)


def test_too_much_is_not_even_sent(store: HttpStore, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(CONTENT)
    with pytest.raises(InvalidInput, match="at most 1048575"):
        Transport().put(store.target("/result", max_bytes=len(CONTENT) - 1), tmp_path / "model")
    assert store.requests == []


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_a_file_that_was_deleted_is_told_of(store: HttpStore, tmp_path: Path, scheme: str) -> None:
    url = f"{store.url}/result" if scheme == "http" else (tmp_path / "result").as_uri()
    with pytest.raises(NotFound, match="no file"):
        Transport([tmp_path]).put(UploadTarget(url=url, max_bytes=9, once=True), tmp_path / "missing")


def test_a_large_file_is_sent_in_little_memory(store: HttpStore, tmp_path: Path) -> None:
    size = 64 * 1024 * 1024
    with (tmp_path / "model").open("wb") as file:
        file.truncate(size)
    received = []

    def swallow(request: Handler) -> bool:
        received.append(len(request.body))
        request.body = b""
        request.head(200, 0)
        return True

    store.faults = [swallow]
    program = f"""
        import resource
        from pathlib import Path
        from cloudedge.documents import UploadTarget
        from cloudedge.transport import Transport

        transport = Transport()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        transport.put(UploadTarget(url="{store.url}/result", max_bytes=2**40, once=False), Path("{tmp_path}/model"))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert received == [size]
    assert int(done.stdout) < 16 * 1024  # KiB


# Files


def test_a_local_file_comes_and_goes(tmp_path: Path, path: Path) -> None:
    edge = Transport([tmp_path / "cloud"])
    file = local_file(tmp_path / "cloud" / "a b%20c" / "model", CONTENT)
    edge.fetch(file, path)
    assert path.read_bytes() == CONTENT
    target = UploadTarget(url=(tmp_path / "cloud" / "new" / "result").as_uri(), max_bytes=len(CONTENT), once=True)
    edge.put(target, path)
    assert (tmp_path / "cloud" / "new" / "result").read_bytes() == CONTENT
    with pytest.raises(Conflict):
        edge.put(target, b"")


def escapes(root: Path, outside: Path) -> dict[str, str]:
    (root / "link").symlink_to(outside)
    (root / "file-link").symlink_to(outside / "model")
    (root / "loop").symlink_to(root / "loop")
    return {
        "outside": (outside / "model").as_uri(),
        "the root itself": root.as_uri(),
        "a neighbour with the root's name before its own": f"{root.as_uri()}-2/model",
        "dots": f"{root.as_uri()}/../outside/model",
        "quoted dots": f"{root.as_uri()}/%2e%2e/outside/model",
        "dots behind a link": f"{root.as_uri()}/link/../outside/model",
        "a linked folder": f"{root.as_uri()}/link/model",
        "a linked file": f"{root.as_uri()}/file-link",
    }


@pytest.mark.parametrize(
    "name",
    [
        "outside",
        "the root itself",
        "a neighbour with the root's name before its own",
        "dots",
        "quoted dots",
        "dots behind a link",
        "a linked folder",
        "a linked file",
    ],
)
def test_files_outside_the_roots_are_out_of_reach(tmp_path: Path, path: Path, name: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root, outside, tmp_path / "root-2"):
        local_file(folder / "model", CONTENT)
    url = escapes(root, outside)[name]
    before = snapshot(tmp_path)
    edge = Transport([root])
    with pytest.raises(InvalidInput, match="--files-root"):
        edge.fetch(RemoteFile(url=url, sha256=hashlib.sha256(CONTENT).hexdigest(), size=len(CONTENT)), path)
    for once in (True, False):
        with pytest.raises(InvalidInput, match="--files-root"):
            edge.put(UploadTarget(url=url, max_bytes=99, once=once), b"new")
    assert snapshot(tmp_path) == before


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def test_a_link_that_leads_to_itself_is_told_of(tmp_path: Path, path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StoreFailed, match="Cannot read"):
        Transport([tmp_path]).fetch(RemoteFile(url=(tmp_path / "loop").as_uri(), sha256="0" * 64, size=1), path)


def test_no_file_is_in_reach_without_a_root(tmp_path: Path, path: Path) -> None:
    failed_fetch(local_file(tmp_path / "model", CONTENT), path, InvalidInput)


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b"!" + CONTENT[1:]])
def test_a_local_file_that_is_another_is_refused(tmp_path: Path, path: Path, content: bytes) -> None:
    file = local_file(tmp_path / "model", CONTENT)
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(InvalidModel):
        Transport([tmp_path]).fetch(file, path)
    assert names(path.parent) == []


def test_a_local_file_that_is_not_there_yet_is_worth_another_try(tmp_path: Path, path: Path) -> None:
    url = (tmp_path / "later").as_uri()
    with pytest.raises(StoreFailed, match="Cannot read"):
        Transport([tmp_path]).fetch(RemoteFile(url=url, sha256="0" * 64, size=1), path)


def test_a_full_disk_keeps_what_arrived(store: HttpStore, path: Path) -> None:
    file = store.holds("/model", CONTENT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        assert "ulimit -f" in failed_fetch(file, path, StoreFailed)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    Transport().fetch(file, path)
    assert path.read_bytes() == CONTENT


def test_a_timeout_is_worth_another_try(store: HttpStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TIMEOUT", urllib3.Timeout(connect=10, read=0.1))
    file = store.holds("/model", CONTENT)

    def silent(request: Handler) -> bool:
        return bool(request.store.stopped.wait(PATIENCE))

    store.faults = [silent, silent]
    assert "timed out" in failed_fetch(file, path, StoreFailed)
    with pytest.raises(StoreFailed, match="timed out"):
        Transport().put(store.target("/result"), b"1")


def test_a_slow_link_is_given_the_time_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout is for each block that is sent, not for the whole of it."""
    monkeypatch.setattr(module, "_TIMEOUT", urllib3.Timeout(connect=1, read=PATIENCE))
    content = bytes(16 * 1024 * 1024)
    received = []

    def drain(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            count = 0
            while count < len(content):
                count += len(connection.recv(64 * 1024))
                time.sleep(0.01)  # The link.
            received.append(count)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        store = threading.Thread(target=drain, args=(listening,), daemon=True)
        store.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/report"
        Transport().put(UploadTarget(url=url, max_bytes=len(content), once=False), content)
        store.join(PATIENCE)
    assert received
