"""JSON lines (https://jsonlines.org): an object a line; a field's value is a number or nested lists of numbers.

Further keys are passed over. A key that stands twice in a line is refused, as it has two values.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cloudedge.data.records import ADD_OR_NAME, Fault, Record, class_index, one_value
from cloudedge.data.storages.text import lines
from cloudedge.documents import DataFormat
from cloudedge.documents.base import RepeatedKey, unambiguous
from cloudedge.errors import InvalidSamples
from cloudedge.files import atomic_write
from cloudedge.names import folded
from cloudedge.places import shown_path
from cloudedge.texts import shown

ENDINGS: tuple[str, ...] = (".jsonl", ".json-lines", ".ndjson")


def read(file: Path, data: DataFormat, root: Path) -> Iterator[Record]:
    """Read a file of JSON lines; empty lines are passed over.

    Raises:
        InvalidSamples: names the line, the field, the value found and the remedy.
    """
    for number, line in enumerate(lines(file), start=1):
        if not line.isspace():
            try:
                yield _record(line, data)
            except Fault as fault:
                raise InvalidSamples(f"{shown_path(file)}, line {number}, {fault}.") from None


def write(records: Iterable[Record], folder: Path, data: DataFormat, name: str) -> None:
    """Write `<name>.jsonl`."""
    text = []
    for record in records:
        values = {field.stored_as: record.values[field.name].tolist() for field in data.fields}
        text.append(json.dumps(values | {data.label_stored_as: data.classes[record.label]}) + "\n")
    atomic_write(folder / f"{name}.jsonl", "".join(text).encode())


def _record(line: str, data: DataFormat) -> Record:
    try:
        sample = json.loads(line, object_pairs_hook=unambiguous)
    except RepeatedKey as error:
        raise Fault(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise Fault(f"it is not JSON: {error}; write one object on one line") from None
    if not isinstance(sample, dict):
        raise Fault(f"found {shown(sample)}; write one object with the fields and the label") from None
    values = {field.name: one_value(_value(sample, field.stored_as), field) for field in data.fields}
    return Record(values, class_index(_value(sample, data.label_stored_as), data))


def _value(sample: dict[str, Any], key: str) -> object:
    if key in sample:
        return sample[key]
    found = next((name for name in sample if folded(name) == folded(key)), None)
    if found is None:
        names = shown(", ".join(sample))
        raise Fault(f"field {key!r}: missing; found {names}; {ADD_OR_NAME}")
    return sample[found]
