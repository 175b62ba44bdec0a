"""The connection to MLflow: bounded in time, and with one kind of error."""

import gc
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from cloud.tracking.database import artifacts_of, ensure_whole, file_of
from cloud.tracking.faults import EMPTY, Fault, MlflowFailed, address_fault, fault_of, without_password
from cloud.tracking.mlflow_records import NOTE_TAG
from cloudedge.errors import CloudedgeError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

_ENVIRONMENT = {
    # MLflow's own bounds, 120 s and 7 retries with back-off, would keep a step waiting for a quarter of an hour.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    # boto3's, where S3 is not proxied: 60 s each of five times.
    "AWS_MAX_ATTEMPTS": "2",
    # What people train is nobody else's business.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A step's output is for its user: no address per finished run, no word on how a database is made.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}

_RECORDS = "did not take the run's records"
"""What MLflow did not do, as long as nothing else is said."""

_KIND_TAG = "mlflow.experimentKind"
"""Without it MLflow's menu lists only what concerns language models, and nobody finds the training runs."""

_opening = threading.Lock()
"""A new database is made by one of several threads that need it."""

_TERMINATED = 128 + signal.SIGTERM
"""What a step that is told to end exits with; any other exit is one that a plugin of MLflow's wants."""


def connect(tracking_uri: str) -> "MlflowClient":
    """Connect to a server, or open a database and bring it to the present form.

    Importing MLflow takes about 3 s of CPU, opening a database another 1 s, making a new one 1 s more. To be used within
    `mlflow_errors`, which also bounds the time of each call.
    """
    if fault := address_fault(tracking_uri):
        raise failure(tracking_uri, fault)
    with _opening, _nothing_collected():
        from mlflow import MlflowClient

        file = file_of(tracking_uri)
        if file:
            ensure_whole(file)
        return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Look for no garbage meanwhile: of what is imported nothing is, and looking for it costs a tenth of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def experiment_of(client: "MlflowClient", name: str, note: str = "") -> "Experiment":
    """The experiment of a name, which is made if there is none.

    Beside a SQLite database its artifacts are kept in a folder of their own; MLflow's default would be the folder that the
    process happens to work in.

    Args:
        client: Connection.
        name: Name of the experiment.
        note: What a new one's page says, Markdown.

    Raises:
        MlflowFailed: what answers is no MLflow.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None and found.name != name:
        raise failure(client.tracking_uri, EMPTY)
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


@contextmanager
def mlflow_errors(tracking_uri: str, what: str = _RECORDS) -> Iterator[None]:
    """Bound what is done with MLflow in time, and turn all that it, its database or the network may raise into one error.

    Args:
        tracking_uri: MLflow's address.
        what: What is not done if that fails, as MLflow's predicate.

    Raises:
        MlflowFailed: MLflow did not take something.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        yield
    except (CloudedgeError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        # MLflow, a plugin of it, its database, a proxy before it: whatever they raise, no run's outcome is changed by it.
        if isinstance(error, SystemExit) and error.code == _TERMINATED:
            raise
        raise failure(tracking_uri, fault_of(error, tracking_uri), what) from None


def failure(tracking_uri: str, fault: Fault, what: str = _RECORDS) -> MlflowFailed:
    """What is raised of a fault."""
    place = without_password(tracking_uri, tracking_uri)
    said = f"MLflow at {place} {what}: {fault.reason}. {fault.remedy[:1].upper()}{fault.remedy[1:]}".rstrip()
    return MlflowFailed(f"{said} What it lacks is kept in the store, and goes there as soon as it takes it.", fault)
