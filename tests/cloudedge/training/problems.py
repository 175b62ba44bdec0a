"""Small problems that can be learned in a moment, and ways to compare what was learned."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cloudedge.data import Samples
from cloudedge.documents import DataFormat, EpochRecord, ModelSpec, Training
from cloudedge.models import build
from cloudedge.training import Outcome

DATA = DataFormat.model_validate({"storage": "npz", "fields": [{"name": "x", "shape": [6]}], "classes": ["a", "b", "c"]})


def samples(count: int, seed: int = 0) -> Samples:
    """Samples of three classes that a linear model can tell apart."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 6, generator=generator)
    return Samples(inputs, (inputs[:, :3] * 2 + inputs[:, 3:]).argmax(dim=1))


def network(seed: int = 0, **parameters: Any) -> nn.Module:
    """A small network for `samples`; dropout unless told otherwise."""
    return build(ModelSpec(parameters={"layers": 1, "width": 8, "dropout": 0.2} | parameters), DATA, seed)


def settings(**changes: Any) -> Training:
    """Training that learns `samples` in a few epochs."""
    return Training(**({"epochs": 4, "batch_size": 8, "learning_rate": 0.05} | changes))


def without_seconds(history: tuple[EpochRecord, ...]) -> list[EpochRecord]:
    """The history as it is the same each time."""
    return [record.model_copy(update={"seconds": 0.0}) for record in history]


def same_state(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two models are equal to the last bit, wherever they are."""
    return list(one) == list(other) and all(
        one[name].dtype == other[name].dtype and one[name].cpu().numpy().tobytes() == other[name].cpu().numpy().tobytes()
        for name in one
    )


def same(one: Outcome, other: Outcome) -> bool:
    """Whether two trainings gave the same."""
    return (
        same_state(one.state, other.state)
        and without_seconds(one.history) == without_seconds(other.history)
        and one.target_met == other.target_met
    )
