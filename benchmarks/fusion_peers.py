"""Ways to average model files, each run in a process of its own by `benchmarks.fusion` and measured there.

All read `model-0000.safetensors`, `model-0001.safetensors`, ... of a folder and write one file, with the same weights.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cloudedge.weights import read_header

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES = 1024 * 1024


def weights_of(models: list[Path]) -> list[float]:
    """Weights as edges with 100, 101, 102, ... samples have them: no two are equal, as it is in practice."""
    total = sum(range(100, 100 + len(models)))
    return [(100 + number) / total for number in range(len(models))]


def read_all(models: list[Path], output: Path) -> None:
    """No averaging: every input byte is read into one small buffer, and one output is written. Nothing can be faster."""
    _transfer(models, output, write_every=False)


def copy_all(models: list[Path], output: Path) -> None:
    """No averaging: every input byte is read into one small buffer and written from it, over one output again and again."""
    _transfer(models, output, write_every=True)


def numpy_memory_maps(models: list[Path], output: Path) -> None:
    """Whole tensors by numpy over memory maps: total += weight * tensor."""
    import numpy as np

    header = read_header(models[0])
    with output.open("wb") as file:
        file.seek(header.data_begin)
        for name, info in header.tensors.items():
            total = np.zeros(info.shape, np.float32)
            for path, weight in zip(models, weights_of(models), strict=True):
                total += np.float32(weight) * np.memmap(path, np.float32, "r", header.begins[name], info.shape)
            total.tofile(file)


def torch_add(models: list[Path], output: Path) -> None:
    """Plain PyTorch: files by safetensors' own loader (memory maps), one after the other: total.add_(tensor, alpha=weight)."""
    import torch
    from safetensors.torch import load_file

    total = {name: torch.zeros(info.shape) for name, info in read_header(models[0]).tensors.items()}
    for path, weight in zip(models, weights_of(models), strict=True):
        for name, tensor in load_file(path).items():
            total[name].add_(tensor, alpha=weight)
    with output.open("wb") as file:
        file.seek(read_header(models[0]).data_begin)
        for name in read_header(models[0]).tensors:
            file.write(total[name].numpy().data)


def ours_one_thread(models: list[Path], output: Path) -> None:
    """Cloudedge's averaging, one thread."""
    _ours(models, output, 1)


def ours(models: list[Path], output: Path) -> None:
    """Cloudedge's averaging, as it is used: up to two threads."""
    _ours(models, output, None)


def ours_whole(models: list[Path], output: Path) -> None:
    """Cloudedge's whole step `fuse_files`: averaging, fsync, and the SHA-256 digest of the result."""
    from cloud.fusion.files import Contribution, fuse_files
    from cloudedge.documents import Fusion

    contributions = [Contribution(f"edge-{i:06d}", path, 100 + i, 1.0, 1, "") for i, path in enumerate(models)]
    fuse_files(models[0], contributions, Fusion(rule="samples"), output)


PEERS: dict[str, Callable[[list[Path], Path], None]] = {
    "read": read_all,
    "copy": copy_all,
    "numpy": numpy_memory_maps,
    "torch": torch_add,
    "cloudedge-1": ours_one_thread,
    "cloudedge": ours,
    "cloudedge-whole": ours_whole,
}


def _transfer(models: list[Path], output: Path, *, write_every: bool) -> None:
    size = models[0].stat().st_size
    buffer = memoryview(bytearray(PIECE_BYTES))
    into = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        for number, path in enumerate(models):
            source = os.open(path, os.O_RDONLY)
            for place in range(0, size, PIECE_BYTES):
                length = os.preadv(source, [buffer], place)
                if write_every or number == 0:
                    os.pwrite(into, buffer[:length], place)
            os.close(source)
    finally:
        os.close(into)


def _ours(models: list[Path], output: Path, threads: int | None) -> None:
    from cloud.fusion.blocks import Average
    from cloud.fusion.streaming import Block, Buffers, Models, Output, blocks, spans, walk

    with Models(models) as opened, output.open("wb") as file:
        average = Average.of(opened.files, weights_of(models))
        written = Output(file.fileno(), opened.layouts[0])

        def write(block: Block, buffers: Buffers) -> None:
            written.write(block, average.block(block, buffers))

        walk(blocks(spans(opened.layouts)), write, threads)


def anonymous_bytes() -> int:
    """Memory of this process that is no page of a file, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no RssAnon: this benchmark needs Linux")


@contextmanager
def peak_memory() -> "Iterator[list[int]]":
    """Watch anonymous memory; the list holds its largest value, in bytes, from the end on."""
    found: list[int] = []
    over = threading.Event()
    seen = [anonymous_bytes()]

    def watch() -> None:
        while not over.wait(0.002):
            seen.append(anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()
        found.append(max(*seen, anonymous_bytes()))


def main() -> None:
    """Run one peer on one folder: import what it needs, then measure, then say what was measured as JSON."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    peer = PEERS[name]
    models = sorted(folder.glob("model-*.safetensors"))
    output = folder / f"fused-by-{name}"
    # The first model alone: imports and first touches of libraries are nobody's speed.
    peer(models[:1], output)
    output.unlink()
    with peak_memory() as peak:
        started = time.perf_counter()
        peer(models, output)
        seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_bytes": peak[0]}))


if __name__ == "__main__":
    main()
