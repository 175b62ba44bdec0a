"""Walking many model files at once, block by block, in memory that does not grow with their number or size.

Files are read by position (pread) into a few buffers that stay in the processor's cache, not by memory map: nearly as fast,
without page tables that grow with every byte touched, and a file that fails under us is an error, not a dead process.
"""

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cloudedge.errors import InvalidModel, StoreFailed
from cloudedge.weights import FLOATING, NUMPY_TYPES, Header, all_finite, check_layout, read_header

Array = npt.NDArray[Any]

BLOCK_BYTES = 1024 * 1024
"""What is read of a file at a time: large enough that Python's share of the time is small, small enough for the cache."""

MOST_OPEN_FILES = 128
"""Files beyond this number are opened for each read: systems allow a process 256 to 1024."""


class ModelFile(AbstractContextManager["ModelFile"]):
    """A model file that is read by position; safe to share between threads."""

    def __init__(self, path: Path, header: Header, *, keep_open: bool = True) -> None:
        """Open it, unless it is to be opened for each read.

        Raises:
            StoreFailed: it cannot be opened.
        """
        self.path = path
        self.header = header
        self._descriptor = self._opened() if keep_open else None

    def read(self, begin: int, into: Array) -> None:
        """Fill an array with the bytes that begin at a place.

        Raises:
            InvalidModel: the file ends before.
            StoreFailed: it cannot be read.
        """
        if self._descriptor is not None:
            self._read(self._descriptor, begin, into)
            return
        descriptor = self._opened()
        try:
            self._read(descriptor, begin, into)
        finally:
            os.close(descriptor)

    def __exit__(self, *_: object) -> None:
        """Close it."""
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _opened(self) -> int:
        try:
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreFailed(f"Cannot read {self.path}: {error.strerror}.") from error

    def _read(self, descriptor: int, begin: int, into: Array) -> None:
        rest = into.data.cast("B")
        while rest:
            try:
                got = os.preadv(descriptor, [rest], begin)
            except OSError as error:
                raise StoreFailed(f"Cannot read {self.path}: {error.strerror}.") from error
            if not got:
                raise InvalidModel(f"{self.path} ended early: it was cut off while it was read.")
            begin += got
            rest = rest[got:]


class Models(AbstractContextManager["Models"]):
    """Files with the same tensors, of which the first says which these are."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Open them and compare their tensors.

        Raises:
            InvalidModel: one is no safetensors file, or has other tensors than the first.
            NotFound: one does not exist.
            StoreFailed: one cannot be read.
        """
        self.layouts: list[Header] = []
        self.files: list[ModelFile] = []
        try:
            for number, path in enumerate(paths):
                header = self._shared(read_header(path))
                check_layout(path.name, header.tensors, self.layouts[0].tensors)
                self.files.append(ModelFile(path, header, keep_open=number < MOST_OPEN_FILES))
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        """Close all files."""
        for file in self.files:
            file.__exit__()

    def _shared(self, header: Header) -> Header:
        """The equal header seen before, so that many alike files cost the memory of one header."""
        for seen in self.layouts:
            if seen == header:
                return seen
        self.layouts.append(header)
        return header


@dataclass(frozen=True)
class Span:
    """Tensors of one type that lie side by side in every file, so that they can be walked as one.

    Attributes:
        name: The first of them.
        dtype: Their type, as safetensors names it.
        count: Their elements together.
    """

    name: str
    dtype: str
    count: int


@dataclass(frozen=True)
class Block:
    """A piece of a span: `count` elements from the one numbered `start` on."""

    span: Span
    start: int
    count: int

    def place(self, header: Header) -> int:
        """Where the piece begins in a file, in bytes."""
        return header.begins[self.span.name] + self.start * NUMPY_TYPES[self.span.dtype].itemsize


def spans(layouts: Sequence[Header], *, merge: bool = True) -> list[Span]:
    """Cut models into spans.

    Args:
        layouts: Every layout that occurs among the files; the first gives the order.
        merge: Whether neighbours are walked together; if not, every tensor is a span of its own.
    """
    found: list[Span] = []
    for name, info in layouts[0].tensors.items():
        if info.elements == 0:
            continue
        last = found[-1] if found else None
        size = last.count * NUMPY_TYPES[last.dtype].itemsize if last else 0
        if (
            merge
            and last
            and last.dtype == info.dtype
            and all(header.begins[last.name] + size == header.begins[name] for header in layouts)
        ):
            found[-1] = Span(last.name, last.dtype, last.count + info.elements)
        else:
            found.append(Span(name, info.dtype, info.elements))
    return found


