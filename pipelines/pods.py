"""What the pods of a Kubeflow run say: asked of the cluster itself, as Kubeflow's API gives no logs."""

import re
from collections.abc import Iterator
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from cloudedge.errors import NotFound
from components.shared.kubernetes_api import Namespace, connect, said
from pipelines.kubeflow import KubeflowRun

DEFAULT_NAMESPACE = "kubeflow"
"""Where runs have their pods, unless Kubeflow gives each user a namespace."""

_NODE = "workflows.argoproj.io/node-name"
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
        A task's name, and what its pod said so far; a pod that has not started says why.

    Raises:
        InvalidInput: there is no cluster to ask.
        NotFound: there is no such task, or no pod of it (any more).
        StoreFailed: the cluster does not answer, or refuses.
    """
    names = {each.key: each.name for each in run.tasks if task in ("", each.name)}
    if not names:
        raise NotFound(f"The run has no task {task!r}; it has: {', '.join(each.name for each in run.tasks)}.")
    api = Namespace(namespace, connect(), _PATIENCE_SECONDS, rights=_RIGHTS)
    core = client.CoreV1Api(api.api)
    selector = f"pipeline/runid={run.id}"
    pods = api.asked("list pods", core.list_namespaced_pod, namespace, label_selector=selector).items
    found = False
    for key, name in names.items():
        for pod in sorted((pod for pod in pods if _works_for(pod, key)), key=lambda pod: pod.metadata.creation_timestamp):
            found = True
            yield name, _said(api, core, pod)
    if not found:
        of_task = f", task {task}" if task else ""
        raise NotFound(
            f"There is no pod of the run {run.id}{of_task} in namespace {namespace}: it has not begun yet, or Kubeflow has "
            f"cleaned up. Its page may still have the logs: {run.url}. Another namespace: --namespace."
        )


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


def _works_for(pod: Any, key: str) -> bool:
    """Whether a pod does a task's work; others prepare tasks, and say nothing that a user could use."""
    return f".{key}." in f"{(pod.metadata.annotations or {}).get(_NODE, '')}."


def _said(api: Namespace, core: client.CoreV1Api, pod: Any) -> str:
    started = any(status.name == _CONTAINER and not status.state.waiting for status in pod.status.container_statuses or ())
    if not started:
        return f"(has not started: {_obstacle(pod)})"
    try:
        return str(core.read_namespaced_pod_log(pod.metadata.name, api.name, container=_CONTAINER))
    except ApiException as error:
        return f"(its log cannot be read: {said(error)})"


def _obstacle(pod: Any) -> str:
    for status in pod.status.container_statuses or ():
        if status.state.waiting:
            return ", ".join(filter(None, (status.state.waiting.reason, status.state.waiting.message)))
    for condition in pod.status.conditions or ():
        if condition.status == "False":
            return ", ".join(filter(None, (condition.reason, condition.message)))
    return str(pod.status.phase)
