"""What a store can do wrong, and all that it can be asked for meanwhile."""

import contextlib
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cloud.stores import open_store
from cloudedge.errors import CloudedgeError, Conflict, NotFound
from cloudedge.store import Store
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


def large_file_in_small_parts(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    patch_parts(monkeypatch, 16)
    return files(folder, 16)[1]


def ignores_conditions(request: Handler) -> bool:
    """As some S3 do, and some proxies make of one."""
    del request.headers["If-None-Match"]
    return False


def of_conditions(fault: Fault) -> Fault:
    """A fault that meets only what is to be written once."""
    return lambda request: "If-None-Match" in request.headers and fault(request)


LOGIN_AS_XML = b"<html xmlns='http://www.w3.org/1999/xhtml'><title>Welcome</title><p>Please log in.</p></html>"
LOGIN = b"<html><title>Welcome</title><br>Please log in.</html>"


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
