"""CSV files (RFC 4180): a header, then a row a sample.

A field of shape () is the column of its name; any other is the columns name_0, name_1, ... in row-major order. Further columns
are passed over, as are rows without any value and the empty columns and rows that spreadsheets leave at the end.
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy

from cloudedge.data.records import ADD_OR_NAME, Fault, Record, class_index, one_value
from cloudedge.data.storages.text import lines
from cloudedge.documents import DataFormat, SampleField
from cloudedge.errors import InvalidSamples
from cloudedge.files import atomic_write
from cloudedge.names import folded
from cloudedge.places import shown_path
from cloudedge.texts import shown

ENDINGS: tuple[str, ...] = (".csv",)

_LABEL = ""
"""Key of the label's place among those of the fields, none of which is empty."""

_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def read(file: Path, data: DataFormat, root: Path) -> Iterator[Record]:
    """Read a CSV file, row by row.

    Raises:
        InvalidSamples: names the line, the field, the value found and the remedy.
    """
    text = lines(file)
    first = next(text, "")
    rows = csv.reader(chain([first], text), strict=True)
    try:
        header = _header(rows, first, data)
        places = _places(header, data)
        for row in rows:
            if any(cell and not cell.isspace() for cell in row):
                yield _record(row, header, places, data)
    except csv.Error as error:
        raise InvalidSamples(f"{shown_path(file)}, line {rows.line_num}: it is not CSV: {error}.") from None
    except Fault as fault:
        raise InvalidSamples(f"{shown_path(file)}, line {max(rows.line_num, 1)}, {fault}.") from None


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
    return [name for field in data.fields for name in _field_columns(field)] + [data.label_stored_as]


def _field_columns(field: SampleField) -> list[str]:
    name = field.stored_as
    return [f"{name}_{index}" for index in range(math.prod(field.shape))] if field.shape else [name]


def _header(rows: Iterator[list[str]], line: str, data: DataFormat) -> list[str]:
    """The header, unless the line that should hold it is another thing that programs write."""
    wanted = {folded(name) for name in _columns(data)}
    if not line:
        raise Fault(f"the file is empty; begin with a header: {shown(','.join(_columns(data)))}")
    if line.lower().startswith(("sep=", '"sep=')):
        raise Fault(
            f"found {shown(line.strip())}, which only spreadsheets read; remove that line, and separate columns by commas"
        )
    if "\0" in line:
        raise Fault("the text holds NUL characters, as UTF-16 does; save the file as UTF-8 ('CSV UTF-8' in spreadsheets)")
    for separator, name in _OTHER_SEPARATORS.items():
        titles = {folded(title.strip('" \r\n')) for title in line.split(separator)}
        if separator in line and titles & wanted and not {folded(title.strip('" \r\n')) for title in line.split(",")} & wanted:
            raise Fault(f"columns are separated by {name}; save the file with commas, and with points before decimals")
    return next(rows, [])


def _places(header: list[str], data: DataFormat) -> dict[str, list[int]]:
    """Positions of each field's columns and of the label's."""
    titles = Counter(folded(title) for title in header)
    found = {folded(title): place for place, title in enumerate(header)}
    wanted = _columns(data)
    missing = [name for name in wanted if folded(name) not in found]
    if missing:
        names = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise Fault(f"the header lacks {names}; found {shown(', '.join(header))}; {ADD_OR_NAME}")
    twice = next((name for name in wanted if titles[folded(name)] > 1), None)
    if twice is not None:
        raise Fault(f"column {twice!r} stands in the header twice; remove one")
    places = {field.name: [found[folded(name)] for name in _field_columns(field)] for field in data.fields}
    return places | {_LABEL: [found[folded(data.label_stored_as)]]}


def _record(row: list[str], header: list[str], places: dict[str, list[int]], data: DataFormat) -> Record:
    # An empty column at the end may be missing in the header or in some rows, as spreadsheets write it.
    cells = row[: len(header)] + [""] * (len(header) - len(row))
    if any(cell.strip() for cell in row[len(header) :] + header[len(row) :]):
        raise Fault(f"found {len(row)} cells, but the header has {len(header)}; complete the row, or quote cells with commas")
    values = {}
    for field in data.fields:
        numbers = [_number(cells[place], header[place], field) for place in places[field.name]]
        values[field.name] = one_value(numpy.array(numbers).reshape(field.shape), field)
    return Record(values, class_index(cells[places[_LABEL][0]], data))


def _number(cell: str, column: str, field: SampleField) -> int | float:
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
