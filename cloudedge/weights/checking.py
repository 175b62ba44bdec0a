"""Whether a file is the model that it should be."""

import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from cloudedge.errors import InvalidModel, SpoiledModel
from cloudedge.weights.header import (
    FLOATING,
    MAX_HEADER_BYTES,
    NUMPY_TYPES,
    TensorInfo,
    canonical_header,
    read_header,
    readable,
)

_HEADER_MARGIN_BYTES = 1024 * 1024
"""What a header may have beyond twice the length of the one that is expected: another way of writing it, and metadata."""

_CHUNK_BYTES = 1024 * 1024


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
    with readable(path) as file:
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


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    for begin in range(0, size, _CHUNK_BYTES):
        chunk = file.read(min(_CHUNK_BYTES, size - begin))
        if len(chunk) < min(_CHUNK_BYTES, size - begin):
            raise InvalidModel(f"{Path(file.name).name} became shorter while it was read: try again.")
        yield chunk
