"""The training loop: epochs over samples in memory, measured after each, until the target is reached or the epochs are over.

FedProx: Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, equation 2.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cloudedge.data import Samples
from cloudedge.documents import EpochRecord, Scores, Training
from cloudedge.errors import Diverged, InvalidSamples, WorkFailed
from cloudedge.seeds import derived_seed
from cloudedge.training.checkpoint import Best, Checkpoint, digest_of, identity_of, load_checkpoint
from cloudedge.training.devices import device
from cloudedge.training.losses import LOSSES
from cloudedge.training.optimizers import optimizer
from cloudedge.training.scoring import evaluate

_SAMPLES_SHARE = 0.25
"""Samples are kept on the GPU if they take at most this share of its free memory; the work needs the rest."""


class Progress(NamedTuple):
    """Where training stands inside an epoch.

    Attributes:
        epoch: Epoch at work, counted from 1.
        epochs: Largest number of epochs.
        batch: Batches of this epoch done; 0 as it begins.
        batches: Batches of an epoch.
        last: Mean loss of the last batch, [], where it was computed; None before the first.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    last: Tensor | None

    @property
    def loss(self) -> float | None:
        """Mean loss of the last batch; None before the first. Whoever asks waits for a GPU that is still at work on it."""
        return None if self.last is None else float(self.last)


@dataclass(frozen=True)
class Outcome:
    """What training gave.

    Attributes:
        state: On the CPU: the model that reached the target; if none did, the best on the held-out samples (the latest of
            equals); if no target was set, the last.
        history: All epochs; the first is the model before training.
        target_met: Whether the target accuracy was reached, or none was set.
    """

    state: dict[str, Tensor]
    history: tuple[EpochRecord, ...]
    target_met: bool


OnBatch = Callable[[Progress], None]
OnEpoch = Callable[[EpochRecord], None]


def train(
    model: nn.Module,
    training: Samples,
    held_out: Samples,
    settings: Training,
    seed: int,
    *,
    checkpoint: Path | None = None,
    extra_epochs: int = 0,
    on_batch: OnBatch | None = None,
    on_epoch: OnEpoch | None = None,
) -> Outcome:
    """Train a model, on the GPU if there is one. Equal arguments give equal bytes: see `use_threads`.

    A model that has reached the target before training is not trained.

    Args:
        model: The model as it was received, also when a checkpoint goes on: the proximal term pulls towards it. It ends as
            the outcome's state.
        training: Samples to train on.
        held_out: Samples to measure on; none means that no target is ever met.
        settings: How to train.
        seed: Order of the samples and dropout follow from it and the epoch.
        checkpoint: A file written after every epoch. If it belongs to the same model, settings and seed, training goes on from
            it, to the same bytes as if it had never stopped; if the held-out samples changed since, the best model is measured
            again on the new ones.
        extra_epochs: Epochs allowed beyond the settings', after further samples were collected.
        on_batch: Called as each epoch begins and after each batch. What it raises ends training.
        on_epoch: Called after each epoch, and before the first as epoch 0. Where a checkpoint goes on, it is first called for
            all epochs in it, as whoever is told may have heard of none of them.

    Raises:
        InvalidSamples: there are no training samples.
        StoreFailed: the checkpoint cannot be written.
        Diverged: the loss or a weight is no finite number any more.
        WorkFailed: the model does not fit the samples.
    """
    if not len(training):
        raise InvalidSamples("There are no samples to train on. Collect some, or hold fewer out.")
    place = device()
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        run = _Run(model.to(place), training, held_out, settings, seed, place, checkpoint, on_batch, on_epoch)
        return run.until(settings.epochs + extra_epochs)


