"""Kubeflow Pipelines as we need it: runs found by the task that they are of, and one clear message for what can be wrong."""

import contextlib
import io
import itertools
import json
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kfp
import urllib3
from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials
from kfp_server_api import ApiException
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from cloud.runs.step_records import KUBEFLOW_ID
from cloudedge.documents import Task
from cloudedge.errors import CloudedgeError, Conflict, InvalidInput, NotFound, StoreFailed
from cloudedge.network import Obstacle, proxy_for, trouble_of, trust, way_to_trust
from pipelines.kubeflow.answers import UNDER_WAY, KubeflowRun, explained, task_id_of, understood
from pipelines.kubeflow.compile import package_of
from pipelines.systems import system_of

_MOST_RUNS = 100
"""In one answer."""

_MOST_PAGES = 10
"""Of runs that are looked through for one that nothing else leads to."""

_MOST_LETTERS = 300
_MOST_OF_A_NAME = 64
"""Kubeflow takes names of 255 letters, some versions fewer."""
_TIMEOUT_SECONDS = (5, 30)
_TRIES = 3
_EPOCH = datetime.fromtimestamp(0, UTC)


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


_REMEDIES = {
    Obstacle.NAME: "Correct the address: CLOUDEDGE_KUBEFLOW, or --host.",
    Obstacle.EXPIRED: "Have its certificate renewed, or set the clock here.",
    Obstacle.EARLY: "Set the clock here.",
    Obstacle.PLAIN: "Correct the address, CLOUDEDGE_KUBEFLOW or --host: its port, or http:// for https://.",
    Obstacle.CLIENT: "It wants a certificate, and cloudedge has none: go another way to it, such as 'kubectl port-forward'.",
    Obstacle.HOST: "Correct the address: CLOUDEDGE_KUBEFLOW, or --host.",
    Obstacle.LOOKUP: "Check that this machine's DNS answers.",
    Obstacle.PROXY: "Correct HTTPS_PROXY or NO_PROXY.",
    Obstacle.PROXY_BUSY: "Check that the proxy reaches it, or correct HTTPS_PROXY or NO_PROXY.",
    Obstacle.PROXY_AWAY: "Check that the proxy runs, or correct HTTPS_PROXY or NO_PROXY.",
}


