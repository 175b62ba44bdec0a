"""What an S3 refuses for good is told once, at once, with what mends just that."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cloud.patience import Away
from cloud.stores import open_store
from cloudedge.errors import NotFound, StoreFailed
from cloudedge.store import Store
from tests.cluster.object_store import MinioServer, User
from tests.http_store import Fault, Handler, answers, sends
from tests.s3_server import S3Server, s3_server


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in User("user", "12345678").environment.items():
        monkeypatch.setenv(name, value)


def opened(server: S3Server, folder: Path) -> Store:
    return open_store(f"{server.url}/bucket", for_edges="", scratch=folder, patience_seconds=600)


def put(store: Store) -> None:
    store.put("runs/a", b"1")


ASKED: list[Callable[[Store], object]] = [
    put,
    lambda store: store.get("runs/a", 1),
    lambda store: store.stat("runs/a"),
    lambda store: list(store.list("runs")),
    lambda store: store.delete("runs/a"),
]

REFUSALS = [
    (400, "ExpiredToken", "These credentials have ended: renew AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"),
    (400, "TokenRefreshRequired", "These credentials have ended: renew"),
    (400, "InvalidToken", "Correct AWS_SESSION_TOKEN, which belongs to AWS_ACCESS_KEY_ID, or renew them all"),
    (403, "InvalidTokenId", "Correct AWS_SESSION_TOKEN"),
    (403, "InvalidAccessKeyId", r"Correct AWS_ACCESS_KEY_ID\."),
    (403, "SignatureDoesNotMatch", r"Correct AWS_SECRET_ACCESS_KEY\."),
    (403, "RequestTimeTooSkewed", "Set this machine's clock"),
    (403, "AccessDenied", "Give these credentials the right to it .*; they come from AWS_ACCESS_KEY_ID"),
    (403, "AllAccessDisabled", "Ask who runs the store about this account"),
    (403, "AccountProblem", "Ask who runs the store about this account"),
    (404, "NoSuchBucket", r"Make the bucket \(cloudedge store prepare\)"),
    (400, "InvalidBucketName", "Correct the bucket in the store's address"),
    (400, "XMinioAdminBucketQuotaExceeded", "raise its quota"),
    (507, "XMinioStorageFull", "Free some space on the store's disks"),
    (400, "EntityTooLarge", "takes no object or part so large"),
    (405, "MethodNotAllowed", "check that the address is that of an S3's own port"),
    (400, "KMS.NotFoundException", "encryption keys"),
    (400, "XMinioKMSKeyNotFoundException", "encryption keys"),
    (400, "ObjectLockConfigurationNotFoundError", "bucket without object lock"),
    (418, "Teapot", "Look for it in the store's log, and in its documentation of errors"),
]


@pytest.mark.parametrize(("status", "code", "told"), REFUSALS)
def test_each_refusal_has_its_own_way_out_whatever_is_asked(tmp_path: Path, status: int, code: str, told: str) -> None:
    for ask in ASKED:
        with s3_server() as server:
            server.faults = [answers(status, code)] * 9
            with pytest.raises(StoreFailed, match=rf"{code}: We are sorry\. .*{told}"):
                ask(opened(server, tmp_path))
            assert len(server.requests) <= 2


@pytest.mark.usefixtures("time_passes_in_pauses")
@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
def test_an_object_that_others_change_without_end_is_named_and_the_store_is_not_away(tmp_path: Path, code: str) -> None:
    with s3_server() as server:
        server.faults = [answers(409, code)] * 99
        store = open_store(f"{server.url}/bucket", for_edges="", scratch=tmp_path, patience_seconds=0.3)
        with pytest.raises(StoreFailed, match=f"answers 409 {code} for 'runs/a': others change it") as raised:
            put(store)
    assert len(server.requests) > 1
    assert not isinstance(raised.value, Away)


def in_another_region(status: int, code: str, header: str, body: str) -> Fault:
    def fault(request: Handler) -> bool:
        text = f"<Error><Code>{code}</Code><Message>We are sorry.</Message>{body}</Error>".encode()
        headers = {"x_amz_bucket_region": header} if header else {}
        request.head(status, len(text), Content_Type="application/xml", **headers)
        request.wfile.write(text if request.command != "HEAD" else b"")
        return True

    return fault


@pytest.mark.parametrize(
    ("status", "code", "header", "body"),
    [
        (301, "PermanentRedirect", "eu-1", "<Endpoint>bucket.example</Endpoint>"),
        (400, "AuthorizationHeaderMalformed", "", "<Region>eu-1</Region>"),
        (400, "IllegalLocationConstraintException", "eu-1", ""),
    ],
)
def test_a_bucket_in_another_region_is_told_by_its_region(
    tmp_path: Path, status: int, code: str, header: str, body: str
) -> None:
    for ask in ASKED:
        with s3_server() as server:
            server.faults = [in_another_region(status, code, header, body)] * 9
            with pytest.raises(StoreFailed, match=r"Set AWS_REGION to the bucket's region, eu-1\."):
                ask(opened(server, tmp_path))
            assert len(server.requests) <= 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirection_is_not_followed(tmp_path: Path, status: int) -> None:
    def leads_away(request: Handler) -> bool:
        request.head(status, 0, Location=f"{server.url}/elsewhere", Content_Type="text/html")
        return True

    for ask in ASKED:
        with s3_server() as server:
            server.faults = [leads_away] * 9
            with pytest.raises(StoreFailed, match="leads to another address"):
                ask(opened(server, tmp_path))
            assert len(server.requests) <= 2


def test_what_the_credentials_come_from_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in User("user", "12345678").environment:
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    file.write_text("[team]\naws_access_key_id = user\naws_secret_access_key = 12345678\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "team")
    for code in ("ExpiredToken", "InvalidAccessKeyId", "AccessDenied", "SignatureDoesNotMatch"):
        with s3_server() as server:
            server.faults = [answers(403, code)] * 9
            with pytest.raises(StoreFailed, match=f"of the profile team in {file}"):
                put(opened(server, tmp_path))


def test_a_missing_bucket_is_not_an_absent_object(minio: MinioServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in minio.root.environment.items():
        monkeypatch.setenv(name, value)
    for ask in ASKED[:-1]:
        store = open_store(f"{minio.url}/missing", for_edges="", scratch=tmp_path, patience_seconds=600)
        with pytest.raises(StoreFailed, match="NoSuchBucket: .* Make the bucket"):
            ask(store)
    store = open_store(f"{minio.url}/{minio.bucket()}", for_edges="", scratch=tmp_path, patience_seconds=600)
    assert store.stat("runs/a") is None
    with pytest.raises(NotFound):
        store.get("runs/a", 1)


def test_to_ask_for_absent_objects_is_one_request_each_once_the_bucket_is_known(tmp_path: Path) -> None:
    with s3_server() as server:
        store = opened(server, tmp_path)
        for number in range(10):
            assert store.stat(f"runs/{number}") is None
        assert len(server.requests) == 11


@pytest.mark.parametrize("status", [400, 403, 405, 409, 501])
def test_what_a_proxy_does_not_let_us_look_at_is_read(tmp_path: Path, status: int) -> None:
    with s3_server() as server:
        server.keep("/bucket/runs/a", b"123")
        store = opened(server, tmp_path)
        seen = store.stat("runs/a")
        server.faults = [sends(b"", status)]
        assert store.stat("runs/a") == seen
        assert server.faults == []