def blocks(walked: Iterable[Span], most_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """Cut spans into blocks of at most `most_bytes`, counted in the type that they are computed in."""
    for span in walked:
        length = max(most_bytes // computed_type(span.dtype).itemsize, 1)
        for start in range(0, span.count, length):
            yield Block(span, start, min(length, span.count - start))


def computed_type(dtype: str) -> np.dtype[Any]:
    """The type that a tensor is computed in: float64 in itself, other floats in float32; integers are only copied."""
    if dtype in FLOATING and dtype != "F64":
        return NUMPY_TYPES["F32"]
    return NUMPY_TYPES[dtype]


class Buffers:
    """One thread's memory, used again for every block."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: dict[str, npt.NDArray[np.uint8]] = {}
        self.bytes_read = 0

    def take(self, name: str, shape: int | tuple[int, int], dtype: npt.DTypeLike) -> Array:
        """An array of this shape under this name; it holds whatever it held before."""
        size = np.dtype(dtype).itemsize * (shape if isinstance(shape, int) else math.prod(shape))
        kept = self._kept.get(name)
        if kept is None or kept.size < size:
            kept = self._kept[name] = np.empty(size, np.uint8)
        return kept[:size].view(dtype).reshape(shape)

    def read(self, file: ModelFile, block: Block, into: Array) -> None:
        """Read a block of a model into an array of the type it is computed in, shape (count,)."""
        stored = NUMPY_TYPES[block.span.dtype]
        raw = into if stored == into.dtype else self.take("stored", block.count, stored)
        file.read(block.place(file.header), raw)
        self.bytes_read += raw.nbytes
        if block.span.dtype == "BF16":
            # A bfloat16 is the upper half of a float32.
            np.left_shift(raw, 16, out=into.view(np.uint32), dtype=np.uint32)
        elif raw is not into:
            np.copyto(into, raw)


def stored(values: Array, dtype: str) -> Array:
    """Computed values in the type that their tensor is stored in, rounded to the nearest."""
    if dtype == "BF16":
        bits = values.view(np.uint32)
        # Rounds half to even. NaN may come out as infinity here, which is refused all the same.
        return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    return values.astype(NUMPY_TYPES[dtype], copy=False)


class Output:
    """A model file being written, block by block, in any order."""

    def __init__(self, descriptor: int, header: Header) -> None:
        """Write to an open file; its header is already there or will be."""
        self.header = header
        self._descriptor = descriptor

    def write(self, block: Block, values: Array) -> None:
        """Write a block of computed values, shape (count,).

        Raises:
            InvalidModel: a value is no finite number.
            OSError: the disk failed.
        """
        ready = stored(values, block.span.dtype)
        if block.span.dtype in FLOATING and not all_finite(ready, block.span.dtype):
            raise InvalidModel(
                f"Fusing gives NaN or infinity in or after tensor {block.span.name!r}: "
                "a model holds such values or values too large to compute with; check the models one by one."
            )
        begin = block.place(self.header)
        rest = ready.data.cast("B")
        while rest:
            put = os.pwrite(self._descriptor, rest, begin)
            begin += put
            rest = rest[put:]


def walk(pieces: Iterable[Block], work: Callable[[Block, Buffers], None], threads: int | None = None) -> int:
    """Do the work for every block, each by itself, so that the result does not depend on the number of threads.

    Args:
        pieces: The blocks.
        work: What to do with one, in the buffers of its thread.
        threads: How many at once; by default as many as there are processors, at most two: memory is the limit then.

    Returns:
        Bytes read.
    """
    threads = threads or min(2, os.cpu_count() or 1)
    shared = iter(pieces)
    lock = threading.Lock()
    failed = threading.Event()

    def one_by_one() -> Iterator[Block]:
        while not failed.is_set():
            with lock:
                block = next(shared, None)
            if block is None:
                return
            yield block

    def run() -> int:
        buffers = Buffers()
        # Overflow and NaN are looked for in what is written, where the tensor can be named.
        with np.errstate(all="ignore"):
            try:
                for block in one_by_one():
                    work(block, buffers)
            except BaseException:
                failed.set()
                raise
        return buffers.bytes_read

    if threads == 1:
        return run()
    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(run) for _ in range(threads)]
    return sum(one.result() for one in running)
