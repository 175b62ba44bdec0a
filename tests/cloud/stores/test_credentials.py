"""Whose rights are used in an S3: how long they last bounds what is signed with them, and new ones are taken up at once."""

import base64
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest
from minio import MinioAdmin
from minio.credentials.providers import AssumeRoleProvider, StaticProvider

from cloud.patience import Away
from cloud.stores import open_store
from cloud.stores.address import S3Address
from cloud.stores.prepare import policy
from cloudedge.documents import UploadTarget
from cloudedge.errors import InvalidInput, StoreFailed
from cloudedge.store import Store
from cloudedge.transport import Transport
from tests.cluster.object_store import MinioServer, User
from tests.http_store import Fault, Handler, HttpStore, answers, served
from tests.s3_server import s3_server

WEEK = 7 * 24 * 3600
VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_ENDPOINT_URL_STS",
)


@pytest.fixture(autouse=True)
def _no_credentials_and_short_pauses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("cloud.patience._FIRST_PAUSE_SECONDS", 0.001)


def opened(address: str, folder: Path, patience: float = 600) -> Store:
    return open_store(address, for_edges="", scratch=folder, patience_seconds=patience)


def written(file: Path, user: User, token: str = "") -> None:
    """As tools that rotate credentials write them: whole."""
    lines = [f"aws_access_key_id = {user.access_key}", f"aws_secret_access_key = {user.secret_key}"]
    lines += [f"aws_session_token = {token}"] if token else []
    new = file.with_suffix(".new")
    new.write_text("\n".join(["[default]", *lines, ""]))
    new.replace(file)


def target_of(store: Store, seconds: float = WEEK) -> UploadTarget:
    return store.upload("runs/a", max_bytes=100, once=False, expires_seconds=seconds)


def query_of(target: UploadTarget) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(target.url).query).items()}


def life_of(store: Store) -> int:
    """Seconds that a URL holds that is asked to hold for ever."""
    return int(query_of(target_of(store, 10 * WEEK))["X-Amz-Expires"])


def token_until(end: datetime) -> str:
    """As a MinIO makes them."""
    claims = json.dumps({"exp": end.timestamp()}).encode()
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b"{}", claims, b"1"))


# What is signed


def test_lasting_credentials_give_urls_of_a_week(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in User("user", "12345678").environment.items():
        monkeypatch.setenv(name, value)
    store = opened("http://127.0.0.1:1/bucket", tmp_path)
    assert (store.longest_url_seconds, life_of(store)) == (WEEK, WEEK)


@pytest.mark.parametrize("by_token", [True, False])
@pytest.mark.parametrize("minutes", [15, 59])
def test_a_url_ends_with_the_credentials_that_it_was_signed_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, minutes: int, by_token: bool
) -> None:
    for name, value in User("user", "12345678").environment.items():
        monkeypatch.setenv(name, value)
    end = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setenv("AWS_SESSION_TOKEN", token_until(end) if by_token else "a token")
    if not by_token:
        monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", end.isoformat())
    store = opened("http://127.0.0.1:1/bucket", tmp_path)
    assert 60 * minutes - 60 < life_of(store) <= 60 * minutes
    assert 60 * minutes - 60 < store.longest_url_seconds <= 60 * minutes


@pytest.mark.parametrize("token", ["a token", "a.b.c", "e30.e30.e30", "e30.bm8.e30"])
def test_credentials_that_do_not_say_when_they_end_are_taken_to_end_soon_which_is_said_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, token: str
) -> None:
    for name, value in User("user", "12345678").environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    store = opened("http://127.0.0.1:1/bucket", tmp_path)
    with caplog.at_level(logging.WARNING):
        assert [life_of(store) for _ in range(3)] == [900] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "The credentials of AWS_ACCESS_KEY_ID are temporary and do not say when they end, so edges get URLs that hold for "
        "15 minutes and are renewed."
    ]


def test_an_end_that_is_no_time_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in User("user", "12345678").environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "soon")
    with pytest.raises(InvalidInput, match="AWS_CREDENTIAL_EXPIRATION is 'soon'"):
        life_of(opened("http://127.0.0.1:1/bucket", tmp_path))


