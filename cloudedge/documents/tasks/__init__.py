"""The kinds of tasks, one a file: a module here has the document (`TASK`) of the system whose name it has."""

import json
from importlib import import_module
from importlib.metadata import entry_points

from cloudedge.documents.base import parse
from cloudedge.documents.task import Task
from cloudedge.errors import InvalidDocument
from cloudedge.texts import shown

SYSTEMS = {"collaborative-training": "collaborative_training"}
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


def task_class(kind: str) -> type[Task] | None:
    """The document of a kind of tasks; None if there is none."""
    if kind in SYSTEMS:
        found: type[Task] = import_module(f"{__name__}.{SYSTEMS[kind]}").TASK
        return found
    package = package_of(kind)
    return import_module(f"{package}.task").TASK if package else None


def read_task(content: bytes | str, source: str, *, stored: bool = False) -> Task:
    """Read a task of whatever kind from JSON.

    Args:
        content: JSON text.
        source: Where it came from, for the message.
        stored: Whether it was accepted before, see `cloudedge.documents.base.STORED`.

    Raises:
        InvalidDocument: it is none, or of a kind that is not known here.
    """
    kind = _kind_of(content)
    document = task_class(kind)
    if document is None:
        fault = f"kind: found {shown(kind)}; give one of the systems that there are here: {', '.join(systems())}"
        raise InvalidDocument(f"{source} is not a valid {Task.called}:", [fault])
    return parse(document, content, source, _MOST_BYTES, stored=stored)


def _kind_of(content: bytes | str) -> str:
    """What kind a task says that it is of; the first where it says none, or is none."""
    first = next(iter(SYSTEMS))
    if len(content) > _MOST_BYTES:
        return first
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return first
    kind = value.get("kind", first) if isinstance(value, dict) else first
    return kind if isinstance(kind, str) else first
