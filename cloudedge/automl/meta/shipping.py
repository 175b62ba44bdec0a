"""The meta model that comes with cloudedge, made anew.

    python -m cloudedge.automl.meta.shipping [--searches 6000] [--seed 0] [--out FOLDER]

It is trained on simulated searches alone, and its card says so: no device was asked. The accuracies behind them are real, those
of `dials.json`, which `benchmarks/automl_table.py` makes. The same arguments give the same bytes on the same processor type.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from cloudedge.automl.meta.model import SHIPPED
from cloudedge.automl.meta.simulating import simulated
from cloudedge.automl.meta.table import Table
from cloudedge.automl.meta.training import examples, train
from cloudedge.documents.base import parse

TABLE = Path(__file__).parent / "dials.json"
"""What networks reach on drawn meters."""


def read_table(path: Path = TABLE) -> Table:
    """A table of accuracies."""
    return parse(Table, path.read_bytes(), str(path))


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, train and write."""
    parser = argparse.ArgumentParser(
        prog="python -m cloudedge.automl.meta.shipping", description="Train the meta model that comes with cloudedge."
    )
    parser.add_argument("--searches", type=int, default=6_000, help="simulated searches to learn from (default: 6000)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default: 0)")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder for its two files")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = read_table()
    learned = examples(simulated(table, asked.searches, asked.seed))
    words = (
        f"{asked.searches} simulated searches on drawn devices, none of which exists, with the accuracies that candidates "
        f"really reached on {table.samples}"
    )
    model = train(learned, words, seed=asked.seed)
    model.save(asked.out)
    shares = ", ".join(f"{name} {share:.2f}" for name, share in model.card.agreement.items())
    print(f"{asked.out}: {model.card.layers} hidden layers of {model.card.width}; of held-out searches it names {shares}.")


if __name__ == "__main__":
    main()
