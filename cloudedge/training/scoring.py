"""How good a model is on samples that it was not trained on."""

import torch
from torch import nn

from cloudedge.data import Samples
from cloudedge.documents import Scores
from cloudedge.training.losses import LOSSES

_PART_BYTES = 2 * 1024 * 1024
"""Of samples that are computed at once, so that measuring a network of large images takes about the memory that learning from a
batch of them does, and not many times as much."""


def evaluate(model: nn.Module, samples: Samples, loss: str = "cross-entropy", batch_size: int = 512) -> Scores:
    """Measure a model. It is left in evaluation mode.

    Args:
        model: From float32 [n, *input_shape] to logits [n, classes], on any device.
        samples: What to measure on. With no samples all scores are 0; with one class, recall is that class's.
        loss: Name of the loss, as in the training settings.
        batch_size: Samples computed at once, at most; fewer of large ones.

    Returns:
        Mean loss, accuracy, and recall averaged over the classes that have samples.
    """
    return measured(logits_of(model, samples, batch_size), samples.labels, loss)


def measured(logits: torch.Tensor, labels: torch.Tensor, loss: str = "cross-entropy") -> Scores:
    """Measure answers that a model gave.

    Args:
        logits: Float32 [n, classes], on the CPU.
        labels: Index of each sample's true class, int64 [n].
        loss: Name of the loss, as in the training settings.

    Returns:
        As `evaluate`.
    """
    if not len(labels):
        return Scores(samples=0, loss=0.0, accuracy=0.0, recall=0.0)
    correct = labels[logits.argmax(dim=1) == labels]
    present = labels.bincount()
    found = correct.bincount(minlength=len(present))
    return Scores(
        samples=len(labels),
        loss=float(LOSSES[loss](logits, labels)),
        accuracy=len(correct) / len(labels),
        recall=float((found[present > 0].double() / present[present > 0]).mean()),
    )


def logits_of(model: nn.Module, samples: Samples, batch_size: int = 512) -> torch.Tensor:
    """A model's answers, in logits. It is left in evaluation mode.

    Args:
        model: From float32 [n, *input_shape] to logits [n, classes], on any device.
        samples: What to answer.
        batch_size: Samples computed at once, at most; fewer of large ones.

    Returns:
        Float32 [n, classes], on the CPU.
    """
    if not len(samples):
        return torch.empty(0, 0)
    place = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    model.eval()
    with torch.inference_mode():
        # Fetched together in the end: each fetch would have a GPU wait for the next part.
        return torch.cat([model(inputs.to(place)) for inputs in samples.inputs.tensor_split(_parts(samples, batch_size))]).cpu()


def at_once(samples: Samples, batch_size: int = 512) -> int:
    """How many samples are computed at once.

    Args:
        samples: At least one.
        batch_size: At most so many.
    """
    return min(len(samples), batch_size, max(1, _PART_BYTES // samples.inputs[0].nbytes))


def _parts(samples: Samples, batch_size: int) -> list[int]:
    size = at_once(samples, batch_size)
    return list(range(size, len(samples), size))
