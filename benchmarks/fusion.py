"""Speed and memory of fusion: cloudedge beside a plain read, a plain copy, numpy and PyTorch, in one run.

    python -m benchmarks.fusion --models 10 100 --parameters 25000000 --repeats 5 --out fusion.json

Each peer runs in a process of its own; all take turns, `--repeats` times, and the fastest of each peer's turns counts: it is
the one that other work on the machine disturbed least. The models are written to a temporary folder first (4 bytes a
parameter) and stay in the page cache if it is large enough: the disk is not measured.
"""

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from benchmarks.fusion_peers import PEERS
from cloudedge.interpreter import python
from cloudedge.weights import read_header

LARGEST_TENSOR = 1_000_000
"""Numbers in a tensor of the benchmark's models: that of a large convolution or a square layer of 1000 units."""


@dataclass(frozen=True)
class Row:
    """What one peer reached.

    Attributes:
        peer: Its name.
        models: Models fused.
        gigabytes_per_second: Input bytes (1e9) per second.
        of_read: Speed as a share of the plain read's.
        of_copy: Speed as a share of the plain copy's.
        memory_mebibytes: Peak memory of the whole process, interpreter and libraries included, without the page cache
            (RssAnon); the largest of all turns.
        seconds: Of each turn.
    """

    peer: str
    models: int
    gigabytes_per_second: float
    of_read: float
    of_copy: float
    memory_mebibytes: float
    seconds: tuple[float, ...]


def measure(models: int, parameters: int, repeats: int, parent: Path | None = None) -> list[Row]:
    """Write models, let every peer fuse them in turn, and compare.

    Args:
        models: How many.
        parameters: Float32 numbers in each.
        repeats: Turns.
        parent: Where the temporary folder goes.

    Raises:
        ArithmeticError: two peers disagree on the average.
    """
    with tempfile.TemporaryDirectory(prefix="fusion-", dir=parent) as name:
        folder = Path(name)
        write_models(folder, models, parameters)
        turns = [{peer: run(peer, folder) for peer in PEERS} for _ in range(repeats)]
        _compare(folder)
    fastest = {peer: min(turn[peer]["seconds"] for turn in turns) for peer in PEERS}
    return [
        Row(
            peer=peer,
            models=models,
            gigabytes_per_second=models * parameters * 4 / fastest[peer] / 1e9,
            of_read=fastest["read"] / fastest[peer],
            of_copy=fastest["copy"] / fastest[peer],
            memory_mebibytes=max(turn[peer]["peak_bytes"] for turn in turns) / 2**20,
            seconds=tuple(turn[peer]["seconds"] for turn in turns),
        )
        for peer in PEERS
    ]


def as_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| models | peer | GB/s | of a plain read | of a plain copy | peak memory, MiB |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.models} | {row.peer} | {row.gigabytes_per_second:.2f} | {row.of_read:.2f} | {row.of_copy:.2f} "
        f"| {row.memory_mebibytes:.0f} |"
        for row in rows
    ]
    explained = [f"- `{name}`: {(peer.__doc__ or '').strip()}" for name, peer in PEERS.items()]
    memory = "Memory is that of the whole process, interpreter and libraries included, without the page cache (RssAnon)."
    return "\n".join([*lines, "", *explained, "", memory, ""])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and write it as JSON and beside it as Markdown."""
    parser = argparse.ArgumentParser(description="Speed and memory of fusion.")
    parser.add_argument("--models", type=int, nargs="+", default=[10, 100], help="numbers of models (default: 10 and 100)")
    parser.add_argument("--parameters", type=int, default=25_000_000, help="float32 numbers in each model")
    parser.add_argument("--repeats", type=int, default=5, help="turns of all peers")
    parser.add_argument("--folder", type=Path, help="where the models are written for the time being")
    parser.add_argument("--out", type=Path, help="JSON file; a .md file goes beside it")
    parser.add_argument("--quick", action="store_true", help="small and once, to see that it works: figures mean nothing")
    given = parser.parse_args(arguments)
    if given.quick:
        given.models, given.parameters, given.repeats = [3], 300_000, 1
    rows: list[Row] = []
    for models in given.models:
        rows += measure(models, given.parameters, given.repeats, given.folder)
    table = as_table(rows)
    print(table)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        report = {"parameters": given.parameters, "repeats": given.repeats, "rows": [asdict(row) for row in rows]}
        given.out.write_text(json.dumps(report, indent=2) + "\n")
        given.out.with_suffix(".md").write_text(table)


def write_models(folder: Path, models: int, parameters: int) -> None:
    """Write models of random float32 numbers, in tensors of at most `LARGEST_TENSOR`."""
    generator = np.random.default_rng(0)
    for number in range(models):
        path = folder / f"model-{number:04d}.safetensors"
        tensors = {
            f"layer-{begin // LARGEST_TENSOR:04d}": generator.random(min(LARGEST_TENSOR, parameters - begin), np.float32)
            for begin in range(0, parameters, LARGEST_TENSOR)
        }
        save_file(tensors, path)
        # What is still on its way to the disk would slow down whoever runs first.
        with path.open("rb") as file:
            os.fsync(file.fileno())


def run(peer: str, folder: Path) -> dict[str, float]:
    """Let a peer fuse the models of a folder, in a process of its own; seconds and peak_bytes of memory."""
    command = python("benchmarks.fusion_peers", peer, folder)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _compare(folder: Path) -> None:
    """Make sure that all who average come to the same numbers."""
    begin = read_header(folder / "model-0000.safetensors").data_begin
    ours = np.memmap(folder / "fused-by-cloudedge", np.float32, "r", begin)
    for peer in ("numpy", "torch", "cloudedge-1", "cloudedge-whole"):
        theirs = np.memmap(folder / f"fused-by-{peer}", np.float32, "r", begin)
        if len(theirs) != len(ours) or not np.allclose(ours, theirs, rtol=1e-5, atol=1e-6):
            raise ArithmeticError(f"{peer} and cloudedge disagree on the average")


if __name__ == "__main__":
    main()
