"""What every system's pipelines are made of: their form, their first task, and how a cluster is to run each task."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from kfp import dsl, kubernetes

from cloud.entrypoints.form import Form, form_of
from cloudedge.documents import Task
from pipelines.fields import DOCUMENT, with_fields

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

_HOUR = 3600
_DAY = 24 * _HOUR

TASK_SECONDS = 6 * _HOUR
"""Longest life of a task's pod that waits for nobody, its start included; so that one which cannot start ends at all."""

WAIT_SECONDS = 31 * _DAY
"""That of one that waits for edges: longer than the latest deadline that a step may have, as the task's own deadline is known
only when it runs."""

FormShape = Literal["fields", "task"]
"""Whether a pipeline's form has a field for each of a task's, or one for the task as a document."""

_RUN = "kubeflow_run_id"
"""The argument of a first step by which it learns Kubeflow's id of the run."""


class Filled(dict[str, Any]):
    """A filled form: the pipeline's parameters by name, and the first task of them."""

    def __init__(self, parameters: Mapping[str, Any], component: Any) -> None:
        """Keep them."""
        super().__init__(parameters)
        self._component = component

    def first_task(self, **given: Any) -> Any:
        """The task that is given the form.

        Args:
            given: What the pipeline says to it, and not the form.
        """
        asked = inspect.signature(self._component.python_func).parameters
        values = {name: value for name, value in self.items() if name in asked}
        return self._component(**values, **{_RUN: dsl.PIPELINE_JOB_ID_PLACEHOLDER}, **given)


Body = Callable[[Filled], None]


@dataclass(frozen=True)
class FirstStep:
    """The step that a system's pipelines begin with, which is given the form.

    Attributes:
        component: Its component, with the task as one document.
        example: The task whose values the form shows at first; its id is left empty there, so that each Kubeflow run is a new
            one.
        given: Its arguments that the pipelines give it, and not the form.
        defaults: What the form shows of its other arguments; those without are to be filled before the form is sent off.
        further: What the form has beside its arguments, for later steps, with what it shows of each, and what that is.
    """

    component: Any
    example: Task
    given: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    further: Mapping[str, tuple[Any, str]] = field(default_factory=dict)

    @cached_property
    def form(self) -> Form[Any]:
        """The task's form."""
        return form_of(type(self.example))

    @cached_property
    def _with_fields(self) -> Any:
        return with_fields(self.component, self.form)

    def pipeline(self, name: str, description: str, shape: FormShape = "fields") -> Callable[[Body], Any]:
        """Make a pipeline of a function that takes the whole form.

        Args:
            name: The pipeline's name.
            description: What the Kubeflow UI says of it.
            shape: Of its form.
        """
        component = self.component if shape == "task" else self._with_fields
        parameters = self._parameters(component)

        def decorate(body: Body) -> Any:
            def function(*values: Any) -> None:
                body(Filled(dict(zip(parameters, values, strict=True)), component))

            function.__name__ = name.replace("-", "_")
            function.__doc__ = _docstring(description, {name: self._words(component, name) for name in parameters})
            function.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
            return dsl.pipeline(name=name, description=description)(function)

        return decorate

    def _words(self, component: Any, name: str) -> str:
        """What a parameter is."""
        known = component.component_spec.inputs.get(name)
        return self.further[name][1] if name in self.further else (known.description or "") if known else ""

    def _parameters(self, component: Any) -> dict[str, inspect.Parameter]:
        example, form = self.example, self.form
        defaults = {
            **self.defaults,
            **form.values_of(example),
            **dict(zip(DOCUMENT, (form.document_of(example), ""), strict=True)),
        }
        of_the_task = {*form.fields, *DOCUMENT}
        arguments = inspect.signature(component.python_func).parameters
        asked = [
            name for name in arguments if name in (component.component_spec.inputs or {}) and name not in (*self.given, _RUN)
        ]
        further = {
            name: inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=type(default))
            for name, (default, _) in self.further.items()
        }
        return further | {
            name: arguments[name].replace(
                kind=inspect.Parameter.POSITIONAL_OR_KEYWORD, default=defaults.get(name, inspect.Parameter.empty)
            )
            for name in sorted(asked, key=of_the_task.__contains__)  # What is no part of the task first.
        }


def _docstring(description: str, parameters: Mapping[str, str]) -> str:
    """What a pipeline and each of its parameters is, as kfp reads it."""
    words = (f"    {name}: {' '.join(words.split())}" for name, words in parameters.items())
    return "\n".join([description, "", "Args:", *words])


def show_as(task: Any, name: str, most_seconds: int = TASK_SECONDS) -> Any:
    """Name a task for people, and say how a cluster is to run it; on a laptop the latter means nothing.

    It is never answered from the cache: all our steps look at what is there by themselves.

    Args:
        task: The task.
        name: Its name.
        most_seconds: Longest life of its pod, in seconds.
    """
    task.set_display_name(name)
    task.set_caching_options(False)
    kubernetes.use_config_map_as_env(task, SETTINGS, {name: name for name in _SETTINGS}, optional=True)
    kubernetes.use_secret_as_env(task, CREDENTIALS, {name: name for name in _CREDENTIALS}, optional=True)
    kubernetes.empty_dir_mount(task, "scratch", "/scratch")
    kubernetes.set_image_pull_policy(task, "IfNotPresent")
    # KubeEdge labels its nodes, and does not taint them.
    kubernetes.add_node_affinity(task, [{"key": "node-role.kubernetes.io/edge", "operator": "DoesNotExist"}])
    kubernetes.set_timeout(task, most_seconds)
    kubernetes.set_security_context(task, run_as_user=10001, run_as_group=10001, run_as_non_root=True)
    return task
