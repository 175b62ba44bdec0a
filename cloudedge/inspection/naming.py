"""What names defects, learned from images of them: a linear classifier of features, and where asked the backbone's last stages.

With few images of each defect a larger one learns them by heart.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cloudedge.documents.inspection import Callbacks, Classifier, FineTuning, Preprocessing
from cloudedge.errors import Diverged
from cloudedge.inspection.architecture import STAGES, channels
from cloudedge.inspection.backbone import built, taken
from cloudedge.inspection.graph import Weights
from cloudedge.inspection.models import Naming
from cloudedge.training import device

OnBatch = Callable[[float | None, float | None], None]
"""Called at the start of each batch with the accuracy on held-out samples and the loss, as far as they are known."""

_WEIGHT_DECAY = 1e-3
_MOMENTUM = 0.9

_BETTER = 1e-4
"""Share by which a loss must fall to count as better: some fall for ever, by less and less."""


@dataclass(frozen=True)
class Labelled:
    """Samples with their classes.

    Attributes:
        inputs: float32 features of shape (n, features), or uint8 images of shape (n, height, width, 3).
        labels: int64 of shape (n).
    """

    inputs: npt.NDArray[np.float32] | npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def classifier(
    training: Labelled, held_out: Labelled, asked: Classifier, callbacks: Callbacks, classes: int, seed: int, on_batch: OnBatch
) -> Naming:
    """Learn to tell classes apart by features, which are standardised first; that is a part of what is learned.

    Args:
        training: Features to learn from.
        held_out: Features to measure on; none: on those learned from.
        asked: How to learn.
        callbacks: What is done between iterations.
        classes: Number of classes.
        seed: Decides the order of batches.
        on_batch: Told of progress.

    Raises:
        Diverged: the loss is no number any more.
    """
    mean = training.inputs.mean(0)
    scale = training.inputs.std(0) + 1e-6 + 0.01 * training.inputs.std()

    def standardised(samples: Labelled) -> tuple[Tensor, Tensor]:
        return torch.from_numpy((samples.inputs - mean) / scale).float(), torch.from_numpy(samples.labels)

    layer = nn.Linear(training.inputs.shape[1], classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), asked.learning_rate, momentum=_MOMENTUM, weight_decay=_WEIGHT_DECAY)
    measured = held_out if len(held_out.labels) else training
    _learn(layer, standardised(training), standardised(measured), optimizer, asked, callbacks, seed, on_batch)
    weights = (layer.weight.detach().numpy() / scale).astype(np.float32)
    biases = (layer.bias.detach().numpy() - weights @ mean).astype(np.float32)
    return Naming(weights, biases, deep=False)


def fine_tuned(
    weights: Weights,
    training: Labelled,
    held_out: Labelled,
    asked: Classifier,
    tuning: FineTuning,
    preprocessing: Preprocessing,
    callbacks: Callbacks,
    classes: int,
    seed: int,
    on_batch: OnBatch,
) -> Weights:
    """Have the backbone's last stages learn to tell classes apart, with a classifier that is thrown away.

    What comes before these stages is computed once. Statistics of batch normalisation stay those of the weights: batches are
    small.

    Raises:
        Diverged: the loss is no number any more.
    """
    place = device()
    network = built(weights).to(place).eval()
    stage = STAGES + 1 - tuning.stages
    measured = held_out if len(held_out.labels) else training

    def begun(samples: Labelled) -> tuple[Tensor, Tensor]:
        parts = [network.before(part, stage) for part in _normalised(samples.inputs, preprocessing, place)]
        return torch.cat(parts), torch.from_numpy(samples.labels).to(place)

    with torch.no_grad():
        inputs, measured_on = begun(training), begun(measured)
    head = nn.Linear(channels(STAGES), classes).to(place)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    learner = _Tuned(network, stage, head)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    tuned = [parameter for module in network.from_stage(stage) for parameter in module.parameters()]
    for parameter in tuned:
        parameter.requires_grad_(True)
    groups: list[dict[str, Any]] = [{"params": list(head.parameters())}, {"params": tuned, "lr": tuning.learning_rate}]
    optimizer = torch.optim.SGD(
        groups,
        asked.learning_rate,
        momentum=_MOMENTUM,
        weight_decay=_WEIGHT_DECAY,
    )
    _learn(learner, inputs, measured_on, optimizer, asked, callbacks, seed, on_batch)
    return taken(network)


class _Tuned(nn.Module):
    def __init__(self, network: nn.Module, stage: int, head: nn.Module) -> None:
        super().__init__()
        self._network, self._stage, self._head = network, stage, head

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [n, classes] from what the first stage that learns begins with."""
        logits: Tensor = self._head(self._network.further(inputs, self._stage).mean((2, 3)))  # type: ignore[operator]
        return logits


