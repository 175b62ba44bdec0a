"""Our training loop beside one written by hand, on the GPU if there is one.

    python -m benchmarks.training --out FILE.json

Both train the same network from the same parameters on the same random images, held in memory, and measure it after each
epoch. Ours tells of its batches as an edge does, writes a checkpoint after each epoch, and sums in a fixed order; the peer is
what one writes with `torch.optim`, with all samples moved to the device before. They take turns, after an epoch each that
does not count.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.tables import say, write
from cloudedge.data import Samples
from cloudedge.documents import DataFormat, ModelSpec, Training
from cloudedge.models import build
from cloudedge.training import Progress, device, train, use_threads

_CLASSES = 10
_NETWORKS = {
    "mlp": ModelSpec(architecture="mlp", parameters={"layers": 2, "width": 200}),
    "convnet": ModelSpec(architecture="convnet"),
    "vgg": ModelSpec(architecture="vgg"),
}


def main() -> int:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description="Time our training loop beside one written by hand.")
    parser.add_argument("--samples", type=int, default=4096, help="Images to train on, of 3 x 32 x 32 pixels.")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--networks", nargs="+", choices=_NETWORKS, default=["mlp", "convnet"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    use_threads(options.threads)
    settings = Training(epochs=options.epochs, batch_size=options.batch_size, learning_rate=0.01, optimizer="momentum")
    training, held_out = _images(options.samples, 0), _images(options.samples // 8, 1)
    figures = {
        name: measure(_NETWORKS[name], training, held_out, settings, options.threads, options.repeats)
        for name in options.networks
    }
    where = torch.cuda.get_device_name() if device().type == "cuda" else f"{options.threads} threads of a CPU"
    rows = [("", "by hand", "cloudedge", "ratio")]
    for name, found in figures.items():
        hand, ours = (statistics.median(found[contender]) for contender in ("by_hand", "cloudedge"))
        rows.append((name, f"{hand:.3f}", f"{ours:.3f}", f"{ours / hand:.2f}"))
    say(f"Seconds an epoch of {options.samples} images, batches of {options.batch_size}, on {where}", rows)
    write(options.out, {"device": where, "seconds_an_epoch": figures})
    return 0


def measure(
    spec: ModelSpec, training: Samples, held_out: Samples, settings: Training, threads: int, repeats: int
) -> dict[str, list[float]]:
    """Seconds an epoch of each contender, of each repeat."""
    data = DataFormat.model_validate(
        {
            "storage": "npz",
            "fields": [{"name": "image", "shape": list(training.inputs.shape[1:])}],
            "classes": [str(number) for number in range(_CLASSES)],
        }
    )
    contenders: dict[str, Callable[[nn.Module, Training], None]] = {
        "by_hand": lambda model, how: _by_hand(model, training, held_out, how),
        "cloudedge": lambda model, how: _ours(model, training, held_out, how),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(-1, repeats):
        for name, contender in contenders.items():
            model = build(spec, data, seed=0)
            # The peer is free to sum in any order, as one that is written by hand is.
            use_threads(threads)
            if name == "by_hand":
                torch.set_deterministic_debug_mode("default")
            how = settings if repeat >= 0 else settings.model_copy(update={"epochs": 1})
            started = time.monotonic()
            contender(model, how)
            if repeat >= 0:
                seconds[name].append((time.monotonic() - started) / how.epochs)
    return seconds


def _ours(model: nn.Module, training: Samples, held_out: Samples, settings: Training) -> None:
    looked_at = 0.0

    def on_batch(progress: Progress) -> None:
        nonlocal looked_at
        if time.monotonic() - looked_at >= 0.5:
            looked_at = time.monotonic()
            str(progress.loss)

    with tempfile.TemporaryDirectory() as folder:
        train(model, training, held_out, settings, 0, checkpoint=Path(folder) / "checkpoint", on_batch=on_batch)


def _by_hand(model: nn.Module, training: Samples, held_out: Samples, settings: Training) -> None:
    place = device()
    model.to(place)
    inputs, labels = training.inputs.to(place), training.labels.to(place)
    test_inputs, test_labels = held_out.inputs.to(place), held_out.labels.to(place)
    optimizer = torch.optim.SGD(model.parameters(), lr=settings.learning_rate, momentum=0.9)
    loss_of = nn.CrossEntropyLoss()
    for epoch in range(settings.epochs + 1):
        if epoch:
            model.train()
            for batch in torch.split(torch.randperm(len(labels)).to(place), settings.batch_size):
                optimizer.zero_grad()
                loss: Any = loss_of(model(inputs[batch]), labels[batch])
                loss.backward()
                optimizer.step()
        model.eval()
        with torch.inference_mode():
            found = torch.cat([model(part).argmax(1) for part in torch.split(test_inputs, 512)])
            float((found == test_labels).float().mean())


def _images(count: int, seed: int) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(_CLASSES, (count,), generator=generator)
    return Samples(torch.randn(count, 3, 32, 32, generator=generator) + labels.view(-1, 1, 1, 1) / _CLASSES, labels)


if __name__ == "__main__":
    sys.exit(main())
