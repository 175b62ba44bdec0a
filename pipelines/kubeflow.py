"""Kubeflow Pipelines as we need it: runs found by the task that they are of, and one clear message for what can be wrong."""

import contextlib
import io
import json
import re
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kfp
import urllib3
from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials
from kfp_server_api import ApiException
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from cloudedge.documents import Task
from cloudedge.errors import Conflict, InvalidInput, NotFound, StoreFailed
from components.pretrain.parameters import parameters_of
from pipelines.compile import package_of

OVER = {"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"}
"""States of a run or a task of Kubeflow's that no other follows."""

_UNDER_WAY = ["RUNTIME_STATE_UNSPECIFIED", "PENDING", "RUNNING", "PAUSED", "CANCELING"]
_MOST_RUNS = 100
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOST_LETTERS = 300
_MOST_OF_A_NAME = 64
"""Kubeflow takes names of 255 letters, some versions fewer."""
_TIMEOUT_SECONDS = (5, 30)


class KubeflowSettings(BaseSettings):
    """Where Kubeflow Pipelines is; each field is read from the variable CLOUDEDGE_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="CLOUDEDGE_", frozen=True, extra="ignore")

    kubeflow: str = Field(default="", description="http(s)://host[:port][/path] of Kubeflow Pipelines or its UI.")
    kubeflow_namespace: str = Field(
        default="", description="The user's namespace in a Kubeflow of several users; empty where there is just one."
    )
    kubeflow_token: str = Field(
        default="", repr=False, description="Token for it; empty: that of the pod in a Kubeflow notebook, else none."
    )


@dataclass(frozen=True)
class KubeflowTask:
    """A task of a pipeline, as it stands in a run.

    Attributes:
        key: As the package names it, and so its pods.
        name: For people.
        state: As Kubeflow calls it; empty before it begins.
    """

    key: str
    name: str
    state: str
    began: datetime | None = None
    ended: datetime | None = None


@dataclass(frozen=True)
class KubeflowRun:
    """A run of a pipeline.

    Attributes:
        id: Kubeflow's id of it.
        task_id: Id of our task, and so of our run.
        state: As Kubeflow calls it.
        tasks: In the order in which they depend on each other.
        url: Its page in the UI.
        terminated: Whether somebody asked Kubeflow to end it; its last state may be FAILED all the same.
    """

    id: str
    task_id: str
    name: str
    state: str
    began: datetime
    ended: datetime | None
    tasks: tuple[KubeflowTask, ...]
    url: str
    terminated: bool

    @property
    def over(self) -> bool:
        """Whether its state is its last."""
        return self.state in OVER


class _Client(kfp.Client):  # type: ignore[misc]  # kfp has no types.
    def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
        """Ask once whether Kubeflow is there; kfp asks five times in 25 seconds, with tracebacks."""
        health, _, headers = self._healthz_api.healthz_service_get_healthz_with_http_info(_request_timeout=_TIMEOUT_SECONDS)
        kind = headers.get("content-type", "")
        if "json" not in kind:
            raise InvalidInput(
                f"{self._existing_config.host} answers with {kind.partition(';')[0] or 'something'}, not as Kubeflow Pipelines "
                "does. In a whole Kubeflow its address ends in /pipeline; if this is the page to sign in, set "
                "CLOUDEDGE_KUBEFLOW_TOKEN."
            )
        return health


class Kubeflow:
    """One Kubeflow Pipelines."""

    def __init__(self, settings: KubeflowSettings) -> None:
        """Connect.

        Raises:
            InvalidInput: the address is none, is not Kubeflow's, or it refuses the token.
            StoreFailed: it does not answer.
        """
        self._host = settings.kubeflow.rstrip("/")
        self._namespace = settings.kubeflow_namespace
        if not self._host.startswith(("http://", "https://")):
            raise InvalidInput(
                f"The address of Kubeflow Pipelines is {self._host!r}: set CLOUDEDGE_KUBEFLOW, or --host, to "
                "http(s)://host[:port][/path], for example http://localhost:8080 after 'kubectl port-forward "
                "--namespace kubeflow svc/ml-pipeline-ui 8080:80'."
            )
        with self._asked("connect"):
            self._client = _Client(
                host=self._host,
                existing_token=settings.kubeflow_token or None,
                credentials=_pods_credentials(),
                **({"namespace": self._namespace} if self._namespace else {}),
            )
            self._client.get_kfp_healthz()

    def submit(self, task: Task, cloud_data: str, test_data: str, experiment: str, compact: bool | None) -> KubeflowRun:
        """Start a run of a task.

        Args:
            task: What is asked for.
            cloud_data: Where the cloud's samples are, as a pipeline's step reads it.
            test_data: Where samples are that nobody trains on, or an empty text.
            experiment: Kubeflow's experiment that the run is shown in, made if it is not there.
            compact: Whether all rounds are one task; none: beyond three rounds.

        Raises:
            Conflict: a run of this task is under way.
        """
        for other in self.under_way(task.id):
            raise _taken(other)
        with tempfile.TemporaryDirectory() as folder, self._asked("submit a run"):
            path = Path(folder) / "package.yaml"
            path.write_bytes(package_of(task, compact))
            made = self._client.create_run_from_pipeline_package(
                str(path),
                arguments={**parameters_of(task), "cloud_data": cloud_data, "test_data": test_data},
                run_name=f"{task.name[:_MOST_OF_A_NAME]} ({task.id})",
                experiment_name=experiment,
                namespace=self._namespace or None,
            )
        run = self._run(made.run_id)
        # Whoever submits at the same moment may not have seen this one, so both look again, and both give way.
        for other in self.under_way(task.id):
            if other.id != run.id:
                self.terminate(run)
                raise _taken(other)
        return run

    def find(self, name: str) -> KubeflowRun:
        """A task's run that is under way or else its newest, or the one that Kubeflow itself calls so.

        Args:
            name: Id of our task, or of Kubeflow's run.

        Raises:
            NotFound: there is none.
        """
        if _UUID.fullmatch(name):
            return self._run(name)
        submitted = {"operation": "IS_SUBSTRING", "key": "display_name", "stringValue": f"({name})"}
        # Kubeflow tells times in whole seconds: who failed and was submitted again in the same one may be listed first.
        for found in (*self.under_way(name), *self._runs(submitted, name)):
            return found
        raise NotFound(
            f"Kubeflow at {self._host} knows no run of {name!r}{self._where()}. A run that was started in its UI goes by its "
            "Kubeflow id, the last part of its page's address."
        )

    def under_way(self, task_id: str) -> tuple[KubeflowRun, ...]:
        """Runs of a task that are not over, newest first."""
        waiting = {"operation": "IN", "key": "state", "stringValues": {"values": _UNDER_WAY}}
        return tuple(self._runs(waiting, task_id))

    def refreshed(self, run: KubeflowRun) -> KubeflowRun:
        """A run as it stands now."""
        return self._run(run.id)

    def terminate(self, run: KubeflowRun) -> None:
        """End a run: its pods are ended, and no further task begins."""
        with self._asked(f"terminate the run {run.id}"):
            self._client.terminate_run(run.id)

    def _run(self, run_id: str) -> KubeflowRun:
        with self._asked(f"show the run {run_id}"):
            return self._understood(self._client.get_run(run_id))

    def _runs(self, predicate: dict[str, Any], task_id: str) -> Iterator[KubeflowRun]:
        page = ""
        while True:
            with self._asked("list its runs"):
                found = self._client.list_runs(
                    page_token=page,
                    page_size=_MOST_RUNS,
                    sort_by="created_at desc",
                    namespace=self._namespace or None,
                    filter=json.dumps({"predicates": [predicate]}),
                )
            for run in map(self._understood, found.runs or ()):
                if run.task_id == task_id:
                    yield run
            page = found.next_page_token or ""
            if not page:
                return

    def _understood(self, run: Any) -> KubeflowRun:
        parameters = (run.runtime_config.parameters or {}) if run.runtime_config else {}
        return KubeflowRun(
            id=run.run_id,
            task_id=parameters.get("task_id") or run.run_id,
            name=run.display_name,
            state=run.state or _UNDER_WAY[0],
            began=run.created_at.astimezone(UTC),
            ended=run.finished_at.astimezone(UTC) if run.state in OVER else None,
            tasks=_tasks(run),
            url=f"{self._client._get_url_prefix()}/#/runs/details/{run.run_id}",
            terminated=any(former.state == "CANCELING" for former in run.state_history or ()),
        )

    def _where(self) -> str:
        return f" in namespace {self._namespace}" if self._namespace else ""

    @contextlib.contextmanager
    def _asked(self, purpose: str) -> Iterator[None]:
        """Ask without kfp's own words, and say in ours what went wrong."""
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")  # That it works with Kubeflow Pipelines 2 only.
                yield
        except ApiException as error:
            raise self._refusal(purpose, error) from None
        except urllib3.exceptions.HTTPError as error:
            raise StoreFailed(
                f"Kubeflow at {self._host} does not answer: {getattr(error, 'reason', None) or error}. Check the address, and "
                "that it can be reached from here."
            ) from None

    def _refusal(self, purpose: str, error: ApiException) -> Exception:
        try:
            said = str(json.loads(error.body or "")["message"])
        except (KeyError, TypeError, ValueError):
            said = str(error.reason)
        message = f"Kubeflow at {self._host} did not {purpose}{self._where()}: {error.status}, {said[:_MOST_LETTERS]}."
        match error.status:
            case 401:
                return InvalidInput(f"{message} Set CLOUDEDGE_KUBEFLOW_TOKEN to a token that is valid.")
            case 403:
                return InvalidInput(f"{message} Name a namespace of yours: --namespace, or CLOUDEDGE_KUBEFLOW_NAMESPACE.")
            case 404 if purpose == "connect":
                return InvalidInput(f"{message} Correct the address: in a whole Kubeflow it ends in /pipeline.")
            case 404:
                return NotFound(message)
            case 400:
                return InvalidInput(f"{message} In a Kubeflow of several users, name your namespace: --namespace.")
        return StoreFailed(message)


