"""Carries a run's records from its store to MLflow: everything at least once, and every metric point there exactly once.

What MLflow does not take holds up nothing else: neither its run nor what else there is to tell. It stays in the store until
MLflow takes it, and what was wrong stands beside it.
"""

import contextlib
import logging
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import AwareDatetime, Field

from cloud.keys import run_key
from cloud.tracking.artifacts import unwritable
from cloud.tracking.client import connect, failure, mlflow_errors
from cloud.tracking.faults import MlflowFailed
from cloud.tracking.log import MAX_BATCH_BYTES, TrackingLog
from cloud.tracking.mlflow_records import Registered, Registration, TrackingBatch
from cloud.tracking.registry import register
from cloud.tracking.runs import Runs, news_of
from cloudedge.documents.base import Document, parse
from cloudedge.errors import Conflict, InvalidInput, InvalidModel, NotFound
from cloudedge.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

_CERTAIN_SECONDS = 600.0
"""Pause before an MLflow is asked again that will not take anything until somebody mends it."""

_SHARE = 0.1
"""Of a step's time that goes at most into asking an MLflow that is away or hangs."""

_REGISTRATION = "did not register the model"
_FILES = "did not take the run's files"
_OWN_MODEL = "register"
"""Name of what the step of this name says: its model is the run's. What others say registers models beside it."""
_NO_FILES = "takes the run's figures, but neither its model nor its report"

FoundT = TypeVar("FoundT", bound=Document)

_log = logging.getLogger(__name__)


class Cursor(Document):
    """How far a run's records have been carried."""

    token: str = Field(pattern=r"^[0-9a-f]{32}$", description="What the run is found again by in MLflow.")
    parent: str = Field(default="", description="MLflow's id of the run that was told.")
    versions: dict[str, str] = Field(default_factory=dict, description="Version of each batch of records that was carried.")


