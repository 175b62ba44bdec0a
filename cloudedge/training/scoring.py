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
    place = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    measure = LOSSES[loss]
    total = 0.0
    predictions = []
    model.eval()
    with torch.inference_mode():
        for inputs, labels in zip(
            torch.split(samples.inputs, batch_size), torch.split(samples.labels, batch_size), strict=True
        ):
            logits = model(inputs.to(place))
            total += float(measure(logits, labels.to(place))) * len(labels)
            predictions.append(logits.argmax(dim=1).cpu())
    correct = samples.labels[torch.cat(predictions) == samples.labels]
    present = samples.labels.bincount()
    found = correct.bincount(minlength=len(present))
    return Scores(
        samples=len(samples),
        loss=total / len(samples),
        accuracy=len(correct) / len(samples),
        recall=float((found[present > 0].double() / present[present > 0]).mean()),
    )
