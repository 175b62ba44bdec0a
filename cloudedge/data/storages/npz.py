"""NumPy archives: an array for each field and one for the labels; the first axis counts samples.

Nothing is ever unpickled, and arrays are read block by block, so a file that unpacks to far more than it weighs can neither run
code nor fill the memory. Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy
from numpy.typing import NDArray

from cloudedge.data.records import ADD_OR_NAME, Fault, Record, class_index, field_values
from cloudedge.documents import DataFormat
from cloudedge.errors import InvalidSamples
from cloudedge.files import atomic_write
from cloudedge.names import folded
from cloudedge.places import shown_path
from cloudedge.texts import shown

ENDINGS: tuple[str, ...] = (".npz",)

MAX_ARRAY_BYTES = 4 * 1024**3
"""Unpacked size of one array; larger sets are stored in several files."""

_BLOCK_BYTES = 1024 * 1024


class _Array(NamedTuple):
    """An array that is read from its archive block by block."""

    name: str
    stream: IO[bytes]
    shape: tuple[int, ...]
    dtype: "numpy.dtype[Any]"

    @property
    def sample_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape[1:])

    def next(self, count: int) -> NDArray[Any]:
        content = self.stream.read(count * self.sample_bytes)
        if len(content) < count * self.sample_bytes:
            raise Fault(f"array {self.name!r} ends early; write the file again")
        return numpy.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])


def read(file: Path, data: DataFormat, root: Path) -> Iterator[Record]:
    """Read an archive, in blocks.

    Raises:
        InvalidSamples: names the array, the index of the sample, the value found and the remedy.
    """
    try:
        with ExitStack() as stack:
            archive = stack.enter_context(zipfile.ZipFile(file))
            names = [*(field.stored_as for field in data.fields), data.label_stored_as]
            arrays = [_open(stack, archive, name) for name in names]
            total = _count(arrays)
            for field, array in zip(data.fields, arrays, strict=False):
                field_values(numpy.empty((0, *array.shape[1:]), array.dtype), field)
            if len(arrays[-1].shape) != 1 or arrays[-1].dtype.kind not in "iuU":
                raise Fault(
                    f"array {data.label_stored_as!r} is no list of class names or indices; store integers or texts, one each"
                )
            block = max(1, _BLOCK_BYTES // max(1, sum(array.sample_bytes for array in arrays)))
            for start in range(0, total, block):
                try:
                    yield from _records(arrays, min(block, total - start), data)
                except Fault as fault:
                    raise Fault(f"sample {start + fault.sample}, {fault}") from None
    except Fault as fault:
        raise InvalidSamples(f"{shown_path(file)}, {fault}.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise InvalidSamples(f"{shown_path(file)} is no readable npz file: {error}. Write it again with numpy.savez.") from None


def write(records: Iterable[Record], folder: Path, data: DataFormat, name: str) -> None:
    """Write `<name>.npz`."""
    kept = list(records)
    arrays = {
        field.stored_as: numpy.array([record.values[field.name] for record in kept], field.dtype).reshape(
            len(kept), *field.shape
        )
        for field in data.fields
    }
    arrays[data.label_stored_as] = numpy.array([data.classes[record.label] for record in kept], dtype=numpy.str_)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for key, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{key}.npy"), "w", force_zip64=True) as stream:
                numpy.lib.format.write_array(stream, array, allow_pickle=False)
    atomic_write(folder / f"{name}.npz", content.getvalue())


def _records(arrays: list[_Array], count: int, data: DataFormat) -> Iterator[Record]:
    columns = [field_values(array.next(count), field) for field, array in zip(data.fields, arrays, strict=False)]
    labels = arrays[-1].next(count).tolist()
    for index, label in enumerate(labels):
        try:
            found = class_index(label, data)
        except Fault as fault:
            raise Fault(str(fault), sample=index) from None
        # Copied, so that a record kept does not keep its whole block.
        values = {field.name: numpy.array(column[index]) for field, column in zip(data.fields, columns, strict=True)}
        yield Record(values, found)


def _open(stack: ExitStack, archive: zipfile.ZipFile, name: str) -> _Array:
    wanted = folded(f"{name}.npy")
    members = [info for info in archive.infolist() if folded(info.filename) == wanted]
    if not members:
        found = ", ".join(sorted(archive.namelist())[:10]) or "nothing"
        raise Fault(f"array {name!r} is missing; found {shown(found)}; {ADD_OR_NAME}")
    if len(members) > 1:
        raise Fault(f"array {name!r} stands there {len(members)} times; keep one")
    member = members[0]
    stream = stack.enter_context(archive.open(member))
    try:
        version = numpy.lib.format.read_magic(stream)
        header = {(1, 0): numpy.lib.format.read_array_header_1_0, (2, 0): numpy.lib.format.read_array_header_2_0}[version]
        shape, fortran_order, dtype = header(stream)
    except (ValueError, KeyError, SyntaxError, tokenize.TokenError) as error:
        raise Fault(f"array {name!r} has no readable header: {error}; write the file again with numpy.savez") from None
    if dtype.hasobject:
        raise Fault(f"array {name!r} holds pickled objects, which are never read; store plain numbers or texts")
    if not shape or min(shape) < 0:
        raise Fault(f"array {name!r} has the shape {shape}; its first axis must count samples")
    size = dtype.itemsize * math.prod(shape)
    if max(size, member.file_size) > MAX_ARRAY_BYTES:
        raise Fault(f"array {name!r} unpacks to {max(size, member.file_size)} bytes; store at most {MAX_ARRAY_BYTES} in a file")
    if fortran_order and len(shape) > 1:
        raise Fault(f"array {name!r} is stored column by column; save numpy.ascontiguousarray(...) of it")
    return _Array(name, stream, shape, dtype)


def _count(arrays: list[_Array]) -> int:
    counts = {array.name: array.shape[0] for array in arrays}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise Fault(f"the arrays have different numbers of samples ({found}); store one value of each for every sample")
    return arrays[-1].shape[0]
