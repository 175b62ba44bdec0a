"""The form that every pipeline shows in the Kubeflow UI, taken from the pretraining step, so that it stands in one place.

It has a field for each of a task's, or the task as one document.
"""

import inspect
from collections.abc import Callable
from typing import Any, Literal

from kfp import dsl, kubernetes

from cloud.gpu import CLOUD_GPU
from cloudedge.documents import Collaboration, DataFormat, ModelSpec, SampleField, Task, Training
from components.collaborative_training.pretrain.component import pretrain
from components.collaborative_training.pretrain.parameters import PLACES, document_of, parameters_of
from components.collaborative_training.pretrain_document.component import pretrain_document
from components.evaluate.component import evaluate
from components.register.component import register
from components.report.component import report

EXAMPLE = Task(
    name="Digits",
    id="digits",
    model_file_name="digits.safetensors",
    model=ModelSpec(architecture="mlp", parameters={"layers": 2, "width": 64}),
    data=DataFormat(
        storage="npz",
        fields=(SampleField(name="image", shape=(1, 8, 8), dtype="uint8", scale=1 / 16),),
        classes=tuple("0123456789"),
    ),
    pretraining=Training(epochs=20),
    collaboration=Collaboration(rounds=3, training=Training(epochs=5)),
)
"""The task whose values the form shows at first; its id is left empty there, so that each Kubeflow run is a new one."""

SETTINGS = "cloudedge-settings"
"""The ConfigMap that a step on a cluster finds its surroundings by, in the namespace that it runs in."""

CREDENTIALS = "cloudedge-store"
"""The Secret beside it, with the credentials of the store, and of an MLflow that asks for some."""

_SETTINGS = (
    "CLOUDEDGE_STORE",
    "CLOUDEDGE_STORE_FOR_EDGES",
    "CLOUDEDGE_INBOXES",
    "CLOUDEDGE_TRACKING_URI",
    "CLOUDEDGE_EXPERIMENT",
    "MLFLOW_S3_ENDPOINT_URL",
    "CLOUDEDGE_SCRATCH",
    "CLOUDEDGE_PATIENCE_SECONDS",
    "AWS_REGION",
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
)
_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)

_DATA = ("cloud_data", "test_data")
"""What the form asks for beside a task."""

_DOCUMENT = ("task", "task_id")
"""What it asks for if the task is one document."""

_HOUR = 3600
TIMEOUTS = {
    "pretrain": 30 * 24 * _HOUR,
    "pretrain-document": 30 * 24 * _HOUR,
    "wait": 31 * 24 * _HOUR,
    "collaborate": 366 * 24 * _HOUR,
}
"""Longest life of a task's pod by its component, in seconds, its start included; so that one which cannot start ends at all.
A wait lives longer than the latest deadline that a round may have: the task's own deadline is known only when it runs."""

OTHER_TIMEOUT = 6 * _HOUR
"""That of the components that wait for nobody."""

Form = Literal["fields", "task"]
Body = Callable[[dict[str, Any]], None]


def pipeline(name: str, description: str, form: Form = "fields") -> Callable[[Body], Any]:
    """Make a pipeline of a function that takes the whole form.

    Args:
        name: The pipeline's name.
        description: What the Kubeflow UI says of it.
        form: Whether its form has a field for each of a task's, or one for the task.
    """

    def decorate(body: Body) -> Any:
        parameters = _parameters(form)

        def function(*values: Any) -> None:
            body(dict(zip(parameters, values, strict=True)))

        function.__name__ = name.replace("-", "_")
        function.__doc__ = description
        function.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
        return dsl.pipeline(name=name, description=description)(function)

    return decorate


def pretrain_task(form: dict[str, Any], most_rounds: int) -> Any:
    """The pretraining task of a filled form.

    Args:
        form: The pipeline's parameters.
        most_rounds: Rounds that the pipeline has tasks for.
    """
    component, names = (pretrain_document, _DOCUMENT) if "task" in form else (pretrain, PLACES)
    values = {name: form[name] for name in (*names, *_DATA)}
    task = component(**values, kubeflow_run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, most_rounds=most_rounds)
    return task.set_accelerator_type(CLOUD_GPU).set_accelerator_limit(1) if CLOUD_GPU else task


def conclude(form: dict[str, Any], done: Any) -> None:
    """The tasks that every pipeline ends with.

    Args:
        form: The pipeline's parameters.
        done: The task before, which passes on the run's id, so that the graph reads from top to bottom.
    """
    done = show_as(evaluate(run=done.outputs["run"], test_data=form["test_data"]), "Evaluate")
    done = show_as(register(run=done.outputs["run"], passed=done.outputs["passed"]), "Register")
    show_as(report(run=done.outputs["run"], registered_model=done.outputs["registered_model"]), "Report")


def show_as(task: Any, name: str) -> Any:
    """Name a task for people, and say how a cluster is to run it; on a laptop the latter means nothing.

    It is never answered from the cache: all our steps look at what is there by themselves.
    """
    task.set_display_name(name)
    task.set_caching_options(False)
    kubernetes.use_config_map_as_env(task, SETTINGS, {name: name for name in _SETTINGS}, optional=True)
    kubernetes.use_secret_as_env(task, CREDENTIALS, {name: name for name in _CREDENTIALS}, optional=True)
    kubernetes.empty_dir_mount(task, "scratch", "/scratch")
    kubernetes.set_image_pull_policy(task, "IfNotPresent")
    # KubeEdge labels its nodes, and does not taint them.
    kubernetes.add_node_affinity(task, [{"key": "node-role.kubernetes.io/edge", "operator": "DoesNotExist"}])
    kubernetes.set_timeout(task, TIMEOUTS.get(task.component_spec.name, OTHER_TIMEOUT))
    kubernetes.set_security_context(task, run_as_user=10001, run_as_group=10001, run_as_non_root=True)
    return task


def _parameters(form: Form) -> dict[str, inspect.Parameter]:
    # The cloud's samples have no default: a form that lacks them is not sent off.
    defaults: dict[str, Any] = {"test_data": "", **parameters_of(EXAMPLE), "task": document_of(EXAMPLE), "task_id": ""}
    component, names = (pretrain_document, _DOCUMENT) if form == "task" else (pretrain, PLACES)
    arguments = inspect.signature(component.python_func).parameters
    return {
        name: arguments[name].replace(
            kind=inspect.Parameter.POSITIONAL_OR_KEYWORD, default=defaults.get(name, inspect.Parameter.empty)
        )
        for name in (*_DATA, *names)
    }
