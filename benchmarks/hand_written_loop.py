"""The peer of `benchmarks.rounds`: federated averaging as one writes it by hand, in one process, with nothing around it.

    python -m benchmarks.hand_written_loop DATA ROUNDS

Prints the seconds of each round as JSON.
"""

import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Train one local epoch at each client in turn, average by samples, and do so for some rounds."""
    import numpy
    import torch
    from torch import nn

    folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
    torch.manual_seed(0)
    torch.set_num_threads(1)

    def load(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
        parts = [numpy.load(file) for file in sorted(path.rglob("*.npz"))]
        images = numpy.concatenate([part["image"] for part in parts]).reshape(-1, 64) / 255
        labels = numpy.concatenate([part["label"] for part in parts])
        return torch.tensor(images, dtype=torch.float32), torch.tensor(labels.astype("int64"))

    def fit(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, epochs: int) -> None:
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
        for _ in range(epochs):
            for batch in torch.split(torch.randperm(len(labels)), 32):
                optimizer.zero_grad()
                torch.autograd.backward(nn.functional.cross_entropy(network(images[batch]), labels[batch]))
                optimizer.step()

    network = nn.Sequential(nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10))
    client = nn.Sequential(nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10))
    fit(network, *load(folder / "cloud"), epochs=5)
    clients = [load(path) for path in sorted((folder / "edges").iterdir())]
    total = sum(len(labels) for _, labels in clients)
    seconds = []
    for _ in range(rounds):
        started = time.monotonic()
        start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        average = {name: torch.zeros_like(tensor) for name, tensor in start.items()}
        for images, labels in clients:
            client.load_state_dict(start)
            fit(client, images, labels, epochs=1)
            for name, tensor in client.state_dict().items():
                average[name] += tensor * (len(labels) / total)
        network.load_state_dict(average)
        seconds.append(time.monotonic() - started)
    test_images, test_labels = load(folder / "test")
    accuracy = (network(test_images).argmax(1) == test_labels).float().mean().item()
    json.dump({"seconds": seconds, "accuracy": accuracy}, sys.stdout)


if __name__ == "__main__":
    main()