def _taken(other: KubeflowRun) -> Conflict:
    return Conflict(
        f"{other.task_id} is being run by Kubeflow already ({other.url}): look at it with 'cloudedge status {other.task_id}', "
        f"or end it with 'cloudedge tasks cancel {other.task_id}'."
    )


def _pods_credentials() -> ServiceAccountTokenVolumeCredentials | None:
    """The credentials that Kubeflow gives the pods of its notebooks."""
    credentials = ServiceAccountTokenVolumeCredentials()
    return credentials if Path(credentials._token_path).exists() else None


def _tasks(run: Any) -> tuple[KubeflowTask, ...]:
    """The pipeline's tasks, in the order in which they depend on each other, and how each stands."""
    spec = (run.pipeline_spec or {}).get("pipeline_spec") or run.pipeline_spec or {}
    waiting = dict(spec.get("root", {}).get("dag", {}).get("tasks", {}))
    details = (
        {detail.display_name: detail for detail in (run.run_details.task_details or ()) if detail} if run.run_details else {}
    )
    found: list[KubeflowTask] = []
    done: set[str] = set()
    while ready := [name for name, task in waiting.items() if set(task.get("dependentTasks", ())) <= done]:
        for name in sorted(ready):
            shown = waiting.pop(name)["taskInfo"]["name"]
            found.append(_task(name, shown, details.get(name), details.get(f"{name}-driver")))
            done.add(name)
    return tuple(found)


def _task(key: str, name: str, work: Any, driver: Any) -> KubeflowTask:
    """A task as its own pod says, or the pod that prepares it."""
    if (work or driver) is None or (work or driver).state in (None, _UNDER_WAY[0]):
        return KubeflowTask(key, name, "")  # Argo also lists what it will never begin.
    began = (driver or work).start_time
    state = (work or driver).state or ""
    if work is None and state == "SUCCEEDED":
        state = "RUNNING"  # Prepared, and about to begin.
    ended = (work or driver).end_time if state in OVER else None
    return KubeflowTask(key, name, state, _real(began), _real(ended))


def _real(at: datetime | None) -> datetime | None:
    """A moment; Kubeflow says 1970 for one that is not known yet."""
    return at.astimezone(UTC) if at and at > datetime.fromtimestamp(0, UTC) else None
