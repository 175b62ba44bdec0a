"""The meta model that comes with cloudedge, made anew.

    python -m cloudedge.automl.meta.shipping [--searches 6000] [--seed 0] [--out FOLDER]

It is trained on simulated searches alone, and its card says so: no device was asked. The accuracies behind them are real, those
of `dials.json` and `digits.json`, which `benchmarks/automl_table.py` makes. The same arguments give the same bytes on the same
processor type.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from cloudedge.automl.meta.files import SHIPPED
from cloudedge.automl.meta.model import MetaModel
from cloudedge.automl.meta.simulating import simulated
from cloudedge.automl.meta.table import Table
from cloudedge.automl.meta.training import STEPS, examples, train
from cloudedge.documents.automl import TraceRow
from cloudedge.documents.base import parse
from cloudedge.seeds import derived_seed

TABLES = ("dials", "digits")
"""What networks reach on drawn meters, and on handwritten digits."""

SEARCHES = 6_000


def read_table(name: str) -> Table:
    """One of the tables of accuracies."""
    path = Path(__file__).parent / f"{name}.json"
    return parse(Table, path.read_bytes(), str(path))


def learned(
    names: Sequence[str], searches: int = SEARCHES, seed: int = 0, *, trials: int = 10, steps: int = STEPS
) -> MetaModel:
    """A meta model of nothing but simulated searches.

    Args:
        names: Of the tables, each of which gives as many of the searches.
        searches: How many, over all tables.
        seed: All chance follows from it.
        trials: Sizes of the meta model that are tried.
        steps: Of training.
    """
    tables = {name: read_table(name) for name in names}
    return train(examples(drawn(tables, searches, seed)), in_words(tables, searches), seed=seed, trials=trials, steps=steps)


def drawn(tables: Mapping[str, Table], searches: int, seed: int) -> Iterator[TraceRow]:
    """Simulated searches.

    Args:
        tables: By name; each gives as many of the searches.
        searches: How many, over all tables.
        seed: They follow from it.
    """
    for name, table in tables.items():
        yield from simulated(table, searches // len(tables), derived_seed(seed, name))


def in_words(tables: Mapping[str, Table], searches: int) -> str:
    """What simulated searches are, for the card of who learned from them."""
    return (
        f"{searches} simulated searches on drawn devices, none of which exists, with the accuracies that candidates really "
        f"reached on {', and on '.join(table.samples for table in tables.values())}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, train and write."""
    parser = argparse.ArgumentParser(
        prog="python -m cloudedge.automl.meta.shipping", description="Train the meta model that comes with cloudedge."
    )
    parser.add_argument("--searches", type=int, default=SEARCHES, help="simulated searches to learn from (default: 6000)")
    parser.add_argument("--seed", type=int, default=0, help="all chance follows from it (default: 0)")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder for its two files")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = learned(TABLES, asked.searches, asked.seed)
    model.save(asked.out)
    shares = ", ".join(f"{name} {share:.2f}" for name, share in model.card.agreement.items())
    print(f"{asked.out}: {model.card.layers} hidden layers of {model.card.width}; of held-out searches it names {shares}.")


if __name__ == "__main__":
    main()
