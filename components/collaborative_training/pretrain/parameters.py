"""A task as a flat form, as the Kubeflow UI shows it, and back."""

from typing import Any, Literal, get_args, get_origin

from cloud.entrypoints.carried import require_carried
from cloudedge.documents import Task, canonical_json, parse

PLACES: dict[str, tuple[str, ...]] = {
    "task_name": ("name",),
    "task_id": ("id",),
    "model_file_name": ("model_file_name",),
    "model_architecture": ("model", "architecture"),
    "model_parameters": ("model", "parameters"),
    "data_format": ("data",),
    "random_seed": ("seed",),
    "pretraining_epochs": ("pretraining", "epochs"),
    "pretraining_batch_size": ("pretraining", "batch_size"),
    "pretraining_learning_rate": ("pretraining", "learning_rate"),
    "pretraining_optimizer": ("pretraining", "optimizer"),
    "pretraining_weight_decay": ("pretraining", "weight_decay"),
    "pretraining_loss": ("pretraining", "loss"),
    "pretraining_proximal": ("pretraining", "proximal"),
    "pretraining_target_accuracy": ("pretraining", "target_accuracy"),
    "pretraining_threads": ("pretraining", "threads"),
    "collaborate": ("collaborate",),
    "edges": ("collaboration", "edges"),
    "rounds": ("collaboration", "rounds"),
    "quorum": ("collaboration", "quorum"),
    "round_deadline_seconds": ("collaboration", "round_deadline_seconds"),
    "straggler_grace_seconds": ("collaboration", "straggler_grace_seconds"),
    "rounds_target_accuracy": ("collaboration", "target_accuracy"),
    "edge_epochs": ("collaboration", "training", "epochs"),
    "edge_batch_size": ("collaboration", "training", "batch_size"),
    "edge_learning_rate": ("collaboration", "training", "learning_rate"),
    "edge_optimizer": ("collaboration", "training", "optimizer"),
    "edge_weight_decay": ("collaboration", "training", "weight_decay"),
    "edge_loss": ("collaboration", "training", "loss"),
    "edge_proximal": ("collaboration", "training", "proximal"),
    "edge_target_accuracy": ("collaboration", "training", "target_accuracy"),
    "edge_threads": ("collaboration", "training", "threads"),
    "edge_recollections": ("collaboration", "recollection", "most"),
    "edge_recollection_wait_seconds": ("collaboration", "recollection", "wait_seconds"),
    "fusion_rule": ("collaboration", "fusion", "rule"),
    "fusion_parameters": ("collaboration", "fusion", "parameters"),
    "fusion_base_weight": ("collaboration", "fusion", "base_weight"),
}
"""Where each parameter of the pipelines stands in the task."""


def task_of(parameters: dict[str, Any]) -> Task:
    """The task that a filled form asks for.

    Args:
        parameters: Values by name; names that are no part of a task are passed over.

    Raises:
        InvalidDocument: the values make no task; lists every fault.
    """
    task: dict[str, Any] = {}
    for name, place in PLACES.items():
        part = task
        for step in place[:-1]:
            part = part.setdefault(step, {})
        part[place[-1]] = _integral(parameters[name])
    return parse(Task, canonical_json(task), "The pipeline's form")


def task_of_document(document: dict[str, Any], task_id: str) -> Task:
    """The task that a form asks for whose one field is the task as a document.

    Args:
        document: As in a task's file; whatever id it has does not count.
        task_id: The task's id.

    Raises:
        InvalidDocument: it is no task; lists every fault.
    """
    return parse(Task, canonical_json(_integral({**document, "id": task_id})), "The form's task")


def document_of(task: Task) -> dict[str, Any]:
    """The document that asks for a task under any id.

    Raises:
        InvalidDocument: something in it would not come back from a pipeline's parameters as it is; lists all of it.
    """
    parameters_of(task)
    return task.model_dump(mode="json", exclude={"schema_version", "id"})


def parameters_of(task: Task) -> dict[str, Any]:
    """The filled form that asks for a task.

    Raises:
        InvalidDocument: something in it would not come back from a pipeline's parameters as it is; lists all of it.
    """
    found = task.model_dump()
    require_carried("The task", {".".join(place): _at(found, place) for place in PLACES.values()})
    values = task.model_dump(mode="json")
    return {name: _at(values, place) for name, place in PLACES.items()}


def choices() -> dict[str, tuple[Any, ...]]:
    """What each parameter may be that is one of few words for good, or a truth value.

    Architectures and fusion rules are none of them: an image may bring more than are known here.
    """
    found: dict[str, tuple[Any, ...]] = {}
    for name, place in PLACES.items():
        kind: Any = Task
        for step in place:
            kind = kind.model_fields[step].annotation
        if kind is bool:
            found[name] = (True, False)
        elif get_origin(kind) is Literal:
            found[name] = get_args(kind)
    return found


def _at(values: dict[str, Any], place: tuple[str, ...]) -> Any:
    value: Any = values
    for step in place:
        value = value[step]
    return value


def _integral(value: Any) -> Any:
    """Undo what kfp does to whole numbers inside lists and dictionaries: they arrive as floats."""
    if isinstance(value, dict):
        return {key: _integral(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_integral(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
