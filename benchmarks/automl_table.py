"""What each candidate of a search reaches, really trained: the tables that searches are simulated with.

    python -m benchmarks.automl_table dials  cloudedge/automl/meta/dials.json
    python -m benchmarks.automl_table digits cloudedge/automl/meta/digits.json

`dials` are drawn drums of a meter (pipelines/automl_demo/dials.py), 12 pixels square; `digits` are scikit-learn's handwritten
ones, 8 pixels square. The meta model that comes along learned from searches that were simulated with both.

A table is 200 networks with some losses and seeds: 200 trainings each, and 2 to 5 minutes of one core. Each training is noted
in a file beside the table as it ends, so that a run that was cut goes on where it was; the table is made of that at the end.
Those that are here are of `--losses cross-entropy label-smoothing --seeds 0`.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cloudedge.automl.meta.table import Column, Table
from cloudedge.automl.space import networks, spec
from cloudedge.data import Samples
from cloudedge.documents import DataFormat, SampleField, Training
from cloudedge.files import atomic_write
from cloudedge.models.registry import build
from cloudedge.training.loop import train
from cloudedge.training.losses import LOSSES
from cloudedge.training.scoring import evaluate
from pipelines.automl_demo.dials import Dials

TRAINED = 400
TESTED = 1_500
SETTINGS = {"epochs": 8, "batch_size": 25, "learning_rate": 0.005, "optimizer": "adam"}


def dials() -> tuple[Samples, Samples]:
    """Drawn drums."""
    return _samples(*Dials(0, 12).images(TRAINED), 255), _samples(*Dials(1, 12).images(TESTED), 255)


def digits() -> tuple[Samples, Samples]:
    """Handwritten digits: few to train on, and noise, for they are easy otherwise."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    chance = np.random.default_rng(0)
    order = chance.permutation(len(labels))
    images, labels = images.reshape(-1, 8, 8)[order] + chance.normal(0, 3, (len(labels), 8, 8)), labels[order]
    return _samples(images[:300], labels[:300], 16), _samples(images[300:], labels[300:], 16)


def _samples(images: npt.NDArray[Any], labels: npt.NDArray[Any], white: float) -> Samples:
    scaled = torch.from_numpy(((images[:, None] / white - 0.5) * 4).astype(np.float32))
    return Samples(scaled, torch.from_numpy(labels.astype(np.int64)))


DATA = {
    "dials": (dials, "400 drawn drums of a meter, each showing a digit (pipelines/automl_demo/dials.py, seed 0)"),
    "digits": (digits, "300 of scikit-learn's handwritten digits, with noise"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is not trained yet, then write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.automl_table", description="Train every candidate of a search.")
    parser.add_argument("data", choices=list(DATA), help="what they learn")
    parser.add_argument("out", type=Path, help="file for the table")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="one column a loss for each (default: 0 1)")
    parser.add_argument("--losses", choices=list(LOSSES), nargs="+", default=list(LOSSES), help="(default: all)")
    parser.add_argument("--most", type=int, default=None, help="candidates, from the first on: whether it runs at all")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    load, words = DATA[asked.data]
    trained, tested = load()
    nothing = Samples(tested.inputs[:0], tested.labels[:0])
    channels, height, width = trained.inputs.shape[1:]
    shape = (channels, height, width)
    data = DataFormat(storage="npz", fields=(SampleField(name="image", shape=shape),), classes=tuple("0123456789"))
    candidates = list(networks().everything)[: asked.most]
    notes = asked.out.with_suffix(".notes")
    known = dict(map(json.loads, notes.read_text().splitlines())) if notes.exists() else {}
    columns = []
    with notes.open("a") as file:
        for seed in asked.seeds:
            for loss in asked.losses:
                accuracies = []
                for candidate in candidates:
                    key = f"{candidate.model_dump_json()} {loss} {seed}"
                    if key not in known:
                        model = build(spec(candidate), data, seed)
                        settings = Training.model_validate({**SETTINGS, "loss": loss})
                        train(model, trained, nothing, settings, seed)
                        known[key] = round(evaluate(model, tested, loss).accuracy, 4)
                        file.write(json.dumps([key, known[key]]) + "\n")
                        file.flush()
                    accuracies.append(known[key])
                columns.append(Column.model_validate({"loss": loss, "seed": seed, "accuracies": accuracies}))
    rows = tuple((one.layers, one.filters, one.kernel, one.growing) for one in candidates)
    table = Table(samples=words, shape=shape, classes=10, candidates=rows, columns=tuple(columns))
    atomic_write(asked.out, table.model_dump_json().encode() + b"\n")


if __name__ == "__main__":
    main()
