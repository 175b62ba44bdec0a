"""What Kubeflow answers about a run, whatever of it a version or a moment leaves out."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pipelines.kubeflow.nodes import driver_of, node, prepared_by

OVER = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"})
"""States of a run or a task of Kubeflow's that no other follows."""

UNKNOWN = "RUNTIME_STATE_UNSPECIFIED"
UNDER_WAY = (UNKNOWN, "PENDING", "RUNNING", "PAUSED", "CANCELING")
"""States that others follow; any other of a later Kubeflow is over as soon as it has an end."""

_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class KubeflowTask:
    """A task of a pipeline, as it stands in a run.

    Attributes:
        key: As the package names it, and so its pods.
        name: For people.
        state: As Kubeflow calls it; empty before it begins.
        message: What Kubeflow says of its failure, mostly nothing.
    """

    key: str
    name: str
    state: str
    began: datetime | None = None
    ended: datetime | None = None
    message: str = ""


@dataclass(frozen=True)
class KubeflowRun:
    """A run of a pipeline.

    Attributes:
        id: Kubeflow's id of it.
        task_id: Id of our task, and so of our run, as the form has it: not always one that can be.
        state: As Kubeflow calls it.
        tasks: In the order in which they depend on each other; in which they began where the pipeline is not known.
        url: Its page in the UI.
        terminated: Whether somebody asked Kubeflow to end it; its last state may be FAILED all the same.
        known: Whether Kubeflow still has its pipeline; without it `tasks` are those that have begun.
        message: What Kubeflow says of the failure of the run as a whole, mostly nothing.
    """

    id: str
    task_id: str
    name: str
    state: str
    began: datetime | None
    ended: datetime | None
    tasks: tuple[KubeflowTask, ...]
    url: str
    terminated: bool
    known: bool = True
    message: str = ""

    @property
    def over(self) -> bool:
        """Whether its state is its last."""
        return _over(self.state, self.ended)


def understood(run: Any, spec: Mapping[str, Any], url: str) -> KubeflowRun:
    """What an answer says.

    Args:
        run: A run as kfp's client gives it, in which anything but the id may be missing.
        spec: Its pipeline's specification; empty if Kubeflow has none any more.
        url: Its page in the UI.
    """
    state = run.state or UNKNOWN
    ended = None if state in UNDER_WAY else moment(run.finished_at)
    over = _over(state, ended)
    tasks = _tasks(_details(run), _dag(spec), over)
    return KubeflowRun(
        id=run.run_id,
        task_id=task_id_of(run, spec),
        name=run.display_name or run.run_id,
        state=state,
        began=moment(run.created_at) or moment(run.scheduled_at),
        ended=ended,
        tasks=tasks,
        url=url,
        terminated=any(former.state == "CANCELING" for former in _present(run.state_history)),
        known=bool(_dag(spec)),
        message=_message(run),
    )


def explained(run: KubeflowRun, detail: Any) -> KubeflowRun:
    """A failed run with what Argo said of its nodes.

    Args:
        run: As it is known.
        detail: What the first version of Kubeflow's API says of it, of which anything may be missing.
    """
    try:
        status = _mapping(_mapping(json.loads(detail["pipeline_runtime"]["workflow_manifest"])).get("status"))
    except (KeyError, TypeError, ValueError):
        return run
    keys = {task.key for task in run.tasks}
    failures = []
    for each in map(_mapping, _mapping(status.get("nodes")).values()):
        if each.get("type") == "Pod" and each.get("phase") in ("Failed", "Error") and each.get("message"):
            pod = node(str(each.get("name")))
            failures.append((not pod.prepares, pod.tries, pod.task_of(keys), str(each["message"])))
    # What does the work has the say, and of that the newest try; which may have failed without harm, as the next did not.
    said = {key: message for _, _, key, message in sorted(failures)}
    failed = {task.key for task in run.tasks if task.state == "FAILED"}
    tasks = tuple(replace(task, message=said[task.key]) if task.key in failed & said.keys() else task for task in run.tasks)
    whole = said.get("") or str(status.get("message") or "")
    return replace(run, tasks=tasks, message="" if failed & said.keys() else whole)


