"""What is wrong with an MLflow or on the way to it: whether asking again may help, and what a person can do about it.

MLflow raises one class for nearly everything, and keeps what was really wrong in its text and in what the exception came from.
Both are read here and nowhere else.
"""

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import urllib3

from cloudedge.errors import StoreFailed
from cloudedge.network import Obstacle, causes_of, trouble_of
from cloudedge.texts import readable, shortened

_MOST_CHARACTERS = 500
"""Of what MLflow said that a message repeats."""

_TO_BE_ASKED_AGAIN = (408, 425, 429)
"""Status codes of a server that has no time."""

_STATUS = re.compile(r"failed with error code (\d{3})\b")
_AN_OBJECT = re.compile(r"<\S* object at 0x[0-9a-f]+>:? ?")
_WORDY = (
    re.compile(r"^(?:Mlflow|Rest)Exception: (.)"),
    re.compile(r"^API request to \S+ failed with exception (.)"),
    re.compile(r"^.*? Max retries exceeded with url: .*?\(Caused by (.*)\)", re.DOTALL),
)
"""What MLflow and its libraries say before it comes to the point."""

_A_PAGE = re.compile(r"Response body: '\s*(?=<|[^{]*$)")
"""MLflow's API answers in JSON; a page is somebody else's answer."""
_MARKUP = re.compile(r"\. Response body: '\s*<")

_WITHOUT_PROXY = "If MLflow is to be asked without a proxy, add its host to NO_PROXY."
_NO_ACCESS_TO_S3 = (
    "NoCredentials",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AccessDenied",
    "NoSuchBucket",
    "ExpiredToken",
)

_EDIT = "Give this account the permission to write to that {}, EDIT or MANAGE"
_ADDRESS = (
    "Correct CLOUDEDGE_TRACKING_URI: http(s)://host[:port][/prefix], as a browser opens MLflow's pages, "
    "without what begins at #."
)

_REMEDIES = {
    Obstacle.AUTHORITY: "Name a file with the certificates of those who sign it in REQUESTS_CA_BUNDLE or "
    "MLFLOW_TRACKING_SERVER_CERT_PATH.",
    Obstacle.NAME: "Name MLflow in CLOUDEDGE_TRACKING_URI as its certificate does.",
    Obstacle.EXPIRED: "Have the certificate of MLflow's server renewed.",
    Obstacle.EARLY: "Set this machine's clock, by which the certificate of MLflow's server is not valid yet.",
    Obstacle.PLAIN: "No TLS is spoken at that port: correct http or https, or the port, in CLOUDEDGE_TRACKING_URI.",
    Obstacle.CLIENT: "Name a certificate that MLflow's server accepts, with its key, in MLFLOW_TRACKING_CLIENT_CERT_PATH.",
    Obstacle.HOST: _ADDRESS,
    Obstacle.LOOKUP: _ADDRESS,
    Obstacle.PROXY: _WITHOUT_PROXY,
    Obstacle.PROXY_BUSY: _WITHOUT_PROXY,
    Obstacle.PROXY_AWAY: _WITHOUT_PROXY,
}


@dataclass(frozen=True)
class Fault:
    """What was wrong.

    Attributes:
        reason: What was found, in one line.
        remedy: What mends it, as a sentence; empty if nobody here can tell.
        certain: Whether asking again before somebody mends it is of no use.
    """

    reason: str
    remedy: str = ""
    certain: bool = False

    @property
    def kind(self) -> str:
        """The same for a fault that comes again, whose words may have other numbers in them."""
        return self.remedy or self.reason.partition(":")[0]


EMPTY = Fault("its answers say nothing", f"No MLflow answers there. {_ADDRESS}", certain=True)
"""Of something that answers every request with success, which MLflow's client takes for an object without content."""


class MlflowFailed(StoreFailed):
    """MLflow did not take something.

    Attributes:
        fault: What was wrong.
        again: Whether the run was told of it before.
    """

    again = False

    def __init__(self, message: str, fault: Fault) -> None:
        """Say it.

        Args:
            message: What was not taken, why, and the way out.
            fault: What was wrong.
        """
        super().__init__(message)
        self.fault = fault


def fault_of(error: BaseException, address: str) -> Fault:
    """What is wrong, by what was raised.

    Args:
        error: What MLflow, a library below it or a plugin of it raised.
        address: The MLflow that was spoken to.
    """
    if isinstance(error, MlflowFailed):
        return error.fault
    said = f"{type(error).__name__}: {error}"
    remedy, certain = "", False
    for of in (_of_package, _of_connection, _of_s3, _of_answer):
        found = of(error, said, address)
        if found is not None:
            remedy, certain = found
            break
    return Fault(_reason(said, address), remedy, certain)


def refused(error: BaseException) -> bool:
    """Whether MLflow says no, and not just that it is busy or away: to ask again would be of no use."""
    status = _status(error, str(error))
    return 400 <= status < 500 and status not in _TO_BE_ASKED_AGAIN


def without_password(text: str, address: str) -> str:
    """A text without the account that an address names."""
    account, at, _ = urlsplit(address).netloc.rpartition("@")
    return text.replace(account + at, "") if at else text


