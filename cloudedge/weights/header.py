"""What a model file says of itself: its header, laid out and verified."""

import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from cloudedge.errors import InvalidModel, NotFound, StoreFailed

MAX_HEADER_BYTES = 16 * 1024 * 1024
"""A longer header is refused before it is read; this is room for over 100,000 tensors."""

_MOST_DIMENSIONS = 64
"""As PyTorch has at the most."""

_END = 2**63
"""No place or length in a file is as large."""

NUMPY_TYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
"""The types of tensors that are understood, and numpy's type of the same bytes; of bfloat16, which numpy lacks, the bits."""

FLOATING = frozenset({"F64", "F32", "F16", "BF16"})


class TensorInfo(NamedTuple):
    """A tensor without its numbers: safetensors' name of its type (F32, I64, ...) and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.elements * NUMPY_TYPES[self.dtype].itemsize

    def __str__(self) -> str:
        """As a person reads it: F32 (64, 10)."""
        return f"{self.dtype} {self.shape}"


@dataclass(frozen=True)
class Header:
    """What a model file holds, and where.

    Attributes:
        tensors: Type and shape of each tensor, by name, in the order of their bytes.
        begins: Place of each tensor's first byte, counted from the file's start.
        metadata: Texts that the file carries along.
        size: Length of the whole file in bytes.
        data_begin: Place of the first byte after the header.
    """

    tensors: Mapping[str, TensorInfo]
    begins: Mapping[str, int]
    metadata: Mapping[str, str]
    size: int
    data_begin: int


def layout(path: Path) -> dict[str, TensorInfo]:
    """Type and shape of each tensor of a model file; reads only its header.

    Raises:
        InvalidModel: it is no whole safetensors file.
        NotFound: there is no such file.
        StoreFailed: it cannot be read.
    """
    return dict(read_header(path).tensors)


def read_header(path: Path, *, size: int | None = None, longest: int = MAX_HEADER_BYTES) -> Header:
    """Read and verify what a model file says of itself; never its tensors.

    Args:
        path: The file.
        size: Length that it must have, in bytes.
        longest: Length of the longest header that is read, in bytes.

    Raises:
        InvalidModel: it has another length, is truncated, or is no safetensors file.
        NotFound: there is no such file.
        StoreFailed: it cannot be read.
    """
    with readable(path) as file:
        found = os.fstat(file.fileno()).st_size
        if size is not None and found != size:
            raise InvalidModel(f"{path.name} has {found} bytes, not {size}: it is another file or was cut off; send it again.")
        if found < 8:
            raise InvalidModel(f"{path.name} is no safetensors file: it has only {found} bytes.")
        (length,) = struct.unpack("<Q", file.read(8))
        if length > min(longest, found - 8):
            raise InvalidModel(
                f"{path.name} is no safetensors file or was cut off: it announces a header of {length} bytes; "
                f"at most {min(longest, found - 8)} are possible."
            )
        text = file.read(length)
    try:
        return _parsed(text, found)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidModel(f"{path.name} is no whole safetensors file: {error}.") from None


def canonical_header(tensors: Mapping[str, TensorInfo], metadata: Mapping[str, str]) -> tuple[Header, bytes]:
    """Lay tensors out in a file, always in the same way.

    Returns:
        The header, and the bytes that the file begins with.
    """
    order = sorted(tensors, key=lambda name: (-NUMPY_TYPES[tensors[name].dtype].itemsize, name))
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    begins = {}
    place = 0
    for name in order:
        info = tensors[name]
        begins[name] = place
        entries[name] = {"dtype": info.dtype, "shape": info.shape, "data_offsets": (place, place + info.size)}
        place += info.size
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    start = 8 + len(text)
    header = Header(
        tensors={name: tensors[name] for name in order},
        begins={name: start + begin for name, begin in begins.items()},
        metadata=dict(metadata),
        size=start + place,
        data_begin=start,
    )
    return header, struct.pack("<Q", len(text)) + text


@contextmanager
def readable(path: Path) -> Iterator[BinaryIO]:
    """A model file, open to be read.

    Raises:
        NotFound: there is no such file.
        StoreFailed: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise NotFound(f"There is no model file {path}.") from None
    except OSError as error:
        raise StoreFailed(f"Cannot read {path}: {error.strerror}. Check the path, its rights and the disk.") from error


def _parsed(text: bytes, file_size: int) -> Header:
    """Turn a header's JSON into a header; raises ValueError, TypeError or KeyError for whatever is wrong with it."""
    entries = json.loads(text, object_pairs_hook=_checked_object)
    if not isinstance(entries, dict):
        raise TypeError("its header is not a JSON object")
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise TypeError("its metadata are not texts")
    start = 8 + len(text)
    placed = sorted((_placed(name, entry) for name, entry in entries.items()), key=lambda tensor: tensor[2:])
    end = 0
    for name, _, begin, stop in placed:
        if begin != end:
            raise ValueError(f"tensor {name!r} begins at byte {begin} of the data, not where the one before ends, at {end}")
        end = stop
    if start + end != file_size:
        raise ValueError(f"its header describes {start + end} bytes, the file has {file_size}")
    return Header(
        tensors={name: info for name, info, _, _ in placed},
        begins={name: start + begin for name, _, begin, _ in placed},
        metadata=metadata,
        size=file_size,
        data_begin=start,
    )


def _placed(name: str, entry: Any) -> tuple[str, TensorInfo, int, int]:
    """Name, type and shape, first byte and byte after the last, both counted from the data's start."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise TypeError(f"the entry of tensor {name!r} is not made of dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in NUMPY_TYPES:
        raise TypeError(f"tensor {name!r} is of type {dtype!r}; understood are {', '.join(NUMPY_TYPES)}")
    for numbers in (shape, offsets):
        # Before anything is multiplied: with enough large factors that takes hours.
        if (
            not isinstance(numbers, list)
            or len(numbers) > _MOST_DIMENSIONS
            or not all(type(number) is int and 0 <= number < _END for number in numbers)
        ):
            raise TypeError(f"shape and place of tensor {name!r} must be lists of counts, at most {_MOST_DIMENSIONS}")
    info = TensorInfo(dtype, tuple(shape))
    if len(offsets) != 2 or offsets[1] - offsets[0] != info.size:
        raise ValueError(f"tensor {name!r} of {info} takes {info.size} bytes but has the place {offsets}")
    return name, info, offsets[0], offsets[1]


def _checked_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("its header has a name twice")
    for text in (*entries, *(value for value in entries.values() if isinstance(value, str))):
        # JSON can write half a surrogate pair, which is no text: ValueError.
        text.encode()
    return entries