def task_id_of(run: Any, spec: Mapping[str, Any]) -> str:
    """Id of the task that a run is of: the form's, or the run's own where that is empty."""
    parameters = _mapping(run.runtime_config.parameters) if run.runtime_config else {}
    if "task_id" in parameters:
        return str(parameters["task_id"] or run.run_id)
    declared = _mapping(_mapping(_mapping(_inner(spec).get("root")).get("inputDefinitions")).get("parameters"))
    return str(_mapping(declared.get("task_id")).get("defaultValue") or run.run_id)


def moment(at: Any) -> datetime | None:
    """A moment; Kubeflow says 1970, or 1, for one that is not known yet."""
    if not isinstance(at, datetime):
        return None
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return aware.astimezone(UTC) if aware > _EPOCH else None


def _tasks(details: Mapping[str, Any], dag: Mapping[str, Any], run_over: bool) -> tuple[KubeflowTask, ...]:
    if not dag:
        drivers = {key: detail for name, detail in details.items() if (key := prepared_by(name))}
        keys = sorted(drivers, key=lambda key: (moment(drivers[key].start_time) or _EPOCH, key))
        return tuple(_task(key, key, details.get(key), drivers[key], run_over) for key in keys)
    found = []
    for key in _in_order(dag):
        name = _mapping(_mapping(dag[key]).get("taskInfo")).get("name") or key
        found.append(_task(key, str(name), details.get(key), details.get(driver_of(key)), run_over))
    return tuple(found)


def _task(key: str, name: str, work: Any, driver: Any, run_over: bool) -> KubeflowTask:
    """A task as its own node says, or what prepares it."""
    said = next((detail for detail in (work, driver) if detail and detail.state not in (None, "", UNKNOWN)), None)
    state = said.state if said else ""
    if said is driver and state == "SUCCEEDED":
        # Prepared, and about to begin, unless Argo lists it among what it will never begin.
        state = "" if work or run_over else "RUNNING"
    if said is None or not state:
        return KubeflowTask(key, name, "")
    began = moment((driver or work).start_time) or moment(said.start_time)
    ended = None if state in UNDER_WAY else moment(said.end_time)
    return KubeflowTask(key, name, state, began, ended, _message(work) or _message(driver))


def _details(run: Any) -> dict[str, Any]:
    """What is said of each node by its name; of those that share one, as in nested pipelines, of the first to begin."""
    details = _present(run.run_details.task_details) if run.run_details else []
    named = [detail for detail in details if detail.display_name]
    named.sort(key=lambda detail: moment(detail.start_time) or datetime.max.replace(tzinfo=UTC), reverse=True)
    return {detail.display_name: detail for detail in named}


def _in_order(dag: Mapping[str, Any]) -> Iterable[str]:
    """Tasks after those that they depend on; what depends on something unknown comes last."""
    needs = {key: set(_present(_mapping(task).get("dependentTasks"))) for key, task in dag.items()}
    done: list[str] = []
    while ready := sorted(key for key in needs if key not in done and needs[key] <= set(done)):
        done += ready
    return [*done, *sorted(set(dag) - set(done))]


def _message(detail: Any) -> str:
    """Kubeflow's last word on an error, if it has one."""
    if detail is None:
        return ""
    errors = [detail.error, *(former.error for former in reversed(_present(detail.state_history)))]
    return next((str(error.message) for error in errors if error and error.message), "")


def _over(state: str, ended: datetime | None) -> bool:
    return state in OVER or (state not in UNDER_WAY and ended is not None)


def _dag(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(_mapping(_mapping(_inner(spec).get("root")).get("dag")).get("tasks"))


def _inner(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The specification itself; with a cluster's settings beside it, it is one of two."""
    return _mapping(spec.get("pipeline_spec")) or spec


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _present(values: Any) -> Sequence[Any]:
    return [value for value in values if value is not None] if isinstance(values, list) else []
