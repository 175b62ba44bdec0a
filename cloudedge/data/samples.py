"""Samples as a model wants them: tensors, scaled, and split into what is trained on and what is measured on."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from cloudedge.data.records import Record
from cloudedge.data.storages import read_records
from cloudedge.errors import InvalidSamples

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from cloudedge.documents import DataFormat

_BLOCK = 1024
"""Records turned into tensors at a time: few enough to keep the doubles in between small."""


@dataclass(frozen=True)
class Samples:
    """Samples in memory.

    Attributes:
        inputs: float32 [n, *data.input_shape]
        labels: Indices of the classes, int64 [n]
    """

    inputs: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def fingerprint(self) -> str:
        """Digest over values and labels, in their order."""
        digest = hashlib.sha256()
        for tensor in (self.inputs, self.labels):
            digest.update(tensor.contiguous().numpy().reshape(-1).data)
        return digest.hexdigest()


def to_samples(records: Iterable[Record], data: DataFormat) -> Samples:
    """Apply each field's offset and scale, join the fields, and make tensors.

    Args:
        records: Stored samples.
        data: Their format.

    Returns:
        Inputs [n, *data.input_shape] and labels [n]; n may be 0.

    Raises:
        InvalidSamples: a scaled value is too large for float32.
    """
    import torch

    inputs: list[NDArray[numpy.float32]] = [numpy.empty((0, *data.input_shape), numpy.float32)]
    labels: list[int] = []
    for block in _blocks(records):
        inputs.append(_scaled(block, data))
        labels.extend(record.label for record in block)
    return Samples(torch.from_numpy(numpy.concatenate(inputs)), torch.tensor(labels, dtype=torch.int64))


def load_samples(path: Path, data: DataFormat) -> Samples:
    """Read a file or a folder of samples; in a folder of images only the folders in it name classes, not its own name.

    Raises:
        InvalidSamples: what is there does not fit the format.
        NotFound: nothing is there.
    """
    return to_samples(_read(path, data), data)


def count_samples(path: Path, data: DataFormat) -> int:
    """Read a file or a folder to its end as `load_samples` does, keeping nothing: what it raises later, this raises now.

    Returns:
        Number of samples.

    Raises:
        InvalidSamples: what is there does not fit the format.
        NotFound: nothing is there.
    """
    return sum(len(_scaled(block, data)) for block in _blocks(_read(path, data)))


def is_held_out(index_in_class: int, share: float) -> bool:
    """Whether a class's i-th sample, counted from 0, is kept for measuring.

    The share is spread evenly over each class, and where a sample belongs never changes when further ones are added.
    """
    return math.floor((index_in_class + 1) * share + 0.5) > math.floor(index_in_class * share + 0.5)


def holds_out(records: Iterable[Record], share: float) -> bool:
    """Whether some of these samples are kept for measuring; reads no further than it must."""
    seen: Counter[int] = Counter()
    for record in records:
        if is_held_out(seen[record.label], share):
            return True
        seen[record.label] += 1
    return False


def split(samples: Samples, share: float) -> tuple[Samples, Samples]:
    """Part samples, in their order, into those to train on and those to measure on.

    Args:
        samples: All samples.
        share: Share of each class that is held out, between 0 and 1.

    Returns:
        The training samples and the held-out samples. A class with few samples may have none held out.
    """
    seen: dict[int, int] = {}
    parts: tuple[list[int], list[int]] = ([], [])
    for position, label in enumerate(samples.labels.tolist()):
        index = seen.get(label, 0)
        seen[label] = index + 1
        parts[is_held_out(index, share)].append(position)
    training, held_out = (samples.labels.new_tensor(part) for part in parts)
    return (
        Samples(samples.inputs[training], samples.labels[training]),
        Samples(samples.inputs[held_out], samples.labels[held_out]),
    )


def histogram(labels: torch.Tensor, data: DataFormat) -> dict[str, int]:
    """Number of samples of each class, by its name, in the format's order; classes without samples have 0.

    Args:
        labels: Indices of the classes, int64 [n].
        data: The format, which names the classes.
    """
    return dict(zip(data.classes, labels.bincount(minlength=len(data.classes)).tolist(), strict=True))


def _read(path: Path, data: DataFormat) -> Iterator[Record]:
    return read_records(path, data, path if path.is_dir() else None)


def _blocks(records: Iterable[Record]) -> Iterator[list[Record]]:
    iterator = iter(records)
    while block := list(islice(iterator, _BLOCK)):
        yield block


def _scaled(block: list[Record], data: DataFormat) -> NDArray[numpy.float32]:
    parts = []
    for field in data.fields:
        raw: NDArray[Any] = numpy.stack([record.values[field.name] for record in block])
        values = ((raw.astype(numpy.float64) - field.offset) * field.scale).reshape(len(block), -1)
        if not (numpy.abs(values) <= numpy.finfo(numpy.float32).max).all():
            raise InvalidSamples(
                f"Field {field.name!r}: the value {raw.ravel()[numpy.abs(values).argmax()]} is too large for float32 "
                f"after offset {field.offset} and scale {field.scale}. Correct them in the task."
            )
        parts.append(values.astype(numpy.float32))
    return numpy.concatenate(parts, axis=1).reshape(len(block), *data.input_shape)
