"""Samples that are in memory, and the data format that suits them."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy

from cloudedge.data import Record, write_records
from cloudedge.data.records import Fault, class_index, field_values
from cloudedge.documents import DataFormat, SampleField, TrainingTask
from cloudedge.errors import InvalidInput, InvalidSamples
from cloudedge.names import FIELD_NAME, checked_name, is_passed_over
from cloudedge.texts import shown

if TYPE_CHECKING:
    import pandas

Table: TypeAlias = Union["pandas.DataFrame", Mapping[str, Any]]
"""Samples of one place: a DataFrame, or arrays of equal length by name."""

InMemory: TypeAlias = Mapping[str, Any]
"""Samples of a whole run: under 'cloud' a table, under 'edges' one by edge, under 'test' one by environment or one alone."""

_MOST_CLASSES = 1000
_DIGITS_OF_A_SPREAD = 2
_PLACES = ("cloud", "edges", "test")


def proposed_format(data: InMemory, label: str) -> dict[str, Any]:
    """The data format of samples in memory, as a task has it.

    Args:
        data: The samples.
        label: The column or array with the classes.

    Returns:
        Fields of the cloud's samples in their order, numbers shifted and scaled by how those spread, and all classes that
        stand anywhere, sorted.

    Raises:
        InvalidInput: there is no such column, or one holds no numbers.
    """
    cloud = _arrays(_tables(data)["cloud"], "cloud")
    if not isinstance(label, str):
        raise InvalidInput(
            f"The label is {shown(type(label).__name__)}: give the name of the column with the classes, as text."
        )
    if label not in cloud:
        raise InvalidInput(
            f"The cloud's samples have no {label!r}; they have: {', '.join(cloud)}. Name the one with the classes."
        )
    classes: set[str] = set()
    for place, table in _tables(data).items():
        labels = _arrays(table, place).get(label)
        if labels is None:
            raise InvalidInput(f"The samples of {place} have no {label!r}, as those of the cloud have.")
        classes |= {_class_name(value) for value in labels.tolist()}
    if not 2 <= len(classes) <= _MOST_CLASSES:
        raise InvalidInput(f"{label!r} has {len(classes)} different values: a model tells 2 to {_MOST_CLASSES} classes apart.")
    fields = _with_names_of_their_own([_field(name, values) for name, values in cloud.items() if name != label])
    named = {"label": label} if re.fullmatch(FIELD_NAME, label) else {"label": "label", "label_column": label}
    ordered = sorted(classes, key=lambda name: (0, float(name), name) if _is_number(name) else (1, 0.0, name))
    return {"storage": "npz", "fields": fields, "classes": ordered, **named}


def write_data(data: InMemory, form: DataFormat, folder: Path) -> Path:
    """Lay samples out as a run on this machine reads them; the same ones are written once.

    Args:
        data: The samples.
        form: Their format; whatever storage it names.
        folder: Where to, in a folder of its own.

    Returns:
        That folder.

    Raises:
        InvalidInput: an edge or environment has no name for a folder.
        InvalidSamples: a sample does not fit the format; names it.
        StoreFailed: the disk does not take them.
    """
    records = {place: to_records(table, form, place) for place, table in _tables(data).items()}
    digest = hashlib.sha256(form.model_dump_json().encode())
    for place, found in sorted(records.items()):
        digest.update(f"{place} {len(found)}\n".encode())
        for record in found:
            digest.update(b"".join(values.tobytes() for values in record.values.values()) + record.label.to_bytes(4, "little"))
    target = folder / digest.hexdigest()[:16]
    if (target / "cloud").exists():
        return target
    for place, found in sorted(records.items(), reverse=True):  # The cloud's last: where they are, all is there.
        write_records(found, target / place, form, "samples")
    return target


def require_edges(data: InMemory, task: TrainingTask) -> None:
    """Make sure that there are samples of all edges that a task asks for.

    Args:
        data: The samples.
        task: The task, whose edges are named in it, or are all that have samples.

    Raises:
        InvalidInput: an edge has none; names it.
    """
    if not task.collaborate:
        return
    found = [str(name) for name in data.get("edges") or ()]
    if not found:
        raise InvalidInput("The data has no 'edges': give samples by edge, or set collaborate to false.")
    missing = [name for name in task.collaboration.edges if name not in found]
    if missing:
        raise InvalidInput(
            f"The task names the edges {', '.join(missing)}, but the data has only: {', '.join(found)}. "
            "Give their samples, or correct collaboration.edges in the task."
        )


def to_records(table: Table, form: DataFormat, place: str, *, labelled: bool = True) -> list[Record]:
    """Samples as a format has them.

    Args:
        table: The samples.
        form: Their format.
        place: What they are, for the message.
        labelled: Whether they have labels.

    Raises:
        InvalidSamples: one does not fit; names field and value.
    """
    arrays = _arrays(table, place)
    try:
        values = {field.name: field_values(_raw(arrays, field), field) for field in form.fields}
        labels = [0] * len(next(iter(values.values())))
        if labelled:
            labels = [class_index(_class_name(value), form) for value in _column(arrays, form.label_stored_as).tolist()]
    except Fault as fault:
        raise InvalidSamples(f"The samples of {place}, sample {fault.sample}, {fault}.") from None
    return [Record({name: column[index] for name, column in values.items()}, label) for index, label in enumerate(labels)]


def _tables(data: InMemory) -> dict[str, Table]:
    """Each place's samples, by its folder."""
    if not isinstance(data, Mapping):
        raise InvalidInput(f"The data is {shown(type(data).__name__)}: give a dictionary with 'cloud', 'edges' and 'test'.")
    if "cloud" not in data:
        raise InvalidInput(
            f"The data has no 'cloud', only: {', '.join(map(str, data)) or 'nothing'}. Give samples to begin with."
        )
    unknown = [str(name) for name in data if name not in _PLACES]
    if unknown:
        raise InvalidInput(f"The data has {', '.join(unknown)}, which is none of {', '.join(_PLACES)}: rename or leave it out.")
    tables: dict[str, Table] = {"cloud": data["cloud"]}
    for name in ("edges", "test"):
        found = data.get(name)
        if found is None:
            continue
        if name == "test" and _is_table(found):
            tables["test"] = found
            continue
        if not isinstance(found, Mapping) or (found and _is_table(found)):
            raise InvalidInput("The data's 'edges' are one table: give a dictionary with a table for each edge, by its name.")
        for inner, table in found.items():
            tables[f"{name}/{_folder_name(name, inner)}"] = table
    return tables


