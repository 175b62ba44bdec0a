"""How good a model is on samples that it was not trained on."""

import torch
from torch import nn

from cloudedge.data import Samples
from cloudedge.documents import Scores
from cloudedge.training.losses import LOSSES


def evaluate(model: nn.Module, samples: Samples, loss: str = "cross-entropy", batch_size: int = 512) -> Scores:
    """Measure a model. It is left in evaluation mode.

    Args:
        model: From float32 [n, *input_shape] to logits [n, classes], on any device.
        samples: What to measure on. With no samples all scores are 0; with one class, recall is that class's.
        loss: Name of the loss, as in the training settings.
        batch_size: Samples computed at once.

    Returns:
        Mean loss, accuracy, and recall averaged over the classes that have samples.
    """
    if not len(samples):
        return Scores(samples=0, loss=0.0, accuracy=0.0, recall=0.0)
    logits = _logits(model, samples, batch_size)
    losses = [
        float(LOSSES[loss](part, labels)) * len(labels)
        for part, labels in zip(logits.split(batch_size), samples.labels.split(batch_size), strict=True)
    ]
    correct = samples.labels[logits.argmax(dim=1) == samples.labels]
    present = samples.labels.bincount()
    found = correct.bincount(minlength=len(present))
    return Scores(
        samples=len(samples),
        loss=sum(losses) / len(samples),
        accuracy=len(correct) / len(samples),
        recall=float((found[present > 0].double() / present[present > 0]).mean()),
    )


def predict(model: nn.Module, samples: Samples, batch_size: int = 512) -> torch.Tensor:
    """The model's answers. It is left in evaluation mode.

    Args:
        model: From float32 [n, *input_shape] to logits [n, classes], on any device.
        samples: What to answer.
        batch_size: Samples computed at once.

    Returns:
        Index of each sample's class, int64 [n], on the CPU.
    """
    return _logits(model, samples, batch_size).argmax(dim=1)


def _logits(model: nn.Module, samples: Samples, batch_size: int) -> torch.Tensor:
    place = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(inputs.to(place)).cpu() for inputs in samples.inputs.split(batch_size)])
