"""Model files: safetensors, read and written as they were specified, checked before they are believed.

The format (https://huggingface.co/docs/safetensors): 8 bytes with the header's length, a JSON header with each tensor's type,
shape and place, then the tensors' bytes without gaps. What is written here is canonical (tensors by falling size of their
type, then by name; metadata by key), so that equal models are equal files. Checking needs no torch.
"""

import hashlib
import json
import math
import os
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from cloudedge.errors import InvalidModel, NotFound, SpoiledModel, StoreFailed
from cloudedge.files import atomic_place

if TYPE_CHECKING:
    import torch

MAX_HEADER_BYTES = 16 * 1024 * 1024
"""A longer header is refused before it is read; this is room for over 100,000 tensors."""

_HEADER_MARGIN_BYTES = 1024 * 1024
"""What a header may have beyond twice the length of the one that is expected: another way of writing it, and metadata."""

_MOST_DIMENSIONS = 64
"""As PyTorch has at the most."""

_END = 2**63
"""No place or length in a file is as large."""

CHUNK_BYTES = 1024 * 1024

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

_TORCH_TYPES = {
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
    "F32": "float32",
    "I32": "int32",
    "U32": "uint32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I16": "int16",
    "U16": "uint16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


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


def save(tensors: Mapping[str, "torch.Tensor"], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as one model file: atomically, and equal tensors as equal bytes.

    Args:
        tensors: Tensors of any shape by name; other devices' are copied to the CPU.
        path: Where to; folders are made, a file that is there is replaced.
        metadata: Texts to carry along.

    Raises:
        InvalidModel: a tensor's type has no place in a model file.
        StoreFailed: the disk is full, read-only or broken; nothing was changed.
    """
    import torch

    layouts = layout_of(tensors)
    header, encoded = canonical_header(layouts, metadata or {})

    def write(file: BinaryIO) -> None:
        file.write(encoded)
        for name in header.tensors:
            values = tensors[name].detach().to("cpu").contiguous().flatten()
            file.write(values.view(torch.uint8).numpy().data)

    atomic_place(path, write)


def load(path: Path) -> dict[str, "torch.Tensor"]:
    """Read all tensors of a model file, on the CPU.

    Raises:
        InvalidModel: it is no whole safetensors file.
        NotFound: there is no such file.
        StoreFailed: it cannot be read.
    """
    from safetensors.torch import load_file

    read_header(path)
    tensors: dict[str, torch.Tensor] = load_file(path)
    return tensors


def layout(path: Path) -> dict[str, TensorInfo]:
    """Type and shape of each tensor of a model file; reads only its header.

    Raises:
        InvalidModel: it is no whole safetensors file.
        NotFound: there is no such file.
        StoreFailed: it cannot be read.
    """
    return dict(read_header(path).tensors)


def layout_of(tensors: Mapping[str, "torch.Tensor"]) -> dict[str, TensorInfo]:
    """Type and shape of each tensor, as a model file of them would have.

    Raises:
        InvalidModel: a tensor's type has no place in a model file.
    """
    import torch

    codes = {getattr(torch, name): code for code, name in _TORCH_TYPES.items()}
    for name, tensor in tensors.items():
        if tensor.dtype not in codes:
            raise InvalidModel(
                f"Tensor {name!r} of type {tensor.dtype} has no place in a model file: convert it to one of "
                f"{', '.join(_TORCH_TYPES.values())}."
            )
    return {name: TensorInfo(codes[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()}


def check(
    path: Path,
    like: Mapping[str, TensorInfo],
    *,
    sha256: str | None = None,
    size: int | None = None,
    most: float = sys.float_info.max,
) -> None:
    """Make sure that a file is the model it should be, whole and with finite values. Reads it once, 1 MiB at a time.

    Args:
        path: The file.
        like: Names, types and shapes that it must have.
        sha256: Digest that it must have, as 64 hexadecimal digits.
        size: Length that it must have, in bytes.
        most: Largest absolute value that it may hold.

    Raises:
        InvalidModel: it is another, naming the first thing that differs.
        SpoiledModel: it holds NaN, infinity or a larger value.
        NotFound: there is no such file.
        StoreFailed: it cannot be read.
    """
    # Parsed, a header of nothing but brackets takes twenty times its length in memory.
    longest = 2 * len(canonical_header(like, {})[1]) + _HEADER_MARGIN_BYTES
    header = read_header(path, size=size, longest=min(longest, MAX_HEADER_BYTES))
    check_layout(path.name, header.tensors, like)
    digest = hashlib.sha256()
    spoiled: str | None = None
    with _readable(path) as file:
        digest.update(file.read(header.data_begin))
        for name, info in header.tensors.items():
            for chunk in _chunks(file, info.size):
                digest.update(chunk)
                values = np.frombuffer(chunk, NUMPY_TYPES[info.dtype])
                if spoiled is None and info.dtype in FLOATING and not _largest(values, info.dtype) <= most:
                    spoiled = name
    if sha256 is not None and digest.hexdigest() != sha256:
        raise InvalidModel(
            f"{path.name} has the SHA-256 digest {digest.hexdigest()}, not {sha256}: it was altered on its way; send it again."
        )
    if spoiled is not None:
        beyond = f", or numbers beyond {most:g}" if most < sys.float_info.max else ""
        raise SpoiledModel(
            f"Tensor {spoiled!r} of {path.name} holds NaN or infinity{beyond}: training diverged; lower the learning rate."
        )


def check_layout(subject: str, found: Mapping[str, TensorInfo], like: Mapping[str, TensorInfo]) -> None:
    """Make sure that two models have the same tensors.

    Args:
        subject: What the message calls the model.
        found: Its tensors.
        like: The tensors that it must have.

    Raises:
        InvalidModel: a name is missing or too many, or a type or shape differs; lists the first five differences.
    """
    if found == like:
        return
    faults = [f"{name!r} is missing" for name in like if name not in found]
    faults += [f"{name!r} is not part of the model" for name in found if name not in like]
    faults += [
        f"{name!r} is {found[name]} instead of {like[name]}" for name in like if name in found and found[name] != like[name]
    ]
    more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
    raise InvalidModel(f"{subject} is another model than expected: {'; '.join(faults[:5])}{more}.")


def all_finite(values: npt.NDArray[Any], dtype: str) -> bool:
    """Whether no value is NaN or infinite.

    Args:
        values: Elements as `NUMPY_TYPES` has them, any shape.
        dtype: Safetensors' name of a floating-point type.
    """
    if dtype == "BF16":
        exponent = np.uint16(0x7F80)
        return not bool(((values & exponent) == exponent).any())
    return bool(np.isfinite(values).all())


def _largest(values: npt.NDArray[Any], dtype: str) -> float:
    """The largest absolute value, of none 0; NaN if there is a NaN among them."""
    if dtype == "BF16":
        # The upper half of a float32, without its sign.
        values = ((values & np.uint16(0x7FFF)).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return float(np.abs(values).max(initial=0))


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
    with _readable(path) as file:
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


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    for begin in range(0, size, CHUNK_BYTES):
        chunk = file.read(min(CHUNK_BYTES, size - begin))
        if len(chunk) < min(CHUNK_BYTES, size - begin):
            raise InvalidModel(f"{Path(file.name).name} became shorter while it was read: try again.")
        yield chunk


@contextmanager
def _readable(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise NotFound(f"There is no model file {path}.") from None
    except OSError as error:
        raise StoreFailed(f"Cannot read {path}: {error.strerror}. Check the path, its rights and the disk.") from error