def test_a_real_session_of_a_quarter_of_an_hour_gives_urls_of_no_more(
    minio: MinioServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bucket = minio.bucket()
    user = minio.user(policy(S3Address.parse(f"{minio.url}/{bucket}")), tmp_path)
    provider = AssumeRoleProvider(sts_endpoint=minio.url, access_key=user.access_key, secret_key=user.secret_key)
    provider._body = provider._body.replace("DurationSeconds=3600", "DurationSeconds=900")
    provider._content_sha256 = hashlib.sha256(provider._body.encode()).hexdigest()
    session = provider.retrieve()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", session.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", session.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", session.session_token or "")
    store = opened(f"{minio.url}/{bucket}", tmp_path)
    target = target_of(store)
    assert 800 < int(query_of(target)["X-Amz-Expires"]) <= 900
    Transport().put(target, b"1")
    assert store.get("runs/a", 1) == b"1"
    monkeypatch.setenv("AWS_SESSION_TOKEN", "another")
    with pytest.raises(StoreFailed, match="Correct AWS_SESSION_TOKEN"):
        opened(f"{minio.url}/{bucket}", tmp_path).put("runs/a", b"1")


# Others in their place


def test_credentials_that_are_replaced_in_a_file_are_taken_up(
    minio: MinioServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, bucket = tmp_path / "credentials", minio.bucket()
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    allowed = policy(S3Address.parse(f"{minio.url}/{bucket}"))
    first, second = minio.user(allowed, tmp_path), minio.user(allowed, tmp_path)
    written(file, first)
    store = opened(f"{minio.url}/{bucket}", tmp_path)
    store.put("runs/before", b"1")
    admin = MinioAdmin(
        endpoint=minio.endpoint, secure=False, credentials=StaticProvider(minio.root.access_key, minio.root.secret_key)
    )
    admin.user_remove(first.access_key)
    with ThreadPoolExecutor(1) as others:
        during = others.submit(store.put, "runs/during", b"1")  # Refused until the file is written anew.
        file.write_text("[default]\naws_access_key_id = half")
        written(file, second)
        during.result()
    assert query_of(target_of(store))["X-Amz-Credential"].startswith(second.access_key)
    Transport().put(target_of(store), b"1")


@pytest.mark.parametrize("content", ["", "[default]", "[default]\naws_access_key_id = other\n", "no section", "[default\n"])
def test_a_file_that_is_being_written_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str) -> None:
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    written(file, User("user", "12345678"))
    with s3_server() as server:
        store = opened(f"{server.url}/bucket", tmp_path)
        store.put("runs/a", b"1")
        file.write_text(content)
        store.put("runs/b", b"1")
        assert {key_of(request.headers) for request in server.requests} == {"user"}


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"])
def test_whose_credentials_were_good_before_waits_for_others_where_there_may_be_some(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str
) -> None:
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    written(file, User("user", "12345678"))

    def until_there_are_others(request: Handler) -> bool:
        if key_of(dict(request.headers)) != "user":
            return False
        written(file, User("other", "12345678"))
        return answers(403, code)(request)

    with s3_server() as server:
        store = opened(f"{server.url}/bucket", tmp_path)
        store.put("runs/a", b"1")
        server.faults = [until_there_are_others] * 9
        store.put("runs/b", b"1")
        assert key_of(server.requests[-1].headers) == "other"
        server.faults = [answers(403, code)]
        with pytest.raises(StoreFailed, match=code):  # Nothing has worked yet, so that nobody need wait.
            opened(f"{server.url}/bucket", tmp_path).put("runs/c", b"1")
        for name, value in User("user", "12345678").environment.items():
            monkeypatch.setenv(name, value)
        store = opened(f"{server.url}/bucket", tmp_path)
        server.faults = []
        store.put("runs/a", b"1")
        server.faults = [answers(403, code)]
        with pytest.raises(StoreFailed, match=code):  # This process' environment stays as it is.
            store.put("runs/c", b"1")


@pytest.mark.usefixtures("time_passes_in_pauses")
def test_credentials_that_nobody_renews_are_refused_and_the_store_is_not_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    written(file, User("user", "12345678"))
    with s3_server() as server:
        store = opened(f"{server.url}/bucket", tmp_path, patience=0.01)
        store.put("runs/a", b"1")
        server.faults = [answers(403, "ExpiredToken")] * 99
        with pytest.raises(StoreFailed, match="ExpiredToken") as raised:
            store.put("runs/b", b"1")
    assert len(server.requests) > 2
    assert not isinstance(raised.value, Away)


def key_of(headers: dict[str, str]) -> str:
    found = re.search("Credential=([^/]*)/", headers["Authorization"])
    assert found
    return found[1]


# A server that gives them


class _Giver(Handler):
    """The next credentials, as a container's own server gives them, or a service of tokens."""

    def answer(self) -> None:
        number = len(self.store.requests)
        end = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
        if self.command == "POST":
            root = ElementTree.Element("AssumeRoleWithWebIdentityResponse", xmlns="https://sts.amazonaws.com/doc/2011-06-15/")
            found = ElementTree.SubElement(ElementTree.SubElement(root, "AssumeRoleWithWebIdentityResult"), "Credentials")
            names = {"AccessKeyId": f"key-{number}", "SecretAccessKey": "secret", "SessionToken": "token", "Expiration": end}
            for name, value in names.items():
                ElementTree.SubElement(found, name).text = value
            content = ElementTree.tostring(root)
        else:
            content = json.dumps(
                {"AccessKeyId": f"key-{number}", "SecretAccessKey": "secret", "Token": "token", "Expiration": end}
            ).encode()
        self.head(200, len(content))
        self.wfile.write(content)


@contextmanager
def giver(monkeypatch: pytest.MonkeyPatch, folder: Path, kind: str) -> Iterator[HttpStore]:
    with served(HttpStore(), _Giver) as server:
        if kind == "container":
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/role")
        else:
            (folder / "token").write_text("a web identity")
            monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "token"))
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        yield server


