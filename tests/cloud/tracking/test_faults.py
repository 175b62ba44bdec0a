"""What is wrong with an MLflow is named with what mends it, costs no run anything, and loses nothing."""

import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloud.tracking import Relay, TrackingLog, TrackingRecord, trouble_of
from cloud.tracking.faults import fault_of
from cloudedge.errors import StoreFailed
from cloudedge.network import Obstacle
from cloudedge.store import DirectoryStore
from tests.cloud.tracking import told as mlflow_was
from tests.cloud.tracking.served import Answer, Served, page, text, told
from tests.cloud.tracking.told import START, point, runs_of
from tests.obstacles import MET

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.filterwarnings(*mlflow_was.WARNINGS_OF_MLFLOW)


@pytest.fixture
def log(store: DirectoryStore) -> TrackingLog:
    log = TrackingLog(store, "digits")
    log.append([TrackingRecord(at=START, metrics=(point("accuracy", 0.5, 0),))], "pretrain")
    return log


ACCOUNT = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
ADDRESS = "No MLflow answers there.* Correct CLOUDEDGE_TRACKING_URI"
CERTAIN = {
    "no account": (text(401, "You are not authenticated."), ACCOUNT),
    "a gateway's 401": (told(401, message="Unauthorized"), ACCOUNT),
    "a gateway's expired token": (told(401, detail="Token has expired"), ACCOUNT),
    "a gateway's sign-in page": (page(401, "Sign in"), ACCOUNT),
    "a read-only account": (
        told(403, error_code="PERMISSION_DENIED", message="Permission denied"),
        "permission to write to that experiment",
    ),
    "an account that may do nothing": (text(403, "Permission denied"), "permission to write to that experiment"),
    "another name than allowed": (text(403, "Invalid Host header - possible DNS rebinding"), "in --allowed-hosts"),
    "a login page": (page(200, "Sign in"), ADDRESS),
    "a console": (page(200, "MinIO Console"), ADDRESS),
    "nothing but 200": (text(200, ""), ADDRESS),
    "nothing but an object": (told(200), ADDRESS),
    "another program": (text(200, "pong"), ADDRESS),
    "another path": (page(404, "Not found"), ADDRESS),
    "an ingress without a backend": (text(404, "404 page not found"), ADDRESS),
    "an API that is not there": (told(404, error_code="ENDPOINT_NOT_FOUND", message="None"), "one older than version 3"),
    "redirects in a circle": ((302, {"Location": "/elsewhere"}, b""), ADDRESS),
    "a method that is not allowed": (page(405, "Method Not Allowed"), ADDRESS),
    "a proxy that wants an account": (text(407, "Who are you?"), "NO_PROXY"),
}
PASSING = {
    "a full database": told(500, error_code="INTERNAL_ERROR", message="(psycopg2.errors.DiskFull) could not extend file"),
    "a gateway without a server": page(502, "Bad gateway"),
    "too many requests": text(429, "Later"),
    "a server without time": text(503, "Later"),
    "half of an answer": (200, {"Content-Type": "application/json"}, b'{"experiment": {"exper'),
    "JSON of another kind": told(200, experiment=[1]),
}


@pytest.mark.parametrize(("answer", "remedy"), CERTAIN.values(), ids=CERTAIN)
def test_a_certain_fault_is_named_with_what_mends_it_and_mlflow_is_not_asked_again_meanwhile(
    served: Served,
    store: DirectoryStore,
    experiment: str,
    log: TrackingLog,
    answer: Answer,
    remedy: str,
    client: "MlflowClient",
) -> None:
    served.rule = lambda *_: answer
    with pytest.raises(StoreFailed, match=rf"MLflow at {served.uri} did not take the run's records: .*{remedy}.*kept in the"):
        Relay(store, "digits", served.uri, experiment).push()
    asked = len(served.asked)

    assert Relay(store, "digits", served.uri, experiment).push(patiently=True) == 0, "in the run's next step"
    assert len(served.asked) == asked

    served.rule = None
    assert Relay(store, "digits", served.uri, experiment).push() == 1, "mended"
    assert trouble_of(store, "digits") is None
    assert set(runs_of(client, experiment)) == {"digits"}


def test_a_run_that_was_not_made_is_not_taken_for_one(
    served: Served, store: DirectoryStore, experiment: str, log: TrackingLog
) -> None:
    served.rule = lambda method, path: text(200, "") if path.endswith("runs/create") else None
    with pytest.raises(StoreFailed, match=ADDRESS):
        Relay(store, "digits", served.uri, experiment).push()

    served.rule = None
    assert Relay(store, "digits", served.uri, experiment).push() == 1


@pytest.mark.parametrize("answer", PASSING.values(), ids=PASSING)
def test_what_may_pass_is_named_and_mlflow_has_everything_once_it_has_passed(
    served: Served, store: DirectoryStore, experiment: str, log: TrackingLog, answer: Answer
) -> None:
    served.rule = lambda *_: answer
    relay = Relay(store, "digits", served.uri, experiment)
    with pytest.raises(StoreFailed, match="did not take the run's records: .*kept in the store"):
        relay.push()

    served.rule = None
    assert relay.push() == 1


