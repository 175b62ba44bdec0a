"""The kinds of tasks, one a file: a module here has the document (`TASK`) of the system whose name it has."""

import json
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from cloudedge.documents.base import parse
from cloudedge.documents.task import Task
from cloudedge.errors import InvalidDocument, InvalidInput
from cloudedge.texts import shown

SYSTEMS = {
    "collaborative-training": "collaborative_training",
    "inspection-training": "inspection_training",
    "inspection-deployment": "inspection_deployment",
    "edge-automl": "edge_automl",
    "automl-meta": "automl_meta",
}
"""The systems of cloudedge itself and the name of each one's folders; what a task asks for that does not say it comes first."""

ENTRY_POINTS = "cloudedge.systems"
"""Group of the entry points by which a user's package is a system. It has the modules `task` (with `TASK`, the document),
`steps` (with `STEPS`, what its steps do) and `system` (with `SYSTEM`, what it is to people)."""

_MOST_BYTES = 16 * 1024 * 1024


def systems() -> list[str]:
    """Names of all systems that there are here, cloudedge's own first."""
    return [*SYSTEMS, *sorted({*entry_points(group=ENTRY_POINTS).names} - SYSTEMS.keys())]


def package_of(system: str) -> str:
    """The user's package that is a system; empty if there is none of this name."""
    found = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    return found.get(system, "")


def part_of(system: str, module: str, name: str, kind: type) -> Any:
    """What a user's package has for its system.

    Args:
        system: The system.
        module: The package's module.
        name: What it is called there.
        kind: What it has to be.

    Raises:
        InvalidInput: the package cannot be loaded, or has something else there.
    """
    package = package_of(system)
    try:
        found = getattr(import_module(f"{package}.{module}"), name)
    except (Exception, SystemExit) as error:
        # A user's own code may raise anything, and end the process as it is imported; what it says is for its author.
        why = f"{type(error).__name__}: {error}"
        raise InvalidInput(f"The system {system!r} ({package}) cannot be loaded: {why}. Mend its package.") from error
    if not isinstance(found, kind):
        raise InvalidInput(f"The system {system!r} ({package}) has a {name} that is no {kind.__name__}. Mend its package.")
    return found


def task_class(kind: str) -> type[Task] | None:
    """The document of a kind of tasks; None if there is none.

    Raises:
        InvalidInput: the package that has it cannot be loaded, or has something else there.
    """
    if kind in SYSTEMS:
        ours: type[Task] = import_module(f"{__name__}.{SYSTEMS[kind]}").TASK
        return ours
    package = package_of(kind)
    if not package:
        return None
    found: type = part_of(kind, "task", "TASK", type)
    if not issubclass(found, Task) or found.model_fields["kind"].default != kind:
        raise InvalidInput(
            f"The system {kind!r} ({package}) has a TASK that is no {Task.__module__}.{Task.__name__} of this kind. Derive it, "
            f"with {kind!r} as the default of its kind."
        )
    return found


def read_task(content: bytes | str, source: str, *, stored: bool = False) -> Task:
    """Read a task of whatever kind from JSON.

    Args:
        content: JSON text.
        source: Where it came from, for the message.
        stored: Whether it was accepted before, see `cloudedge.documents.base.STORED`.

    Raises:
        InvalidDocument: it is none, or of a kind that is not known here or cannot be loaded.
    """
    try:
        document = _document_of(_kind_of(content))
    except InvalidInput as error:
        raise InvalidDocument(f"{source} is not a valid {Task.called}:", [f"kind: {error}"]) from error
    return parse(document, content, source, _MOST_BYTES, stored=stored)


def _document_of(kind: object) -> type[Task]:
    found = task_class(kind) if isinstance(kind, str) else None
    if found is None:
        there = ", ".join(systems())
        raise InvalidInput(
            f"found {shown(kind)}; install the package that is this system, or give one that there is here: {there}"
        )
    return found


def _kind_of(content: bytes | str) -> object:
    """What kind a task says that it is of; the first where it says none, or is no task."""
    first = next(iter(SYSTEMS))
    if len(content) > _MOST_BYTES:
        return first
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return first
    return value.get("kind", first) if isinstance(value, dict) else first
