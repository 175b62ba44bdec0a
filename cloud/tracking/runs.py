"""A run and its child runs in MLflow: found or made once, and told each thing once."""

import functools
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from cloud.tracking.client import experiment_of, failure
from cloud.tracking.faults import EMPTY, Fault, refused
from cloud.tracking.history import History
from cloud.tracking.mlflow_records import NOTE_TAG, Dataset, MetricPoint, TrackingRecord
from cloud.tracking.names import mlflow_name
from cloud.tracking.sweeps import PARENT_TAG, SWEEP_TAG
from cloudedge.documents.base import canonical_json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Experiment, Param, Run

RUN_TAG = "cloudedge.run"
CHILD_TAG = "cloudedge.child"
TOKEN_TAG = "cloudedge.tracking"  # noqa: S105 - no secret
ROUND_TAG = "cloudedge.round"
EDGE_TAG = "cloudedge.edge"

_MOST_METRICS = 800
"""In one call; MLflow takes 1000 things in all, of which up to 100 parameters and 100 tags."""
_MOST_OTHERS = 100
_MOST_OF_A_TAG = 8000
"""Characters that MLflow keeps of a tag's value."""
_DIGEST_LENGTH = 32
"""Digits of a dataset's fingerprint; MLflow takes up to 36."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_log = logging.getLogger(__name__)


@dataclass
class News:
    """All that is new of one run or child run, in one piece and by MLflow's names."""

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
        news.params = _named(record.params) | news.params
        news.tags |= _named(record.tags)
        news.metrics += [point.model_copy(update={"key": mlflow_name(point.key)}) for point in record.metrics]
        news.dataset = record.dataset or news.dataset
        if record.status is not None:
            news.status, news.status_at = record.status, record.at
    return merged