class Trouble(Document):
    """What MLflow did not take when it was last asked, or will not take."""

    message: str = Field(description="What was not taken, why, and what mends it.")
    kind: str = Field(description="The same for a fault that comes again in other words.")
    at: AwareDatetime = Field(description="When it was so.")
    until: AwareDatetime = Field(description="Before that time MLflow is not asked again while a step does its work.")


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
        self._trouble: Trouble | None = None
        self._trouble_known = False
        self._withheld: dict[str, str] = {}
        """Version of each batch with something that MLflow certainly does not take from this process."""

    def open(self) -> "MlflowClient":
        """Connect; it takes seconds, so whoever will push may do it ahead of time.

        Raises:
            StoreFailed: MLflow is away.
        """
        if self._client is None:
            with mlflow_errors(self._tracking_uri):
                self._client = connect(self._tracking_uri)
        return self._client

    def push(self, *, patiently: bool = False, anew: bool = False) -> int:
        """Send everything new.

        Args:
            patiently: Leave MLflow alone if it took nothing a moment ago.
            anew: Ask MLflow what it has, even if it was told everything: it may be another one.

        Returns:
            Number of metric points that MLflow did not have before.

        Raises:
            StoreFailed: MLflow or the store is away, or MLflow did not take a part; call again later, nothing is lost.
        """
        written = dict(self._log.versions())
        cursor = self._cursor or self._read_cursor()
        if written == cursor.versions | self._withheld and not anew:
            return 0
        former = self._former_trouble()
        if patiently and former and _still(former):
            return 0
        began = time.monotonic()
        try:
            points, left = self._push(written, cursor)
        except MlflowFailed as error:
            self._keep(error, _CERTAIN_SECONDS if error.fault.certain else (time.monotonic() - began) / _SHARE)
            raise
        if left:
            self._keep(left[0])
            raise left[0]
        if former:
            self._store.delete(_trouble_key(self._run))
            self._trouble = None
        return points

    def _push(self, written: dict[str, str], cursor: Cursor) -> tuple[int, list[MlflowFailed]]:
        client = self.open()
        with mlflow_errors(self._tracking_uri):
            # After a failure MLflow may come back as another than it was: it is looked at anew.
            runs, self._runs = self._runs or Runs(client, self._run, self._experiment, cursor.token, self._given), None
            # A run that MLflow did not have (another server, a lost database, a run thrown away) is told everything.
            carried = cursor.versions | self._withheld if cursor.parent == runs.parent else {}
            fresh = [name for name, version in written.items() if carried.get(name) != version]
            points, left, withheld = self._send(client, runs, fresh)
            self._runs = runs
        if left and all(error.fault.certain for error in left):
            self._withheld |= {name: written[name] for name in withheld}
        versions = {name: version for name, version in written.items() if name not in withheld | set(self._withheld)}
        told = Cursor(token=cursor.token, parent=runs.parent, versions=versions)
        self._store.put(self._key("relayed.json"), told.to_json())
        self._cursor = told
        return points, left

    def _keep(self, error: MlflowFailed, seconds: float = 0) -> None:
        former, kind, at = self._trouble, error.fault.kind, datetime.now(UTC)
        error.again = former is not None and former.kind == kind
        if error.again and not seconds:
            return
        until = at + timedelta(seconds=min(seconds, _CERTAIN_SECONDS))
        self._trouble, self._trouble_known = Trouble(message=str(error), kind=kind, at=at, until=until), True
        self._store.put(_trouble_key(self._run), self._trouble.to_json())

    def _former_trouble(self) -> Trouble | None:
        if not self._trouble_known:
            self._trouble, self._trouble_known = trouble_of(self._store, self._run), True
        return self._trouble

    def _send(self, client: "MlflowClient", runs: Runs, names: list[str]) -> tuple[int, list[MlflowFailed], set[str]]:
        """Tell what these batches have to say.

        Returns:
            Number of metric points that MLflow did not have, what it did not take, and the batches with any of that.
        """
        batches = {name: batch for name in names if (batch := self._read(name)) is not None}
        news = news_of(record for batch in batches.values() for record in batch.records)
        runs.make(began=min((some.began for some in news.values()), default=datetime.now(UTC)))
        points = runs.tell(news)
        parts: list[tuple[str, str, Callable[[], None]]] = []
        for name, batch in batches.items():
            for called, key in batch.files.items():
                parts.append((name, _FILES, partial(self._upload, client, runs.parent, called, key)))
        for name, batch in batches.items():
            if batch.registration is not None:
                parts.append((name, _REGISTRATION, partial(self._register, client, runs, name, batch.registration)))
        if fault := unwritable(runs.artifacts, self._tracking_uri):
            return points, [failure(self._tracking_uri, fault, _NO_FILES)], {name for name, _, _ in parts}
        left: list[MlflowFailed] = []
        withheld = set[str]()
        for name, what, do in parts:
            if left and not left[-1].fault.certain:  # It may be away, and be so for each of them.
                withheld.add(name)
                continue
            try:
                with mlflow_errors(self._tracking_uri, what):
                    do()
            except MlflowFailed as error:
                left.append(error)
                withheld.add(name)
        return points, left, withheld

    def _register(self, client: "MlflowClient", runs: Runs, name: str, registration: Registration) -> None:
        try:
            registered = register(client, self._store, self._run, runs, registration)
        except NotFound as error:
            _log.warning("The model is not registered, because its file is gone: %s", error)
        except InvalidModel as error:
            _log.warning("The model is not registered: %s", error)
        else:
            if name == _OWN_MODEL:
                self._store.put(_registered_key(self._run), registered.to_json())

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
        key = _cursor_key(self._run)
        with contextlib.suppress(Conflict):
            self._store.put(key, Cursor(token=uuid.uuid4().hex).to_json(), once=True)
        return parse(Cursor, self._store.get(key, MAX_BATCH_BYTES), key, MAX_BATCH_BYTES)

    def _key(self, name: str) -> str:
        return run_key(self._run, "tracking", name)


def _cursor_key(run: str) -> str:
    return run_key(run, "tracking", "relayed.json")


def registered_of(store: Store, run: str) -> Registered | None:
    """The version that a run's model has in the registry, or None if it has none yet."""
    return _found(store, Registered, _registered_key(run))


def mlflow_run_of(store: Store, run: str) -> str:
    """MLflow's id of a run; empty: MLflow has not been told of it yet."""
    cursor = _found(store, Cursor, _cursor_key(run))
    return cursor.parent if cursor else ""


def trouble_of(store: Store, run: str) -> Trouble | None:
    """What MLflow did not take of a run, or None if it has taken everything that it was told."""
    return _found(store, Trouble, _trouble_key(run))


def is_owed(store: Store, run: str) -> bool:
    """Whether MLflow has not taken all of a run; its steps, done again, do nothing else than to tell it."""
    return trouble_of(store, run) is not None


def _found(store: Store, kind: type[FoundT], key: str) -> FoundT | None:
    try:
        return parse(kind, store.get(key, MAX_BATCH_BYTES), key)
    except NotFound:
        return None
    except InvalidInput as error:
        _log.warning("%s", error)
        return None


def _registered_key(run: str) -> str:
    return run_key(run, "tracking", "registered.json")


def _trouble_key(run: str) -> str:
    return run_key(run, "tracking", "trouble.json")


def _still(trouble: Trouble) -> bool:
    """Whether MLflow is to be left alone; a clock that was far ahead when it was written shall not make that longer."""
    return timedelta() < trouble.until - datetime.now(UTC) <= timedelta(seconds=_CERTAIN_SECONDS)
