"""The connection to MLflow: bounded in time, and with one kind of error."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from cloud.tracking.database import artifacts_of, ensure_whole, file_of
from cloud.tracking.records import NOTE_TAG
from cloudedge.errors import CloudedgeError, StoreFailed

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment
    from mlflow.exceptions import MlflowException

_ENVIRONMENT = {
    # MLflow's own bounds, 120 s and 7 retries with back-off, would keep a step waiting for a quarter of an hour.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    # What people train is nobody else's business.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A step's output is for its user: no address per finished run, no word on how a database is made.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}

_KIND_TAG = "mlflow.experimentKind"
"""Without it MLflow's menu lists only what concerns language models, and nobody finds the training runs."""


_TO_BE_ASKED_AGAIN = (408, 425, 429)
"""Status codes of a server that has no time."""


def connect(tracking_uri: str) -> "MlflowClient":
    """Connect to a server, or open a database and bring it to the present form.

    Importing MLflow takes about 3 s of CPU, opening a database another 1 s, making a new one 1 s more. To be used within
    `mlflow_errors`, which also bounds the time of each call.
    """
    from mlflow import MlflowClient

    file = file_of(tracking_uri)
    if file:
        ensure_whole(file)
    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def experiment_of(client: "MlflowClient", name: str, note: str = "") -> "Experiment":
    """The experiment of a name, which is made if there is none.

    Beside a SQLite database its artifacts are kept in a folder of their own; MLflow's default would be the folder that the
    process happens to work in.

    Args:
        client: Connection.
        name: Name of the experiment.
        note: What a new one's page says, Markdown.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        file = file_of(client.tracking_uri)
        location = (artifacts_of(file) / quote(name, safe="")).as_uri() if file else None
        tags = {_KIND_TAG: "custom_model_development"} | ({NOTE_TAG: note} if note else {})
        try:
            return client.get_experiment(client.create_experiment(name, artifact_location=location, tags=tags))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            # Another run made it in the meantime.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return found


def refused(error: "MlflowException") -> bool:
    """Whether MLflow says no, and not just that it is busy or away: to ask again would be of no use."""
    status = error.get_http_status_code()  # type: ignore[no-untyped-call]
    return 400 <= status < 500 and status not in _TO_BE_ASKED_AGAIN


@contextmanager
def mlflow_errors(tracking_uri: str) -> Iterator[None]:
    """Bound what is done with MLflow in time, and turn all that it, its database or the network may raise into one error.

    Raises:
        StoreFailed: MLflow did not take something; to be tried again later.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        yield
    except CloudedgeError:
        raise
    except Exception as error:
        # MLflow, its database, a proxy before it: whatever they raise, no run's outcome is changed by it.
        said = f"{type(error).__name__}: {error}".partition("\n")[0][:500]
        reason = _without_password(said, tracking_uri).rstrip(".: ")
        raise StoreFailed(
            f"MLflow at {_without_password(tracking_uri, tracking_uri)} did not take the run's records: {reason}. "
            "They are kept in the store, and go there as soon as it takes them."
        ) from None


def _without_password(text: str, uri: str) -> str:
    password, at, _ = urlsplit(uri).netloc.rpartition("@")
    return text.replace(password + at, "") if at else text