def address_fault(address: str) -> Fault | None:
    """What makes an address one that MLflow would take for a folder on this machine, or for none at all."""
    scheme, separated, rest = address.partition("://")
    if scheme in ("http", "https"):
        try:
            parts = urlsplit(address)
            usable = bool(parts.hostname) and parts.port != 0 and parts.hostname == (parts.hostname or "").strip()
        except ValueError:
            usable = False
    else:
        usable = (bool(separated and rest) and scheme != "file") or scheme == "databricks"
    return None if usable else Fault("this is no address of an MLflow", _ADDRESS, certain=True)


_Found = tuple[str, bool] | None
"""Remedy, and whether the fault is certain."""


def _of_package(error: BaseException, _: str, __: str) -> _Found:
    for cause in causes_of(error):
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            return f"Use an image that has the Python package {cause.name.partition('.')[0]}.", True
    return None


def _of_connection(error: BaseException, said: str, address: str) -> _Found:
    if trouble := trouble_of(error):
        return _REMEDIES[trouble.obstacle], trouble.obstacle.certain
    if any(isinstance(cause, ConnectionError | urllib3.exceptions.NewConnectionError) for cause in causes_of(error)):
        return "Check that MLflow's server runs, and CLOUDEDGE_TRACKING_URI.", False
    if "CA certificate bundle" in said:
        return "Have REQUESTS_CA_BUNDLE and MLFLOW_TRACKING_SERVER_CERT_PATH name a file that is there.", True
    return None


def _of_s3(_: BaseException, said: str, __: str) -> _Found:
    if any(code in said for code in _NO_ACCESS_TO_S3) and ("boto" in said or "S3" in said or "credentials" in said.lower()):
        return (
            "This step writes MLflow's artifacts to S3 itself: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be allowed "
            "s3:PutObject there, and MLFLOW_S3_ENDPOINT_URL must name an S3 that is not Amazon's. "
            "Or have MLflow's server write them: --artifacts-destination instead of --default-artifact-root.",
            True,
        )
    return None


def _of_answer(error: BaseException, said: str, address: str) -> _Found:
    status = _status(error, said)
    page = bool(_A_PAGE.search(said))
    if status in (401, 407):
        return (_WITHOUT_PROXY if status == 407 else _account()), True
    if status == 403:
        if "host header" in said.lower():
            return "Start MLflow's server with this host, and its port, in --allowed-hosts.", True
        if page and (_proxied(address) or "Response body: '<" in said):  # MLflow's own word on it is no page.
            return _WITHOUT_PROXY if _proxied(address) else f"No MLflow answers there, or something before it. {_ADDRESS}", True
        if "/registered-models/" in said or "/model-versions/" in said:
            return f"{_EDIT.format('registered model')}, or give the model another name by the task's model_file_name.", True
        return f"{_EDIT.format('experiment')}, or set another account.", True
    if "/mlflow-artifacts/" in said and "503" in said:
        return "If this stays so, MLflow's server takes no files: start it with --serve-artifacts.", False
    if "too many 500 error responses" in said or (status == 500 and isinstance(getattr(error, "json", None), dict)):
        return "The log of MLflow's server says why.", False
    if status == 404 and (page or getattr(error, "error_code", "") == "ENDPOINT_NOT_FOUND"):
        return f"No MLflow answers there, or one older than version 3. {_ADDRESS}", True
    if (page and status < 500) or 300 <= status < 400 or status == 405 or "Exceeded 30 redirects" in said:
        return f"No MLflow answers there. {_WITHOUT_PROXY if _proxied(address) else _ADDRESS}", True
    return "", refused(error)


def _account() -> str:
    given = [name for name in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME") if os.environ.get(name)]
    ways = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    if not given:
        return f"MLflow wants to know who asks: set {ways}."
    return f"{given[-1]} is set, but is not accepted, or not any more: renew {ways}."


def _proxied(address: str) -> bool:
    """Whether MLflow's client asks a proxy, which it decides by rules of its own."""
    from requests.utils import get_environ_proxies, select_proxy

    return bool(select_proxy(address, get_environ_proxies(address)))


def _status(error: BaseException, said: str) -> int:
    """The status code of an answer; 0 if there was none, or none that is known."""
    if found := _STATUS.search(said):
        return int(found[1])
    if "request to endpoint was successful" in said:
        return 200
    told = getattr(error, "json", None)
    if isinstance(told, dict) and not told.get("error_code"):
        # Somebody before MLflow answered, in JSON, of which MLflow keeps no status.
        words = str(told).lower()
        if re.search(r"\b401\b|unauthori[sz]ed|unauthenticated|not authenticated|token.*(expired|invalid)", words):
            return 401
        if re.search(r"\b403\b|forbidden|permission|access denied", words):
            return 403
    code = getattr(error, "get_http_status_code", None)
    return int(code()) if code else 0


def _reason(said: str, address: str) -> str:
    text = _AN_OBJECT.sub("", _MARKUP.split(said)[0])
    for wordy in _WORDY:
        text = wordy.sub(r"\1", text)
    text = without_password(readable(text), address).partition("\n")[0]
    return shortened(text, _MOST_CHARACTERS).rstrip(".:! ")
