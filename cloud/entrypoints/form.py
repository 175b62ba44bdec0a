"""A task as a flat form, as the Kubeflow UI shows it, and back. What the form has follows from the task's document alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Generic, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from cloud.entrypoints.carried import require_carried
from cloudedge.documents import canonical_json, parse
from cloudedge.documents.base import Part
from cloudedge.documents.task import TaskT
from cloudedge.errors import InvalidInput

_LEFT_OUT = ("schema_version", "kind")
"""Fields of a task that are the pipeline's, and not the form's to say."""

_TAKEN = ("task", "kubeflow_run_id")
"""What a pipeline's first step is given beside the fields, or in their place."""


@dataclass(frozen=True)
class FormField:
    """A field of a form.

    Attributes:
        name: What the form calls it.
        path: Where its value stands in the task.
        type: As Kubeflow takes it: str, int, float, bool, list or dict.
        words: What it is, for people.
        choices: What it may be, if it is one of few words for good, or a truth value; else nothing. Architectures and fusion
            rules are none of these: an image may bring more than are known here.
    """

    name: str
    path: tuple[str, ...]
    type: type
    words: str
    choices: tuple[Any, ...]


class Form(Generic[TaskT]):
    """The form of a kind of tasks.

    Attributes:
        document: The tasks' document.
        fields: The form's fields by name, in the document's order.
    """

    def __init__(self, document: type[TaskT]) -> None:
        """Find out what it asks for.

        Raises:
            InvalidInput: no form can have a field of the document, or two have the same name.
        """
        self.document = document
        self.fields: Mapping[str, FormField] = _by_name(document, list(_fields(document)))
        words = {name: field.words for name, field in self.fields.items()}
        require_carried(f"What {document.__name__} says of its fields", words)

    def values_of(self, task: TaskT) -> dict[str, Any]:
        """The filled form that asks for a task.

        Raises:
            InvalidDocument: something in it would not come back from a pipeline's parameters as it is; lists all of it.
        """
        found = task.model_dump()
        require_carried("The task", {".".join(field.path): _at(found, field.path) for field in self.fields.values()})
        values = task.model_dump(mode="json")
        return {name: _at(values, field.path) for name, field in self.fields.items()}

    def task_of(self, values: Mapping[str, Any]) -> TaskT:
        """The task that a filled form asks for.

        Args:
            values: Values by name; names that are no part of a task are passed over.

        Raises:
            InvalidDocument: the values make no task; lists every fault.
        """
        task: dict[str, Any] = {}
        for name, field in self.fields.items():
            part = task
            for step in field.path[:-1]:
                part = part.setdefault(step, {})
            part[field.path[-1]] = _integral(values[name])
        return parse(self.document, canonical_json(task), "The pipeline's form")

    def document_of(self, task: TaskT) -> dict[str, Any]:
        """The document that asks for a task under any id, for a form that has it as its one field.

        Raises:
            InvalidDocument: something in it would not come back from a pipeline's parameters as it is; lists all of it.
        """
        self.values_of(task)
        return task.model_dump(mode="json", exclude={"schema_version", "id"})

    def task_of_document(self, document: Mapping[str, Any], task_id: str) -> TaskT:
        """The task that a form asks for whose one field is the task as a document.

        Args:
            document: As in a task's file; whatever id it has does not count.
            task_id: The task's id.

        Raises:
            InvalidDocument: it is no task; lists every fault.
        """
        return parse(self.document, canonical_json(_integral({**document, "id": task_id})), "The form's task")

    def as_carried(self, task: TaskT) -> TaskT:
        """The task as a pipeline's form gives it back: 1.0 in an open dictionary becomes 1.

        Raises:
            InvalidDocument: something in it would not come back; lists all of it.
        """
        return self.task_of(self.values_of(task))

    def task_from(self, arguments: Mapping[str, Any]) -> TaskT:
        """The task that a pipeline's first step is given, field by field or as one document; without an id its run's.

        Args:
            arguments: The step's arguments by name.

        Raises:
            InvalidDocument: it is none; lists every fault.
        """
        task_id = arguments["task_id"] or arguments["kubeflow_run_id"]
        if "task" in arguments:
            return self.task_of_document(arguments["task"], task_id)
        return self.task_of({**arguments, "task_id": task_id})


@cache
def form_of(document: type[TaskT]) -> Form[TaskT]:
    """The form of a kind of tasks.

    Raises:
        InvalidInput: it can have none.
    """
    return Form(document)


def _by_name(document: type[Part], fields: list[FormField]) -> dict[str, FormField]:
    found = {field.name: field for field in fields}
    names = [field.name for field in fields]
    for name in names:
        if names.count(name) > 1 or name in _TAKEN:
            raise InvalidInput(
                f"A form of {document.__name__} would have another field {name!r}: rename one, or say in form_names what it is "
                "called there."
            )
    if "task_id" not in found:
        raise InvalidInput(f"A form of {document.__name__} has no field 'task_id': keep those of Task.form_names in its own.")
    return found


def _fields(document: type[Part], above: str = "", path: tuple[str, ...] = (), words: str = "") -> Iterator[FormField]:
    for name, info in document.model_fields.items():
        if not path and name in _LEFT_OUT:
            continue
        called = "_".join(part for part in (above, document.form_names.get(name, name)) if part)
        kind, said = info.annotation, info.description or ""
        if isinstance(kind, type) and issubclass(kind, Part) and not kind.one_on_forms:
            yield from _fields(kind, called, (*path, name), said if called else "")
        else:
            yield FormField(called, (*path, name), _type_of(called, info), f"{words} {said}".strip(), _choices_of(kind))


def _type_of(name: str, info: FieldInfo) -> type:
    kind = info.annotation
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        (kind, *others) = {type(choice) for choice in get_args(kind)}
        kind = Any if others else kind
    found = get_origin(kind) or kind
    if isinstance(found, type):
        for base, type_ in ((Part, dict), (dict, dict), (tuple, list), (list, list), (bool, bool), (int, int), (float, float)):
            if issubclass(found, base):
                return type_
        if issubclass(found, str):
            return str
    raise InvalidInput(
        f"{name}: Kubeflow has no type for {info.annotation}; make it a text, a number, true or false, a list, a dictionary, "
        "or a Part of such."
    )


def _choices_of(kind: Any) -> tuple[Any, ...]:
    if kind is bool:
        return (True, False)
    return get_args(kind) if get_origin(kind) is Literal else ()


def _at(values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = values
    for step in path:
        value = value[step]
    return value


def _integral(value: Any) -> Any:
    """Undo what kfp does to whole numbers inside lists and dictionaries: they arrive as floats."""
    if isinstance(value, dict):
        return {key: _integral(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_integral(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