class Runs:
    """The MLflow run of a run, over its rounds; and its children, over epochs: pretraining and one for each edge.

    MLflow lists a hundred runs at a time, children among them, so the children have an experiment of their own: among those
    of fifty runs with ten edges nobody would find a run. Where MLflow does not let us make one, they are in their run's, and
    so are those that an earlier version made.

    Attributes:
        parent: MLflow's id of the run; empty as long as MLflow does not have it.
        experiment: Id of the experiment that it is in.
        artifacts: Where MLflow says that the run's artifacts are to lie; empty as long as it does not have the run.
    """

    def __init__(self, client: "MlflowClient", run: str, experiment: str, token: str, given: str = "") -> None:
        """Look for the run in MLflow.

        It is the one that Kubeflow made for us, if MLflow has it. Otherwise it is the one that carries our token.

        Args:
            client: Connection.
            run: Id of the run, and its name in MLflow.
            experiment: Name of the experiment, where MLflow runs are made.
            token: What a run made here is found again by.
            given: MLflow's id of the run that Kubeflow made for the run or for one of its tasks; empty: none.

        Raises:
            MlflowFailed: somebody threw the experiment away.
        """
        self._client = client
        self._run = run
        self._token = token
        self._histories: dict[str, History] = {}
        self._children: dict[str, Run] = {}
        root = _root(client, given) if given else None
        self._ours = root is None
        self.artifacts = ""
        if root is not None:
            self.artifacts = root.info.artifact_uri
            self.parent, self.experiment = root.info.run_id, root.info.experiment_id
            self._experiment_name = client.get_experiment(self.experiment).name
            client.set_tag(self.parent, RUN_TAG, run)
        else:
            found = experiment_of(client, experiment)
            if found.lifecycle_stage != "active":
                raise failure(client.tracking_uri, _thrown_away(found))
            self.parent, self.experiment = "", found.experiment_id
            self._experiment_name = experiment
            for same in client.search_runs([self.experiment], f"tags.`{TOKEN_TAG}` = '{token}'", max_results=1):
                self.parent, self.artifacts = same.info.run_id, same.info.artifact_uri
        self._all_children_known = not self.parent

    def make(self, began: datetime) -> None:
        """Make the run, if MLflow does not have it.

        Args:
            began: When the run began.
        """
        if not self.parent:
            tags = {RUN_TAG: self._run, TOKEN_TAG: self._token}
            made = self._create(self.experiment, self._run, began, tags).info
            self.parent, self.artifacts = made.run_id, made.artifact_uri

    def tell(self, news: Mapping[str | None, News]) -> int:
        """Tell MLflow what is new of the run (under None) and of its child runs, in as few calls as it takes.

        Returns:
            Number of metric points that MLflow did not have.
        """
        known = set(self._children)
        points = 0
        for name, of_child in news.items():
            if name is not None and (child := self._child(name, of_child)):
                points += self._send(child.info.run_id, of_child, ends=True)
        own = news.get(None)
        if own is not None and NOTE_TAG in own.tags:
            own.tags[NOTE_TAG] = self._with_link(own.tags[NOTE_TAG])
        elif set(self._children) - known:
            note = self._client.get_run(self.parent).data.tags.get(NOTE_TAG, "")
            if note != (linked := self._with_link(note)):
                self._client.set_tag(self.parent, NOTE_TAG, linked)
        return points + (self._send(self.parent, own, ends=self._ours) if own else 0)

    def _send(self, run_id: str, news: News, *, ends: bool) -> int:
        if run_id not in self._histories:
            self._histories[run_id] = History(self._client, self._client.get_run(run_id))
        history = self._histories[run_id]
        if history.deleted:
            return 0
        points = history.unsent(news.metrics)
        self._log(run_id, news, points)
        history.sent(points)
        if news.dataset:
            self._log_dataset(run_id, news.dataset)
        if news.status and ends:
            if news.status == "running":
                self._client.update_run(run_id, "RUNNING")
            elif news.status_at is not None:
                self._client.set_terminated(run_id, news.status.upper(), _milliseconds(news.status_at))
        return len(points)

    def _child(self, name: str, news: News) -> "Run | None":
        """The child run of a name, which is made if there is none; None where somebody threw all of them away."""
        from mlflow.exceptions import MlflowException

        if name not in self._children:
            self._find_children()
        if name not in self._children and self._experiment_of_children is not None:
            tags = {PARENT_TAG: self.parent, RUN_TAG: self._run, CHILD_TAG: name}
            if news.round is not None:
                tags[ROUND_TAG] = str(news.round)
            if news.edge is not None:
                tags[EDGE_TAG] = news.edge
            called = f"{self._run}/{name.removeprefix('edge/')}"
            try:
                self._children[name] = self._create(self._experiment_of_children, called, news.began, tags)
            except MlflowException as error:
                if not refused(error) or self._experiment_of_children == self.experiment:
                    raise
                self._experiment_of_children = self.experiment
                self._children[name] = self._create(self.experiment, called, news.began, tags)
        return self._children.get(name)

    @functools.cached_property
    def _experiment_of_children(self) -> str | None:
        """Id of the experiment that new child runs are made in; None if somebody threw it away."""
        from mlflow.exceptions import MlflowException

        note = (
            f"Epoch by epoch: what the runs in [{self._experiment_name}](#/experiments/{self.experiment}/runs) trained. "
            "Each has a run here for its pretraining, and one for each of its edges."
        )
        try:
            found = experiment_of(self._client, _of_epochs(self._experiment_name), note)
        except MlflowException as error:
            if not refused(error):
                raise
            return self.experiment
        return found.experiment_id if found.lifecycle_stage == "active" else None

    def _create(self, experiment: str, name: str, began: datetime, tags: dict[str, str]) -> "Run":
        made = self._client.create_run(experiment, start_time=_milliseconds(began), tags=tags, run_name=name)
        if not made.info.run_id:
            raise failure(self._client.tracking_uri, EMPTY)
        self._histories[made.info.run_id] = History(self._client, made)
        return made

    def _find_children(self) -> None:
        from mlflow.exceptions import MlflowException

        if self._all_children_known:
            return
        self._find_children_in(self.experiment)
        try:
            beside = self._client.get_experiment_by_name(_of_epochs(self._experiment_name))
            if beside is not None:
                self._find_children_in(beside.experiment_id)
        except MlflowException as error:
            if not refused(error):  # Where we may not look, none of ours is.
                raise
        self._all_children_known = True

    def _find_children_in(self, experiment: str) -> None:
        from mlflow.entities import ViewType

        mine = f"tags.`{PARENT_TAG}` = '{self.parent}'"
        page: str | None = ""
        while page is not None:
            found = self._client.search_runs([experiment], mine, ViewType.ALL, max_results=1000, page_token=page or None)
            for child in found:
                if name := child.data.tags.get(CHILD_TAG):
                    self._children[name] = child
                    self._histories[child.info.run_id] = History(self._client, child)
            page = found.token or None

    def _with_link(self, note: str) -> str:
        """A run's note below a link to its children, if it has any: of a long note MLflow shows the first lines."""
        self._find_children()
        places = {child.info.experiment_id for child in self._children.values()}
        if not places:
            return note
        place = min(places - {self.experiment} or places)
        asked = urlencode({"searchFilter": f"tags.`{RUN_TAG}` = '{self._run}'", "compareRunsMode": "CHART"})
        link = f"[Epoch by epoch: pretraining and each edge](#/experiments/{place}/runs?{asked})"
        return note if link in note else f"{link}\n\n{note}"[:_MOST_OF_A_TAG]

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

    def _log_dataset(self, run_id: str, dataset: Dataset) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.log_inputs(run_id, [_dataset_input(dataset)])
        except MlflowException as error:
            if not refused(error):
                raise
            _log.info("MLflow takes no datasets: %s", error)  # A server before 2.4.

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


def _root(client: "MlflowClient", run_id: str) -> "Run | None":
    """The pipeline's run: Kubeflow's plugin gives every task a run below it, and the tasks share what is above them."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
        while parent := run.data.tags.get(PARENT_TAG):
            above = client.get_run(parent)
            if SWEEP_TAG in above.data.tags:
                break
            run = above
    except MlflowException as error:
        if not refused(error):
            raise
    else:
        if run.info.lifecycle_stage == "active":
            return run
    _log.warning("MLflow does not have the run %s that Kubeflow made, perhaps elsewhere: this run gets one of its own.", run_id)
    return None


def _thrown_away(experiment: "Experiment") -> Fault:
    restore = f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
    remedy = f"Restore it, by '{restore}', or name another in CLOUDEDGE_EXPERIMENT."
    return Fault(f"its experiment {experiment.name!r} was deleted", remedy, certain=True)


def _of_epochs(experiment: str) -> str:
    return f"{experiment}-epochs"


def _named(values: Mapping[str, str]) -> dict[str, str]:
    return {mlflow_name(name): value for name, value in values.items()}


def _milliseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)
