"""CSV files (RFC 4180): a header, then a row a sample.

A field of shape () is the column of its name; any other is the columns name_0, name_1, ... in row-major order. Further columns
are passed over.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy

from cloudedge.data.records import Fault, Record, class_index, one_value, shown
from cloudedge.data.storages.text import lines
from cloudedge.documents import DataFormat, Field
from cloudedge.errors import InvalidSamples
from cloudedge.files import atomic_write

ENDINGS: tuple[str, ...] = (".csv",)

_LABEL = ""
"""Key of the label's place among those of the fields, none of which is empty."""


def read(file: Path, data: DataFormat) -> Iterator[Record]:
    """Read a CSV file, row by row.

    Raises:
        InvalidSamples: names the line, the field, the value found and the remedy.
    """
    rows = csv.reader(lines(file), strict=True)
    try:
        header = next(rows, None)
        if header is None:
            raise Fault(f"the file is empty; begin with a header: {shown(','.join(_columns(data)))}")
        places = _places(header, data)
        for row in rows:
            if row:
                yield _record(row, header, places, data)
    except csv.Error as error:
        raise InvalidSamples(f"{file}, line {rows.line_num}: it is not CSV: {error}.") from None
    except Fault as fault:
        raise InvalidSamples(f"{file}, line {max(rows.line_num, 1)}, {fault}.") from None


def write(records: Iterable[Record], folder: Path, data: DataFormat, name: str) -> None:
    """Write `<name>.csv`."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_columns(data))
    for record in records:
        cells = [number for field in data.fields for number in record.values[field.name].ravel().tolist()]
        writer.writerow([*cells, data.classes[record.label]])
    atomic_write(folder / f"{name}.csv", text.getvalue().encode())


def _columns(data: DataFormat) -> list[str]:
    return [name for field in data.fields for name in _field_columns(field)] + [data.label]


def _field_columns(field: Field) -> list[str]:
    return [f"{field.name}_{index}" for index in range(math.prod(field.shape))] if field.shape else [field.name]


def _places(header: list[str], data: DataFormat) -> dict[str, list[int]]:
    """Positions of each field's columns and of the label's."""
    found: dict[str, int] = {}
    for place, title in enumerate(header):
        if found.setdefault(title.strip(), place) != place:
            raise Fault(f"column {title.strip()!r} stands in the header twice; remove one")
    missing = [name for name in _columns(data) if name not in found]
    if missing:
        names = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise Fault(f"the header lacks {names}; found {shown(', '.join(header))}; add them, or correct the task's fields")
    places = {field.name: [found[name] for name in _field_columns(field)] for field in data.fields}
    return places | {_LABEL: [found[data.label]]}


def _record(row: list[str], header: list[str], places: dict[str, list[int]], data: DataFormat) -> Record:
    if len(row) != len(header):
        raise Fault(f"found {len(row)} cells, but the header has {len(header)}; complete the row, or quote cells with commas")
    values = {}
    for field in data.fields:
        numbers = [_number(row[place], header[place], field) for place in places[field.name]]
        values[field.name] = one_value(numpy.array(numbers).reshape(field.shape), field)
    return Record(values, class_index(row[places[_LABEL][0]], data))


def _number(cell: str, column: str, field: Field) -> int | float:
    try:
        if "_" in cell:  # Python would read 1_000 as a number; nobody else does.
            raise ValueError
        if field.dtype.startswith("float"):
            return float(cell)
        try:
            return int(cell)
        except ValueError:
            return float(cell)
    except ValueError:
        raise Fault(f"column {column!r}: found {shown(cell)}; write a number, with a point before its decimals") from None