@dataclass
class _Run:
    """One call of `train`."""

    model: nn.Module
    training: Samples
    held_out: Samples
    settings: Training
    seed: int
    place: torch.device
    checkpoint: Path | None
    on_batch: OnBatch | None
    on_epoch: OnEpoch | None
    history: tuple[EpochRecord, ...] = ()
    best: Best | None = None

    def __post_init__(self) -> None:
        self.near = _near(self.training, self.place)
        self.loss = LOSSES[self.settings.loss]
        self.sizes = _batch_sizes(len(self.training), self.settings.batch_size)
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.received = [parameter.detach().clone() for parameter in self.parameters] if self.settings.proximal else []
        self.optimizer = optimizer(self.settings, self.model)

    def until(self, epochs: int) -> Outcome:
        """Train up to so many epochs in all."""
        if self.checkpoint:
            # The model is still as it was received; hashing it is for checkpoints alone.
            identity, held_out = identity_of(self.settings, self.seed, self.model.state_dict()), digest_of(self.held_out)
            met = self._go_on(load_checkpoint(self.checkpoint, identity), held_out)
        else:
            met = self._finish_epoch(None, time.monotonic())
        while not met and len(self.history) <= epochs:
            start = time.monotonic()
            met = self._finish_epoch(self._epoch(len(self.history), epochs), start)
            if self.checkpoint:
                state = Checkpoint(identity, held_out, self.model.state_dict(), self.optimizer.state, self.best, self.history)
                state.save(self.checkpoint)
        if self.best and not met:
            self.model.load_state_dict(self.best.state)
        return Outcome(_copy(self.model.state_dict()), self.history, target_met=met or not self.settings.target_accuracy)

    def _go_on(self, saved: Checkpoint | None, held_out: str) -> bool:
        """Take up a checkpoint, or begin; whether the target is met already."""
        if saved is None:
            return self._finish_epoch(None, time.monotonic())
        self.history = saved.history
        if self.on_epoch:
            for record in saved.history:
                self.on_epoch(record)
        self.optimizer.restore(saved.optimizer)
        if saved.held_out == held_out:
            self.best = saved.best
            self.model.load_state_dict(saved.model)
            return self._met(self.history[-1].scores)
        # Other samples to measure on: what the best scored on the former ones says nothing here.
        for state in (saved.best.state, saved.model) if saved.best else (saved.model,):
            self.model.load_state_dict(state)
            self._consider(evaluate(self.model, self.held_out, self.settings.loss))
        return False

    def _epoch(self, number: int, epochs: int) -> float:
        """Pass over all samples once; the mean training loss."""
        dropout = derived_seed(self.seed, "dropout", number)
        # Not torch.manual_seed: without a GPU it queues a call, with the whole stack, for the GPU that never comes.
        torch.default_generator.manual_seed(dropout)
        if self.place.type == "cuda":
            torch.cuda.manual_seed(dropout)
        order = torch.randperm(
            len(self.training), generator=torch.Generator().manual_seed(derived_seed(self.seed, "order", number))
        )
        losses: list[Tensor] = []
        self.model.train()
        self._tell(number, epochs, losses)
        for indices in torch.split(order.to(self.near.labels.device), self.sizes):
            try:
                losses.append(self._step(indices))
            except (RuntimeError, ValueError) as error:
                raise WorkFailed(
                    f"Training broke in epoch {number}, batch {len(losses) + 1}: {error}. "
                    "Check that the model fits the samples, and that a batch fits the memory."
                ) from error
            self._tell(number, epochs, losses)
        mean = float(torch.stack(losses).double().cpu() @ torch.tensor(self.sizes, dtype=torch.float64)) / len(self.training)
        if not math.isfinite(mean) or not all(bool(parameter.isfinite().all()) for parameter in self.parameters):
            raise Diverged(
                f"Training diverged in epoch {number}: the loss is {mean} at the learning rate {self.settings.learning_rate}. "
                "Choose a smaller learning rate."
            )
        return mean

    def _step(self, indices: Tensor) -> Tensor:
        """Learn from one batch, indices [n]; its mean loss, []."""
        inputs = self.near.inputs.index_select(0, indices).to(self.place)
        labels = self.near.labels.index_select(0, indices).to(self.place)
        loss = self.loss(self.model(inputs), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter, received in zip(self.parameters, self.received, strict=False):
            # The gradient of half the factor times the squared distance.
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach() - received, alpha=self.settings.proximal)
        self.optimizer.step()
        return loss.detach()

    def _tell(self, number: int, epochs: int, losses: list[Tensor]) -> None:
        if self.on_batch:
            self.on_batch(Progress(number, epochs, len(losses), len(self.sizes), losses[-1] if losses else None))

    def _finish_epoch(self, train_loss: float | None, start: float) -> bool:
        """Measure and record an epoch; whether the target is met."""
        scores = evaluate(self.model, self.held_out, self.settings.loss)
        record = EpochRecord(epoch=len(self.history), train_loss=train_loss, scores=scores, seconds=time.monotonic() - start)
        self.history += (record,)
        self._consider(scores)
        if self.on_epoch:
            self.on_epoch(record)
        return self._met(scores)

    def _consider(self, scores: Scores) -> None:
        """Keep the model if a target is set and no former one was better."""
        if not self.settings.target_accuracy:
            return
        if self.best is None or (scores.accuracy, -scores.loss) >= (self.best.scores.accuracy, -self.best.scores.loss):
            self.best = Best(_copy(self.model.state_dict()), scores)

    def _met(self, scores: Scores) -> bool:
        target = self.settings.target_accuracy
        return target > 0 and scores.samples > 0 and scores.accuracy >= target


def _near(samples: Samples, place: torch.device) -> Samples:
    """Samples on the device that computes with them, where they leave most of its free memory to the work; else as they are."""
    if place.type != "cuda" or not len(samples):
        return samples
    free, _ = torch.cuda.mem_get_info(place)
    if samples.inputs.nbytes + samples.labels.nbytes > free * _SAMPLES_SHARE:
        return samples
    return Samples(samples.inputs.to(place), samples.labels.to(place))


def _batch_sizes(samples: int, batch_size: int) -> list[int]:
    """Sizes of an epoch's batches. A single one left over joins the batch before: batch normalisation cannot take it alone."""
    full, rest = divmod(samples, batch_size)
    sizes = [batch_size] * full
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