@pytest.mark.parametrize(
    "address",
    ["mlflow:5000", "mlflow.example.com/here", "/mlruns", "file:///mlruns", "http://", "http://host:port", "https:/host"],
)
def test_an_address_that_mlflow_would_take_for_a_folder_or_for_nothing_is_refused_and_makes_none(
    store: DirectoryStore, experiment: str, log: TrackingLog, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    with pytest.raises(StoreFailed, match=r"no address of an MLflow.* Correct CLOUDEDGE_TRACKING_URI: http\(s\)://host"):
        Relay(store, "digits", address, experiment).push()
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME"])
def test_an_account_that_is_not_accepted_is_told_from_one_that_was_never_given(
    served: Served, store: DirectoryStore, experiment: str, log: TrackingLog, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "once")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    served.rule = lambda *_: text(401, "You are not authenticated.")
    with pytest.raises(StoreFailed, match=f"{variable} is set, but is not accepted, or not any more: renew") as failure:
        Relay(store, "digits", served.uri, experiment).push()
    assert "secret" not in str(failure.value)


def test_what_a_proxy_answers_in_mlflows_place_leads_to_the_proxy(
    served: Served, store: DirectoryStore, experiment: str, log: TrackingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", served.uri)
    monkeypatch.setenv("no_proxy", "")
    served.rule = lambda *_: page(403, "Not on the list")
    with pytest.raises(StoreFailed, match="add its host to NO_PROXY"):
        Relay(store, "digits", "http://mlflow.example.com", experiment).push()


@pytest.mark.parametrize("fault", ["signer", "name", "end"])
def test_a_certificate_is_refused_with_what_mends_that_fault(
    store: DirectoryStore, experiment: str, log: TrackingLog, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remedies = {
        "signer": "certificates of those who sign it in REQUESTS_CA_BUNDLE or MLFLOW_TRACKING_SERVER_CERT_PATH",
        "name": "Name MLflow in CLOUDEDGE_TRACKING_URI as its certificate does",
        "end": "Have the certificate of MLflow's server renewed",
    }
    certificate = own_certificate(tmp_path, "other" if fault == "name" else "localhost", days=-1 if fault == "end" else 1)
    if fault != "signer":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serving_tls(certificate) as port, pytest.raises(StoreFailed, match=remedies[fault]):
        Relay(store, "digits", f"https://localhost:{port}", experiment).push()


@pytest.mark.parametrize(("error", "obstacle"), MET)
def test_what_stands_in_the_way_is_told_with_what_mends_it(error: Exception, obstacle: Obstacle) -> None:
    fault = fault_of(error, "https://one.example")
    assert fault.remedy
    assert fault.certain is obstacle.certain


def test_https_to_a_port_without_tls_is_told_at_once(
    served: Served, store: DirectoryStore, experiment: str, log: TrackingLog
) -> None:
    with pytest.raises(StoreFailed, match="No TLS is spoken at that port: correct http or https"):
        Relay(store, "digits", served.uri.replace("http:", "https:"), experiment).push()
    assert Relay(store, "digits", served.uri, experiment).push(patiently=True) == 0


class PanicException(BaseException):
    """What a library in Rust raises where it has a mistake."""


@pytest.fixture
def push_while_it_raises(
    log: TrackingLog, served: Served, store: DirectoryStore, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[BaseException], None]:
    """Send a run's records while MLflow's client raises something."""
    from mlflow import MlflowClient

    def push(raised: BaseException) -> None:
        def broken(*_: object, **__: object) -> None:
            raise raised

        monkeypatch.setattr(MlflowClient, "log_batch", broken)
        Relay(store, "digits", served.uri, experiment).push()

    return push


@pytest.mark.parametrize("raised", [SystemExit(3), SystemExit("no licence"), PanicException("oh"), ImportError("libpq.so.5")])
def test_whatever_a_plugin_of_mlflows_raises_or_wants_the_run_goes_on(
    push_while_it_raises: Callable[[BaseException], None], raised: BaseException
) -> None:
    with pytest.raises(StoreFailed, match="did not take the run's records: .*kept in the store"):
        push_while_it_raises(raised)


@pytest.mark.parametrize("raised", [SystemExit(143), KeyboardInterrupt()])
def test_a_person_who_ends_the_step_while_it_tells_mlflow_ends_it(
    push_while_it_raises: Callable[[BaseException], None], raised: BaseException
) -> None:
    with pytest.raises(type(raised)):
        push_while_it_raises(raised)


def test_a_package_that_mlflow_lacks_is_named(
    log: TrackingLog, store: DirectoryStore, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreFailed, match="Use an image that has the Python package psycopg2"):
        Relay(store, "digits", "postgresql+psycopg2://host/mlflow", experiment).push()
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(StoreFailed, match="Use an image that has the Python package mlflow"):
        Relay(store, "digits", "http://127.0.0.1:9", experiment).push()


def own_certificate(folder: Path, name: str, days: int) -> Path:
    """A certificate that signs itself, with its key; it begins two days ago."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "server.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + secret)
    return file


@contextmanager
def serving_tls(certificate: Path) -> Iterator[int]:
    """A port where TLS is spoken, and nothing after that."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with suppress(OSError), connection, context.wrap_socket(connection, server_side=True):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
