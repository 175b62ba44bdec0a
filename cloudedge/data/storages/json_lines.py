"""JSON lines (https://jsonlines.org): an object a line; a field's value is a number or nested lists of numbers.

Further keys are passed over.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from cloudedge.data.records import Fault, Record, class_index, one_value, shown
from cloudedge.data.storages.text import lines
from cloudedge.documents import DataFormat
from cloudedge.errors import InvalidSamples
from cloudedge.files import atomic_write

ENDINGS: tuple[str, ...] = (".jsonl", ".json-lines", ".ndjson")


def read(file: Path, data: DataFormat) -> Iterator[Record]:
    """Read a file of JSON lines; empty lines are passed over.

    Raises:
        InvalidSamples: names the line, the field, the value found and the remedy.
    """
    for number, line in enumerate(lines(file), start=1):
        if not line.isspace():
            try:
                yield _record(line, data)
            except Fault as fault:
                raise InvalidSamples(f"{file}, line {number}, {fault}.") from None


def write(records: Iterable[Record], folder: Path, data: DataFormat, name: str) -> None:
    """Write `<name>.jsonl`."""
    text = []
    for record in records:
        values = {field.name: record.values[field.name].tolist() for field in data.fields}
        text.append(json.dumps(values | {data.label: data.classes[record.label]}) + "\n")
    atomic_write(folder / f"{name}.jsonl", "".join(text).encode())


def _record(line: str, data: DataFormat) -> Record:
    try:
        sample = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Fault(f"it is not JSON: {error}; write one object on one line") from None
    if not isinstance(sample, dict):
        raise Fault(f"found {shown(sample)}; write one object with the fields and the label") from None
    missing = [name for name in (*(field.name for field in data.fields), data.label) if name not in sample]
    if missing:
        raise Fault(f"field {missing[0]!r}: missing; found {shown(', '.join(sample))}; add it, or correct the task's fields")
    values = {field.name: one_value(sample[field.name], field) for field in data.fields}
    return Record(values, class_index(sample[data.label], data))
