"""A task as a data scientist holds it: made from a file, from fields or from data, looked at, and changed."""

from collections.abc import Mapping
from copy import deepcopy
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudedge.documents import Task as Document
from cloudedge.documents import canonical_json, read_task
from cloudedge.documents.tasks import SYSTEMS
from cloudedge.errors import InvalidInput, NotFound
from cloudedge.files import atomic_write
from cloudedge.texts import shown

if TYPE_CHECKING:
    from pipelines.experiments.data import InMemory


class Task:
    """What is asked for: a document with a name, an id, and the fields of its system.

    It never changes; what changes a field gives another task.

    Attributes:
        document: The validated document.
    """

    document: Document

    def __init__(self, fields: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Make one of its fields, as they stand in a task's file.

        Args:
            fields: The fields by name.
            more: Further ones.

        Raises:
            InvalidDocument: they make no task; lists every fault.
        """
        self.document = read_task(canonical_json({**(fields or {}), **more}), "The task")

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> "Task":
        """Read a task's file, JSON.

        Raises:
            NotFound: there is no such file.
            InvalidInput: it cannot be read.
            InvalidDocument: it is no task; lists every fault.
        """
        return cls.of(task_in_file(Path(path)))

    @classmethod
    def of(cls, document: Document) -> "Task":
        """The task of a document."""
        task = cls.__new__(cls)
        task.document = document
        return task

    @classmethod
    def demo(cls, system: str = next(iter(SYSTEMS)), edges: int | None = None) -> "Task":
        """The task of a system's demo, to be run with the data that `Laptop.run` takes where none is named.

        Args:
            system: Name of the system.
            edges: Number of edges; none: the demo's own.

        Raises:
            NotFound: there is no such system, or it has no demo.
            InvalidInput: the demo's data is not enough for so many edges.
        """
        from pipelines.systems import system_named

        demo = system_named(system).demo
        if demo is None:
            raise NotFound(f"{system} has no demo.")
        return cls.of(demo.task(edges or demo.edges))

    @classmethod
    def for_data(cls, data: "InMemory", label: str = "label", *, id: str, name: str | None = None, **fields: Any) -> "Task":
        """A task of collaborative training for data in memory, with a data format that suits it.

        Numbers are shifted and scaled as the cloud's samples spread, so that a network finds them between about -1 and 1. The
        classes are all labels that stand anywhere, at whichever edge, by their names: as text.

        Args:
            data: As for `Laptop.run`: DataFrames, or dictionaries of arrays.
            label: The column, or the array, that holds the classes.
            id: Id of the task and of its run: lower-case letters, digits and inner hyphens, at most 53 characters.
            name: What people call it; none: its id.
            fields: Further fields of the task.

        Raises:
            InvalidInput: the data has no such column, or what no format holds.
            InvalidDocument: the fields make no task; lists every fault.
        """
        from pipelines.experiments.data import proposed_format

        return cls({"data": proposed_format(data, label)}, id=id, name=name or id, **fields)

    @property
    def id(self) -> str:
        """Id of the task and of its run."""
        return self.document.id

    @property
    def name(self) -> str:
        """What people call it."""
        return self.document.name

    @property
    def kind(self) -> str:
        """The system that it is for."""
        return self.document.kind

    def changed(self, changes: Mapping[str, Any] | None = None, **more: Any) -> "Task":
        """The same task with other values.

        Args:
            changes: Values by field, parts of the document joined by dots: 'collaboration.fusion.rule'. What is given for a
                part takes the place of all of it: a 'collaboration' without rounds has the default's.
            more: Values of the task's own fields.

        Raises:
            InvalidInput: there is no such field.
            InvalidDocument: the values make no task; lists every fault.
        """
        fields = deepcopy(self.fields)
        for place, value in {**(changes or {}), **more}.items():
            *parts, name = place.split(".")
            part = fields
            for step in parts:
                part = _part(part, step, place)
            if name not in part and not _is_open(self.document, parts):
                raise InvalidInput(_unknown(place, name, part))
            part[name] = deepcopy(value)
        return Task(fields)

    def __getitem__(self, place: str) -> Any:
        """The value of a field, parts joined by dots.

        Raises:
            InvalidInput: there is no such field.
        """
        value: Any = self.fields
        for step in place.split("."):
            value = _part(value, step, place, inner=False)
        return value

    @property
    def fields(self) -> dict[str, Any]:
        """All fields, as they stand in a file."""
        return self.document.model_dump(mode="json")

    def save(self, path: str | PathLike[str]) -> Path:
        """Write it to a file, for the command line.

        Raises:
            StoreFailed: the disk does not take it.
        """
        atomic_write(Path(path), self.document.to_json())
        return Path(path)

    def __eq__(self, other: object) -> bool:
        """Whether it asks for the same."""
        return isinstance(other, Task) and canonical_json(self.document) == canonical_json(other.document)

    def __hash__(self) -> int:
        """Equal tasks have the same."""
        return hash(canonical_json(self.document))

    def __repr__(self) -> str:
        from pipelines.systems import system_of

        return f"Task {self.id!r}: {self.name}, {system_of(self.document).in_words(self.document)}"

    def _repr_html_(self) -> str:
        from cloud.pages.markup import element, table

        rows = [(place, shown(value)) for place, value in _leaves(self.fields)]
        return str(element("details", element("summary", repr(self)), table(("field", "value"), rows)))


def task_in_file(path: Path) -> Document:
    """Read a task's file.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it cannot be read.
        InvalidDocument: it is no task; names all its faults.
    """
    return read_task(file_content(path, "task"), str(path))


def file_content(path: Path, what: str) -> bytes:
    """Read a file that somebody named.

    Args:
        path: The file.
        what: What is in it.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}: correct the path of the {what}.") from None
    except IsADirectoryError:
        raise InvalidInput(f"{path} is a folder: name the {what}'s file in it.") from None
    except OSError as error:
        raise InvalidInput(f"Cannot read {path}: {error.strerror}. Mend that, or name another file.") from None


def _part(value: Any, step: str, place: str, *, inner: bool = True) -> Any:
    if not isinstance(value, dict) or step not in value or (inner and not isinstance(value[step], dict)):
        raise InvalidInput(_unknown(place, step, value))
    return value[step]


def _unknown(place: str, name: str, part: Any) -> str:
    known = f"there are: {', '.join(part)}" if isinstance(part, dict) and part else "there is nothing below it"
    return f"The task has no field {place!r}: {name!r} is unknown, {known}."


def _is_open(document: Document, parts: list[str]) -> bool:
    """Whether what stands at a place is a dictionary that takes any names, such as a rule's own parameters."""
    value: Any = document
    for step in parts:
        value = getattr(value, step, None) if not isinstance(value, dict) else value.get(step)
    return isinstance(value, dict)


def _leaves(value: dict[str, Any], above: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, inner in value.items():
        found += _leaves(inner, f"{above}{name}.") if isinstance(inner, dict) and inner else [(above + name, inner)]
    return found
