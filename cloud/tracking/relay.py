"""Carries a run's records from its store to MLflow: everything at least once, and every metric point there exactly once."""

import contextlib
import logging
import tempfile
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from cloud.tracking.client import connect, mlflow_errors
from cloud.tracking.log import MAX_BATCH_BYTES, TrackingLog
from cloud.tracking.records import Registered, Registration, TrackingBatch
from cloud.tracking.registry import register
from cloud.tracking.runs import Runs, news_of
from cloudedge.documents.base import Document, parse
from cloudedge.errors import Conflict, InvalidInput, InvalidModel, NotFound
from cloudedge.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

_log = logging.getLogger(__name__)


class Cursor(Document):
    """How far a run's records have been carried."""

    token: str = Field(pattern=r"^[0-9a-f]{32}$", description="What the run is found again by in MLflow.")
    parent: str = Field(default="", description="MLflow's id of the run that was told.")
    versions: dict[str, str] = Field(default_factory=dict, description="Version of each batch of records that was carried.")


class Relay:
    """Sends what is new of one run. One relay for a run at a time; another process may go on where this one was."""

    def __init__(self, store: Store, run: str, tracking_uri: str, experiment: str, given: str = "") -> None:
        """Nothing is opened or imported before there is something to send.

        Args:
            store: Where the run is kept.
            run: Id of the run.
            tracking_uri: MLflow's address: https://..., or sqlite:///file.
            experiment: Name of the MLflow experiment.
            given: MLflow's id of the run that Kubeflow made for this one or for one of its tasks; empty: none.
        """
        self._store = store
        self._run = run
        self._tracking_uri = tracking_uri
        self._experiment = experiment
        self._given = given
        self._log = TrackingLog(store, run)
        self._client: MlflowClient | None = None
        self._runs: Runs | None = None
        self._cursor: Cursor | None = None

    def open(self) -> "MlflowClient":
        """Connect; it takes seconds, so whoever will push may do it ahead of time.

        Raises:
            StoreFailed: MLflow is away.
        """
        if self._client is None:
            with mlflow_errors(self._tracking_uri):
                self._client = connect(self._tracking_uri)
        return self._client

    def push(self) -> int:
        """Send everything new.

        Returns:
            Number of metric points that MLflow did not have before.

        Raises:
            StoreFailed: MLflow or the store is away; call again later, nothing is lost.
        """
        written = dict(self._log.versions())
        cursor = self._cursor or self._read_cursor()
        if written == cursor.versions:
            return 0
        client = self.open()
        with mlflow_errors(self._tracking_uri):
            # After a failure MLflow may come back as another than it was: it is looked at anew.
            runs, self._runs = self._runs or Runs(client, self._run, self._experiment, cursor.token, self._given), None
            # A run that MLflow did not have (another server, a lost database, a run thrown away) is told everything.
            carried = cursor.versions if cursor.parent == runs.parent else {}
            points = self._send(client, runs, [name for name, version in written.items() if carried.get(name) != version])
            self._runs = runs
        told = Cursor(token=cursor.token, parent=runs.parent, versions=written)
        self._store.put(self._key("relayed.json"), told.to_json())
        self._cursor = told
        return points

    def registered(self) -> Registered | None:
        """The version that this run's model has in the registry, or None if it has none yet."""
        key = self._key("registered.json")
        try:
            return parse(Registered, self._store.get(key, MAX_BATCH_BYTES), key)
        except NotFound:
            return None

    def _send(self, client: "MlflowClient", runs: Runs, names: list[str]) -> int:
        batches = [batch for batch in map(self._read, names) if batch is not None]
        news = news_of(record for batch in batches for record in batch.records)
        runs.make(began=min((some.began for some in news.values()), default=datetime.now(UTC)))
        points = runs.tell(news)
        for batch in batches:
            if batch.registration is not None:
                self._register(client, runs, batch.registration)
        for batch in batches:
            for name, key in batch.files.items():
                self._upload(client, runs.parent, name, key)
        return points

    def _register(self, client: "MlflowClient", runs: Runs, registration: Registration) -> None:
        try:
            registered = register(client, self._store, self._run, runs, registration)
        except NotFound as error:
            _log.warning("The model is not registered, because its file is gone: %s", error)
        except InvalidModel as error:
            _log.warning("The model is not registered: %s", error)
        else:
            self._store.put(self._key("registered.json"), registered.to_json())

    def _upload(self, client: "MlflowClient", run_id: str, name: str, key: str) -> None:
        with tempfile.TemporaryDirectory(prefix="cloudedge-file-") as folder:
            try:
                with self._store.local(key) as file:
                    (Path(folder) / name).symlink_to(file)
                    client.log_artifact(run_id, str(Path(folder) / name))
            except NotFound as error:
                _log.warning("A file of the run is not shown in MLflow, because it is gone: %s", error)

    def _read(self, name: str) -> TrackingBatch | None:
        try:
            return self._log.read(name)
        except (NotFound, InvalidInput) as error:
            # What nobody can read must not keep back what follows it.
            _log.warning("Records for MLflow are left out: %s", error)
            return None

    def _read_cursor(self) -> Cursor:
        key = self._key("relayed.json")
        with contextlib.suppress(Conflict):
            self._store.put(key, Cursor(token=uuid.uuid4().hex).to_json(), once=True)
        return parse(Cursor, self._store.get(key, MAX_BATCH_BYTES), key, MAX_BATCH_BYTES)

    def _key(self, name: str) -> str:
        return f"runs/{self._run}/tracking/{name}"