def _learn(
    model: nn.Module,
    training: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    optimizer: torch.optim.Optimizer,
    asked: Classifier,
    callbacks: Callbacks,
    seed: int,
    on_batch: OnBatch,
) -> None:
    chance = torch.Generator().manual_seed(seed)
    inputs, labels = training
    # Rare classes count as much as common ones.
    counts = torch.bincount(labels)
    balance = (len(labels) / counts.clamp_min(1) / int((counts > 0).sum())).to(inputs.device)
    lossy = nn.CrossEntropyLoss(weight=None if balance.numel() == 0 else _padded(balance, model, inputs))
    best_loss, accuracy = _measured(model, held_out)
    best, since, slowed = deepcopy(model.state_dict()), 0, 0
    loss_value: float | None = None
    for _ in range(asked.iterations):
        order = torch.randperm(len(labels), generator=chance)
        for begin in range(0, len(order), asked.batch_size):
            on_batch(accuracy, loss_value)
            taken_ones = order[begin : begin + asked.batch_size].to(inputs.device)
            loss = lossy(model(inputs[taken_ones]), labels[taken_ones])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_value = float(loss.detach())
            if not np.isfinite(loss_value):
                raise Diverged(
                    f"Training the classifier gave the loss {loss_value}. Lower its learning rate, {asked.learning_rate}, or "
                    "that of fine-tuning."
                )
        measured, accuracy = _measured(model, held_out)
        better = measured < best_loss * (1 - _BETTER)
        if measured < best_loss:
            best_loss, best = measured, deepcopy(model.state_dict())
        if better:
            since, slowed = 0, 0
            continue
        since, slowed = since + 1, slowed + 1
        if callbacks.slow_down_after and slowed >= callbacks.slow_down_after:
            slowed = 0
            for group in optimizer.param_groups:
                group["lr"] /= 2
        if callbacks.stop_after and since >= callbacks.stop_after:
            break
    if callbacks.keep_best:
        model.load_state_dict(best)


def _padded(balance: Tensor, model: nn.Module, inputs: Tensor) -> Tensor:
    """One weight for each class, also for the last ones that no sample is of."""
    with torch.no_grad():
        classes = model(inputs[:1]).shape[1]
    return torch.cat([balance, torch.zeros(classes - len(balance), device=balance.device)])


@torch.no_grad()
def _measured(model: nn.Module, samples: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Mean loss and share told rightly."""
    inputs, labels = samples
    losses, right = 0.0, 0
    for begin in range(0, len(labels), 64):
        logits, wanted = model(inputs[begin : begin + 64]), labels[begin : begin + 64]
        losses += float(nn.functional.cross_entropy(logits, wanted, reduction="sum"))
        right += int((logits.argmax(1) == wanted).sum())
    return losses / len(labels), right / len(labels)


def _normalised(images: npt.NDArray[np.generic], asked: Preprocessing, place: torch.device) -> Iterator[Tensor]:
    """Images [n, 3, height, width] as the backbone gets them, some at a time."""
    mean, std = (torch.tensor(values, device=place)[:, None, None] for values in (asked.mean, asked.std))
    for begin in range(0, len(images), 16):
        planes = torch.from_numpy(images[begin : begin + 16]).to(place).permute(0, 3, 1, 2).float() / 255
        if asked.colour == "gray":
            planes = (planes * torch.tensor([0.299, 0.587, 0.114], device=place)[:, None, None]).sum(1, keepdim=True)
            planes = planes.expand(-1, 3, -1, -1)
        yield (planes - mean) / std