KINDS = pytest.mark.parametrize("kind", ["container", "web identity"])


@KINDS
def test_what_a_server_gives_is_kept_for_half_of_its_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    with giver(monkeypatch, tmp_path, kind) as server, s3_server() as s3:
        store = opened(f"{s3.url}/bucket", tmp_path)
        for number in range(9):
            store.put(f"runs/{number}", b"1")
        assert 3500 < life_of(store) <= 3600
        assert len(server.requests) == 1
        later(monkeypatch, 1900)
        store.put("runs/later", b"1")
        assert (key_of(s3.requests[0].headers), key_of(s3.requests[-1].headers)) == ("key-1", "key-2")


@KINDS
def test_a_server_that_is_away_costs_nothing_while_its_credentials_hold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    with giver(monkeypatch, tmp_path, kind) as server, s3_server() as s3:
        store = opened(f"{s3.url}/bucket", tmp_path)
        later(monkeypatch, 1900)
        server.faults = [answers(500)]
        store.put("runs/a", b"1")
        assert key_of(s3.requests[-1].headers) == "key-1"


@KINDS
def test_a_server_that_does_not_answer_at_first_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    with giver(monkeypatch, tmp_path, kind) as server, s3_server() as s3:
        server.faults = [answers(500), answers(500)]
        store = opened(f"{s3.url}/bucket", tmp_path)
        Transport().put(target_of(store), b"1")
        server.faults = [answers(403)] * 999
        with pytest.raises(
            StoreFailed, match=f"The store's credentials cannot be had: {server.url}.* does not give them"
        ) as failed:
            opened(f"{s3.url}/bucket", tmp_path, patience=600).put("runs/a", b"1")  # It is certain, and told at once.
        assert "WebIdentityToken" not in str(failed.value)
        assert "Check " in str(failed.value)
        assert not isinstance(failed.value, Away), "it answers"


@KINDS
@pytest.mark.parametrize("away", [answers(503), lambda request: request.connection.close() or True], ids=["busy", "silent"])
def test_where_a_server_gives_no_credentials_all_that_is_asked_fares_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, away: Fault
) -> None:
    with giver(monkeypatch, tmp_path, kind) as server, s3_server() as s3:
        server.faults = [away] * 999
        with pytest.raises(Away, match="The store's credentials cannot be had"):
            opened(f"{s3.url}/bucket", tmp_path, patience=0.01).put("runs/a", b"1")


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let time pass for who looks when credentials are to be renewed."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=seconds)

    monkeypatch.setattr("cloud.stores.credentials.datetime", Later)
