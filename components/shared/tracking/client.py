"""The connection to MLflow: bounded in time, and with one kind of error."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from cloudedge.errors import StoreFailed
from components.shared.tracking.database import artifacts_of, ensure_whole, file_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

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


def experiment_id(client: "MlflowClient", name: str) -> str:
    """Id of the experiment, which is made if there is none; a SQLite database keeps its artifacts beside it."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        file = file_of(client.tracking_uri)
        location = (artifacts_of(file) / quote(name, safe="")).as_uri() if file else None
        try:
            return client.create_experiment(name, artifact_location=location, tags={_KIND_TAG: "custom_model_development"})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            # Another run made it in the meantime.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return found.experiment_id


@contextmanager
def mlflow_errors(tracking_uri: str) -> Iterator[None]:
    """Bound what is done with MLflow in time, and turn all that it, its database or the network may raise into one error.

    Raises:
        StoreFailed: MLflow did not take something; to be tried again later.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        reason = _without_password(str(error).partition("\n")[0][:500], tracking_uri)
        raise StoreFailed(
            f"MLflow at {_without_password(tracking_uri, tracking_uri)} did not take the run's records: {reason.rstrip('.')}. "
            "They are kept in the store, and go there as soon as it takes them."
        ) from None


def _without_password(text: str, uri: str) -> str:
    password, at, _ = urlsplit(uri).netloc.rpartition("@")
    return text.replace(password + at, "") if at else text