def _folder_name(within: str, name: Any) -> str:
    """The name of an edge or environment, which becomes that of a folder.

    Raises:
        InvalidInput: it is none.
    """
    if within == "edges":
        return checked_name(str(name), "an edge")
    if not re.fullmatch(r"[^/\0]+", str(name)) or is_passed_over(str(name)):
        raise InvalidInput(f"{shown(str(name))} is not a name of an environment: leave out slashes and a dot in front.")
    return str(name)


def _is_table(value: Any) -> bool:
    """Whether this is one table, and no dictionary of tables."""
    if not isinstance(value, Mapping):
        return True
    return not any(hasattr(inner, "columns") or isinstance(inner, Mapping) for inner in value.values())


def _arrays(table: Table, place: str) -> dict[str, numpy.ndarray[Any, Any]]:
    if not (hasattr(table, "columns") or isinstance(table, Mapping)):
        raise InvalidInput(
            f"The samples of {place} are {shown(type(table).__name__)}: give a DataFrame, or a dictionary of arrays by name."
        )
    names: Sequence[Any] = list(getattr(table, "columns", table))
    if len(set(map(str, names))) < len(names):
        twice = next(name for name, times in Counter(map(str, names)).items() if times > 1)
        raise InvalidInput(f"The samples of {place} have the column {twice!r} more than once: rename one.")
    found = {str(name): numpy.asarray(table[name]) for name in names}
    lengths = {name: len(values) if values.ndim else -1 for name, values in found.items()}
    if not found or len(set(lengths.values())) > 1 or -1 in lengths.values():
        raise InvalidInput(
            f"The samples of {place} have columns of different lengths, or none: {shown(lengths)}. Make them equal."
        )
    if not next(iter(lengths.values())):
        raise InvalidInput(f"The samples of {place} are none: give some, or leave {place} out.")
    return found


def _column(arrays: Mapping[str, numpy.ndarray[Any, Any]], name: str) -> numpy.ndarray[Any, Any]:
    if name not in arrays:
        raise Fault(f"found {shown(', '.join(arrays))}, and no {name!r}; add it, or correct the task's data format")
    return arrays[name]


def _raw(arrays: Mapping[str, numpy.ndarray[Any, Any]], field: SampleField) -> numpy.ndarray[Any, Any]:
    """A field's values, [n, *shape]; a field with a shape may be several columns, NAME_0, NAME_1 and so on."""
    name = field.stored_as
    if name in arrays or not field.shape:
        return _column(arrays, name)
    count = int(numpy.prod(field.shape))
    columns = [_column(arrays, f"{name}_{index}") for index in range(count)]
    return numpy.stack(columns, axis=1).reshape(-1, *field.shape)


def _field(name: str, values: numpy.ndarray[Any, Any]) -> dict[str, Any]:
    if values.dtype.kind not in "biuf":
        other = next((value for value in values.ravel().tolist() if isinstance(value, str) or value is None), None)
        found = f"{shown(other)}" if other is not None else f"{values.dtype}"
        raise InvalidInput(f"{name!r} holds {found}, and a model reads numbers: leave it out, or turn it into numbers.")
    called = name if re.fullmatch(FIELD_NAME, name) else re.sub(r"\W+", "_", f"x_{name}", flags=re.ASCII)
    field: dict[str, Any] = {"name": called, "shape": list(values.shape[1:])}
    if called != name:
        field["column"] = name
    if values.dtype == numpy.uint8:
        return {**field, "dtype": "uint8", "scale": 1 / 255}
    finite = values[numpy.isfinite(values)].astype(numpy.float64)
    spread = float(finite.std()) if finite.size else 0.0
    middle = float(finite.mean()) if finite.size else 0.0
    if not spread:
        return {**field, "offset": middle, "scale": 1.0}
    # Rounded to what is little beside the spread, however far from 0 the numbers are.
    offset = round(middle, _DIGITS_OF_A_SPREAD - math.floor(math.log10(spread)))
    return {**field, "offset": offset, "scale": float(f"{1 / spread:.4g}")}


def _with_names_of_their_own(fields: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The fields, numbered where the columns' names differ in nothing that a field's name has."""
    seen: Counter[str] = Counter()
    for field in fields:
        seen[field["name"]] += 1
        if seen[field["name"]] > 1:
            field["column"] = field.get("column", field["name"])
            field["name"] += f"_{seen[field['name']]}"
    return fields


def _class_name(value: Any) -> str:
    """The name of a class by a sample's label.

    Raises:
        InvalidInput: the label is missing, or no name of a class.
    """
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if value is None or str(value) in ("nan", "<NA>", "NaT"):
        raise InvalidInput("A sample has no label: leave it out, or give it one.")
    if isinstance(value, float | list | tuple):
        raise InvalidInput(f"A sample's label is {shown(value)}: give the class as text or as a whole number.")
    return str(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
