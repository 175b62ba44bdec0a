"""A record as bytes, for the edge's database: the same record always gives the same bytes, and nothing is ever pickled.

Layout: 8 bytes that name the data format, 4 bytes label, then each field's values in the format's order, all little-endian.
"""

import hashlib
import math
import struct
from functools import lru_cache
from typing import Any

import numpy

from cloudedge.data.records import Record
from cloudedge.documents import DataFormat, canonical_json
from cloudedge.errors import InvalidSamples

_HEAD = struct.Struct("<8sI")


def pack(record: Record, data: DataFormat) -> bytes:
    """Turn a record into bytes."""
    parts = [_HEAD.pack(_format_digest(data), record.label)]
    for field, dtype, _ in _layout(data):
        parts.append(numpy.ascontiguousarray(record.values[field], dtype).tobytes())
    return b"".join(parts)


def unpack(content: bytes, data: DataFormat) -> Record:
    """Turn bytes from `pack` into the record they were.

    Raises:
        InvalidSamples: the bytes were packed for another format, or are incomplete.
    """
    layout = _layout(data)
    expected = _HEAD.size + sum(dtype.itemsize * math.prod(shape) for _, dtype, shape in layout)
    if len(content) < _HEAD.size or content[:8] != _format_digest(data):
        raise InvalidSamples("A stored sample belongs to another data format. Delete it, and add it again in this one.")
    if len(content) != expected:
        raise InvalidSamples(f"A stored sample has {len(content)} bytes instead of {expected}. Delete it, and add it again.")
    _, label = _HEAD.unpack_from(content)
    values: dict[str, Any] = {}
    start = _HEAD.size
    for name, dtype, shape in layout:
        count = math.prod(shape)
        value = numpy.frombuffer(content, dtype, count, start).reshape(shape)
        values[name] = value.astype(dtype.newbyteorder("="))
        start += dtype.itemsize * count
    return Record(values, label)


@lru_cache(maxsize=8)
def _layout(data: DataFormat) -> list[tuple[str, "numpy.dtype[Any]", tuple[int, ...]]]:
    return [(field.name, numpy.dtype(field.dtype).newbyteorder("<"), field.shape) for field in data.fields]


@lru_cache(maxsize=8)
def _format_digest(data: DataFormat) -> bytes:
    """Name what the bytes mean. Scale, offset and the held-out share are applied later, so they may change."""
    meaning = [[[field.name, field.dtype, field.shape] for field in data.fields], data.classes]
    return hashlib.sha256(canonical_json(meaning)).digest()[:8]
