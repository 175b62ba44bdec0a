"""A run and its child runs in MLflow: found or made once, and told each thing once."""

import logging
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cloudedge.documents.base import canonical_json
from components.shared.tracking.client import experiment_id
from components.shared.tracking.history import History
from components.shared.tracking.records import Dataset, MetricPoint, TrackingRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Param, Run

RUN_TAG = "cloudedge.run"
CHILD_TAG = "cloudedge.child"
TOKEN_TAG = "cloudedge.tracking"  # noqa: S105 - no secret
ROUND_TAG = "cloudedge.round"
EDGE_TAG = "cloudedge.edge"

_MOST_METRICS = 800
"""In one call; MLflow takes 1000 things in all, of which up to 100 parameters and 100 tags."""
_MOST_OTHERS = 100
_DIGEST_LENGTH = 32
"""Digits of a dataset's fingerprint; MLflow takes up to 36."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_log = logging.getLogger(__name__)


@dataclass
class News:
    """All that is new of one run or child run, in one piece."""

    began: datetime
    round: int | None = None
    edge: str | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[MetricPoint] = field(default_factory=list)
    dataset: Dataset | None = None
    status: str | None = None
    status_at: datetime | None = None


def news_of(records: Iterable[TrackingRecord]) -> dict[str | None, News]:
    """Merge records by child run, oldest first, so that the newest tag and status stand and the first parameter does."""
    merged: dict[str | None, News] = {}
    for record in sorted(records, key=lambda record: record.at):
        news = merged.setdefault(record.child, News(began=record.at))
        news.round = record.round if news.round is None else news.round
        news.edge = news.edge or record.edge
        news.params = record.params | news.params
        news.tags |= record.tags
        news.metrics += record.metrics
        news.dataset = record.dataset or news.dataset
        if record.status is not None:
            news.status, news.status_at = record.status, record.at
    return merged


class Runs:
    """The MLflow run of a run, and its children.

    Attributes:
        parent: MLflow's id of the run; empty as long as MLflow does not have it.
        experiment: Id of the experiment that they are in.
    """

    def __init__(self, client: "MlflowClient", run: str, experiment: str, token: str) -> None:
        """Look for the run in MLflow.

        It is the run that MLFLOW_RUN_ID names, if that is set: Kubeflow made it for us. Otherwise it is the one that carries
        our token.

        Args:
            client: Connection.
            run: Id of the run, and its name in MLflow.
            experiment: Name of the experiment, where MLflow runs are made.
            token: What a run made here is found again by.
        """
        self._client = client
        self._run = run
        self._token = token
        self._histories: dict[str, History] = {}
        self._children: dict[str, str] = {}
        given = os.environ.get("MLFLOW_RUN_ID")
        self._ours = not given
        self.parent = ""
        if given:
            found = _root(client, given)
            client.set_tag(found.info.run_id, RUN_TAG, run)
            self.parent, self.experiment = found.info.run_id, found.info.experiment_id
        else:
            self.experiment = experiment_id(client, experiment)
            for same in client.search_runs([self.experiment], f"tags.`{TOKEN_TAG}` = '{token}'", max_results=1):
                self.parent = same.info.run_id
        self._all_children_known = not self.parent

    def make(self, began: datetime) -> None:
        """Make the run, if MLflow does not have it.

        Args:
            began: When the run began.
        """
        if not self.parent:
            tags = {RUN_TAG: self._run, TOKEN_TAG: self._token}
            self.parent = self._create(self._run, began, tags)

    def send(self, child: str | None, news: News) -> int:
        """Tell MLflow what is new of the run (`child` is None) or of a child run, in as few calls as it takes.

        Returns:
            Number of metric points that MLflow did not have.
        """
        run_id = self.parent if child is None else self._child(child, news)
        if run_id not in self._histories:
            self._histories[run_id] = History(self._client, run_id, new=False)
        history = self._histories[run_id]
        if history.deleted:
            return 0
        points = history.unsent(news.metrics)
        self._log(run_id, news, points)
        history.sent(points)
        if news.dataset:
            self._client.log_inputs(run_id, [_dataset_input(news.dataset)])
        if news.status and (child is not None or self._ours):
            if news.status == "running":
                self._client.update_run(run_id, "RUNNING")
            elif news.status_at is not None:
                self._client.set_terminated(run_id, news.status.upper(), _milliseconds(news.status_at))
        return len(points)

    def _child(self, name: str, news: News) -> str:
        if name not in self._children:
            self._find_children()
        if name not in self._children:
            tags = {"mlflow.parentRunId": self.parent, CHILD_TAG: name}
            if news.round is not None:
                tags[ROUND_TAG] = str(news.round)
            if news.edge is not None:
                tags[EDGE_TAG] = news.edge
            self._children[name] = self._create(name, news.began, tags)
        return self._children[name]

    def _create(self, name: str, began: datetime, tags: dict[str, str]) -> str:
        made = self._client.create_run(self.experiment, start_time=_milliseconds(began), tags=tags, run_name=name)
        self._histories[made.info.run_id] = History(self._client, made.info.run_id, new=True)
        return str(made.info.run_id)

    def _find_children(self) -> None:
        from mlflow.entities import ViewType

        mine = f"tags.`mlflow.parentRunId` = '{self.parent}'"
        page: str | None = None
        while not self._all_children_known:
            found = self._client.search_runs([self.experiment], mine, ViewType.ALL, max_results=1000, page_token=page)
            for child in found:
                if name := child.data.tags.get(CHILD_TAG):
                    self._children[name] = child.info.run_id
            page = found.token
            self._all_children_known = not page

    def _log(self, run_id: str, news: News, points: Sequence[MetricPoint]) -> None:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException

        metrics = [Metric(point.key, point.value, _milliseconds(point.at), point.step) for point in points]
        params = [Param(key, value) for key, value in news.params.items()]
        tags = [RunTag(key, value) for key, value in news.tags.items()]
        calls = max(math.ceil(len(metrics) / _MOST_METRICS), math.ceil(max(len(params), len(tags)) / _MOST_OTHERS))
        for call in range(calls):
            some_metrics = metrics[call * _MOST_METRICS : (call + 1) * _MOST_METRICS]
            some_params = params[call * _MOST_OTHERS : (call + 1) * _MOST_OTHERS]
            some_tags = tags[call * _MOST_OTHERS : (call + 1) * _MOST_OTHERS]
            try:
                self._client.log_batch(run_id, some_metrics, some_params, some_tags, synchronous=True)
            except MlflowException as error:
                if error.error_code != "INVALID_PARAMETER_VALUE" or not some_params:
                    raise
                self._client.log_batch(run_id, some_metrics, self._new_params(run_id, some_params), some_tags, synchronous=True)

    def _new_params(self, run_id: str, params: Sequence["Param"]) -> list["Param"]:
        known = self._client.get_run(run_id).data.params
        changed = sorted(param.key for param in params if param.key in known and known[param.key] != param.value)
        _log.info("MLflow keeps the first values of the parameters %s.", ", ".join(changed))
        return [param for param in params if param.key not in known]


def _dataset_input(dataset: Dataset) -> "DatasetInput":
    from mlflow.entities import Dataset as MlflowDataset
    from mlflow.entities import DatasetInput, InputTag

    profile = canonical_json({"num_rows": dataset.samples}).decode()
    source = canonical_json({"of": dataset.name}).decode()
    digest = dataset.fingerprint[:_DIGEST_LENGTH]
    named = MlflowDataset(dataset.name, digest, "cloudedge", source, profile=profile)
    return DatasetInput(named, [InputTag("mlflow.data.context", "training")])


def _root(client: "MlflowClient", run_id: str) -> "Run":
    run = client.get_run(run_id)
    # Kubeflow's plugin gives every task a run of its own below the pipeline's; the tasks share what is above them.
    while "KFP_MLFLOW_CONFIG" in os.environ and (parent := run.data.tags.get("mlflow.parentRunId")):
        run = client.get_run(parent)
    return run


def _milliseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)