class _Client(kfp.Client):  # type: ignore[misc]  # kfp has no types.
    def _load_config(self, *arguments: Any) -> Any:
        """Go to it as the environment says; kfp knows no variable for that."""
        config = super()._load_config(*arguments)
        config.retries = urllib3.Retry(_TRIES, other=0)  # A certificate, say, is the same the next time.
        proxy = proxy_for(config.host)
        if proxy:
            config.proxy, config.proxy_headers = proxy.url, proxy.headers or None
        return config

    def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
        """Ask once whether Kubeflow is there, before anything else; kfp asks five times in 25 seconds, with tracebacks."""
        pool = self._healthz_api.api_client.rest_client.pool_manager  # Which all that kfp asks has in common.
        if self._existing_config.host.startswith("https:") and "ssl_context" not in pool.connection_pool_kw:
            trust(pool)
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
        self._specs: dict[str, Mapping[str, Any]] = {}
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

    @property
    def where(self) -> dict[str, str]:
        """Which Kubeflow this is, and which namespace of it, for programs."""
        return {"server": self._host, "namespace": self._namespace}

    def submit(self, task: Task, arguments: Mapping[str, Any], experiment: str, compact: bool | None) -> KubeflowRun:
        """Start a run of a task.

        Args:
            task: What is asked for.
            arguments: What else the pipeline's form asks for.
            experiment: Kubeflow's experiment that the run is shown in, made if it is not there.
            compact: Whether the pipeline has as few tasks as it can; none: as suits Kubeflow.

        Raises:
            Conflict: a run of this task is under way.
        """
        for other in self.under_way(task.id):
            raise _taken(other)
        package = package_of(task, compact)
        with tempfile.TemporaryDirectory() as folder, self._asked("submit a run"):
            path = Path(folder) / "package.yaml"
            path.write_bytes(package)
            made = self._client.create_run_from_pipeline_package(
                str(path),
                arguments={**system_of(task).form.values_of(task), **arguments},
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

    def find(self, name: str, recorded: str = "") -> KubeflowRun:
        """A task's run that is under way or else its newest, or the one that Kubeflow itself calls so.

        Args:
            name: Id of our task, or of Kubeflow's run.
            recorded: Kubeflow's id of the last run that began to work on the task, if the store knows it.

        Raises:
            NotFound: there is none, or none among the newest.
        """
        if re.fullmatch(KUBEFLOW_ID, name):
            return self._run(name)
        # Kubeflow tells times in whole seconds: who failed and was submitted again in the same one may be listed first.
        for found in self.under_way(name):
            return found
        submitted = {"operation": "IS_SUBSTRING", "key": "display_name", "stringValue": f"({name})"}
        known = [*itertools.islice(self._runs(name, submitted), 1), *self._recorded(recorded)]
        if known:
            return max(known, key=lambda run: run.began or _EPOCH)
        # Kubeflow cannot look for what was filled into its form.
        for found in self._runs(name, pages=_MOST_PAGES):
            return found
        raise NotFound(
            f"Kubeflow at {self._host} knows no run of {name!r}{self._where()}. One from its pages that is older than "
            f"its newest {_MOST_PAGES * _MOST_RUNS} goes by its Kubeflow id, the last part of its page's address."
        )

    def under_way(self, task_id: str) -> tuple[KubeflowRun, ...]:
        """Runs of a task that are not over, newest first."""
        waiting = {"operation": "IN", "key": "state", "stringValues": {"values": list(UNDER_WAY)}}
        return tuple(self._runs(task_id, waiting))

    def refreshed(self, run: KubeflowRun) -> KubeflowRun:
        """A run as it stands now."""
        return self._run(run.id)

    def terminate(self, run: KubeflowRun) -> None:
        """End a run: its pods are ended, and no further task begins."""
        with self._asked(f"terminate the run {run.id}"):
            self._client.terminate_run(run.id)

    def _run(self, run_id: str) -> KubeflowRun:
        with self._asked(f"show the run {run_id}"):
            found = self._client.get_run(run_id)
        if not (found and found.run_id):
            raise self._none_of_kubeflows(f"show the run {run_id}", "it has no id")
        if found.error and not found.created_at:
            # Where Kubeflow cannot read its own record of a run, it says so in the place of everything else.
            raise StoreFailed(f"Kubeflow at {self._host} cannot read the run {run_id}: {found.error.message}.")
        return self._explained(self._understood(found))

    def _recorded(self, run_id: str) -> Iterator[KubeflowRun]:
        """The run of this id, if there is one (any more) and it is not only for others to see."""
        if run_id:
            with contextlib.suppress(InvalidInput, NotFound):
                yield self._run(run_id)

    def _runs(self, task_id: str, predicate: dict[str, Any] | None = None, pages: int | None = None) -> Iterator[KubeflowRun]:
        """Runs of a task, newest first.

        Args:
            task_id: Id of our task, or Kubeflow's of a run whose form had none.
            predicate: Which runs Kubeflow is to list.
            pages: How many of its answers are looked through; none: all.
        """
        page = ""
        for _ in itertools.count() if pages is None else range(pages):
            with self._asked("list its runs"):
                found = self._client.list_runs(
                    page_token=page,
                    page_size=_MOST_RUNS,
                    sort_by="created_at desc",
                    namespace=self._namespace or None,
                    filter=json.dumps({"predicates": [predicate]}) if predicate else None,
                )
            if not found:
                raise self._none_of_kubeflows("list its runs", "it is empty")
            for run in found.runs or ():
                # The pipelines of all of them would have to be asked for to know what their forms have as a default.
                if run and run.run_id and task_id_of(run, run.pipeline_spec or {}) == task_id:
                    yield self._explained(self._understood(run))
            page = found.next_page_token or ""
            if not page:
                return

    def _understood(self, run: Any) -> KubeflowRun:
        return understood(run, self._spec(run), f"{self._client._get_url_prefix()}/#/runs/details/{run.run_id}")

    def _spec(self, run: Any) -> Mapping[str, Any]:
        """The specification of a run's pipeline: with a run from an uploaded package comes only a reference to it.

        Returns:
            It; empty if Kubeflow has it no more, or shows it to others only.
        """
        if run.pipeline_spec:
            return dict(run.pipeline_spec)
        reference = run.pipeline_version_reference
        version = (reference.pipeline_version_id if reference else None) or run.pipeline_version_id
        if not version:
            return {}
        if version not in self._specs:
            pipeline = (reference.pipeline_id if reference else None) or "-"
            spec: Mapping[str, Any] = {}
            with contextlib.suppress(InvalidInput, NotFound), self._asked(f"show the pipeline's version {version}"):
                spec = self._client.get_pipeline_version(pipeline, version).pipeline_spec or {}
            self._specs[version] = spec  # Not before it answered: whoever is followed is asked for again and again.
        return self._specs[version]

    def _explained(self, run: KubeflowRun) -> KubeflowRun:
        """A run with what Argo said where it failed, which only the older version of Kubeflow's API tells."""
        if run.state != "FAILED" or run.message or any(task.message for task in run.tasks):
            return run
        try:
            with self._asked("tell why the run failed"):
                found = self._client._run_api.api_client.call_api(
                    f"/apis/v1beta1/runs/{run.id}",
                    "GET",
                    header_params={"Accept": "application/json"},
                    response_type="object",
                    auth_settings=["Bearer"],
                    _return_http_data_only=True,
                    _request_timeout=_TIMEOUT_SECONDS,
                )
        except CloudedgeError:  # Another Kubeflow may have none; the run can be shown without.
            return run
        return explained(run, found)

    def _where(self) -> str:
        return f" in namespace {self._namespace}" if self._namespace else ""

    @contextlib.contextmanager
    def _asked(self, purpose: str) -> Iterator[None]:
        """Ask without kfp's own words, and say in ours what went wrong."""
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")  # That it works with Kubeflow Pipelines 2 only.
                yield
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            trouble = trouble_of(error)
            if trouble:
                obstacle = trouble.obstacle
                remedy = _REMEDIES.get(obstacle) or f"To trust it, {way_to_trust('SSL_CERT_FILE')}."
                raise StoreFailed(f"Kubeflow at {self._host} cannot be asked: {obstacle.value}. {remedy}") from None
            if isinstance(error, ApiException) and error.status:
                raise self._refusal(purpose, error) from None
            raise StoreFailed(
                f"Kubeflow at {self._host} does not answer: {getattr(error, 'reason', None) or error}. Check the address, and "
                "that it can be reached from here."
            ) from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # kfp's client, which takes any answer for one of Kubeflow Pipelines'.
            raise self._none_of_kubeflows(purpose, str(error)) from None

    def _none_of_kubeflows(self, purpose: str, why: str) -> StoreFailed:
        return StoreFailed(
            f"Kubeflow at {self._host} did not {purpose}{self._where()}: its answer is none of Kubeflow Pipelines' ({why}). "
            "Sign in anew if it wants that, and check the address."
        )

    def _refusal(self, purpose: str, error: ApiException) -> Exception:
        message = f"Kubeflow at {self._host} did not {purpose}{self._where()}: {error.status}, "
        try:
            said = str(json.loads(error.body or "")["message"])
        except (KeyError, TypeError, ValueError):
            # Who stands before Kubeflow: a proxy, or a page to sign in; or somebody else altogether.
            message += f"{' '.join(str(error.body or error.reason).split())[:_MOST_LETTERS]}."
            match error.status:
                case 401 | 403:
                    return InvalidInput(f"{message} Set CLOUDEDGE_KUBEFLOW_TOKEN to a token that is valid there.")
                case 404:
                    return InvalidInput(f"{message} Correct the address: in a whole Kubeflow it ends in /pipeline.")
                case 400:
                    return InvalidInput(f"{message} Correct the address: http:// or https://.")
            return StoreFailed(f"{message} Check the address, and that it runs.")
        message += f"{said[:_MOST_LETTERS].rstrip('.')}."
        match error.status:
            case 401:
                return InvalidInput(f"{message} Set CLOUDEDGE_KUBEFLOW_TOKEN to a token that is valid.")
            case 403:
                return InvalidInput(f"{message} Name a namespace of yours: --namespace, or CLOUDEDGE_KUBEFLOW_NAMESPACE.")
            case 404 if purpose == "connect":
                return InvalidInput(f"{message} Correct the address: in a whole Kubeflow it ends in /pipeline.")
            case 404:
                return NotFound(message)
            case 400 if "namespace" in said.lower():
                return InvalidInput(f"{message} In a Kubeflow of several users, name your namespace: --namespace.")
            case 400:
                return InvalidInput(message)
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
