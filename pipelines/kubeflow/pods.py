"""What the pods of a Kubeflow run say: asked of the cluster itself, as Kubeflow's API gives no logs."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from cloud.cluster.api import TIMEOUT_SECONDS, Namespace, connect, said
from cloudedge.errors import NotFound, StoreFailed
from pipelines.kubeflow.answers import KubeflowRun, KubeflowTask
from pipelines.kubeflow.nodes import Node, node

DEFAULT_NAMESPACE = "kubeflow"
"""Where runs have their pods, unless Kubeflow gives each user a namespace."""

NODE_NAME = "workflows.argoproj.io/node-name"
"""Annotation of a pod: the node of its run that it is of."""

_CONTAINER = "main"
_MACHINERY = re.compile(r"time=\S+ level=(?!ERROR)|[IW]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \S+\.go:\d+\] |\[KFP Executor ")
"""How lines begin that Argo, Kubeflow's launcher and kfp write into the same log; JSON goes on with the line before."""
_GOES_ON = ("{", "}", " ", "\t")
_PATIENCE_SECONDS = 10
_RIGHTS = "the rights to list pods and to get pods/log"


def logs(run: KubeflowRun, task: str, namespace: str) -> Iterator[tuple[str, str]]:
    """What the tasks of a run said.

    Args:
        run: The run.
        task: Name of one task as people see it; empty: all that have begun.
        namespace: Where its pods are.

    Yields:
        A task's name, and what its pod said so far; a pod that has not started says why. Earlier tries of what was tried again
        come before the newest, and are named as such; so is Kubeflow's own pod that was to prepare a task, where it failed.

    Raises:
        InvalidInput: there is no cluster to ask.
        NotFound: there is no such task, or no pod of it (any more).
        StoreFailed: the cluster does not answer, or refuses.
    """
    names = [each.name for each in run.tasks]
    if task and task not in names:
        raise NotFound(f"The run has no task {task!r}; it has: {', '.join(names) or 'none that has begun'}.")
    api = Namespace(namespace, connect(), _PATIENCE_SECONDS, rights=_RIGHTS)
    core = client.CoreV1Api(api.api)
    listed = api.asked("list pods", core.list_namespaced_pod, namespace, label_selector=f"pipeline/runid={run.id}").items
    pods = {pod.metadata.name: pod for pod in listed}
    nodes = {name: node((pod.metadata.annotations or {}).get(NODE_NAME, "")) for name, pod in pods.items()}
    failed = {name for name, pod in pods.items() if pod.status.phase == "Failed"}
    found = told(run.tasks, task, nodes, failed)
    if not found:
        of_task = f", task {task}" if task else ""
        raise NotFound(
            f"There is no pod of the run {run.id}{of_task} in {api.where}: it has not begun yet, or Kubeflow has "
            f"cleaned up. Its page may still have the logs: {run.url}. Another namespace: --namespace."
        )
    for title, name in found:
        yield title, _said(api, core, pods[name])


def told(tasks: Sequence[KubeflowTask], task: str, nodes: Mapping[str, Node], failed: Collection[str]) -> list[tuple[str, str]]:
    """Which pods have something to tell of a run, in the order in which it is to be read.

    Args:
        tasks: The run's.
        task: Name of one of them as people see it; empty: all.
        nodes: What each pod is of, by the pod's name.
        failed: Pods that failed; only such of Kubeflow's own have anything to say that a user could use.

    Returns:
        Titles, and the pods' names; of what was tried again the newest last.
    """
    places = {each.key: place for place, each in enumerate(tasks)}
    found = []
    for name, its in nodes.items():
        key = its.task_of(places)
        shown = tasks[places[key]].name if key else "The run" if its.prepares else its.path[0] or name
        if task in ("", shown) and (not its.prepares or name in failed):
            found.append((places.get(key, -1), its, name, shown))
    titles = []
    for (_, path), tries in groupby(sorted(found), key=lambda each: (each[0], each[1].path)):
        *earlier, (_, its, name, shown) = tries
        title = ": ".join((shown, *path[1:-1])) + (", prepared by Kubeflow" if its.prepares else "")
        titles += [(f"{title}, try {number}", each[2]) for number, each in enumerate(earlier, 1)]
        titles.append((title, name))
    return titles


def without_machinery(text: str) -> str:
    """What a step itself said, and whatever went wrong around it.

    Args:
        text: The whole log of a task's pod.
    """
    kept = []
    machinery = False
    for line in text.splitlines():
        machinery = bool(_MACHINERY.match(line)) or (machinery and line.startswith(_GOES_ON))
        if not machinery:
            kept.append(line)
    return "\n".join(kept)


def _said(api: Namespace, core: client.CoreV1Api, pod: Any) -> str:
    started = any(status.name == _CONTAINER and not status.state.waiting for status in pod.status.container_statuses or ())
    if not started:
        return f"(has not started: {_obstacle(pod)})"
    try:
        read = core.read_namespaced_pod_log
        return str(read(pod.metadata.name, api.name, container=_CONTAINER, _request_timeout=TIMEOUT_SECONDS))
    except (ApiException, HTTPError, StoreFailed) as error:
        return f"(its log cannot be read: {said(error)})"


def _obstacle(pod: Any) -> str:
    for status in pod.status.container_statuses or ():
        if status.state.waiting:
            return ", ".join(filter(None, (status.state.waiting.reason, status.state.waiting.message)))
    for condition in pod.status.conditions or ():
        if condition.status == "False":
            return ", ".join(filter(None, (condition.reason, condition.message)))
    return str(pod.status.phase)
