"""Our optimizers take the same steps as torch.optim's."""

import copy
from collections.abc import Callable

import pytest
import torch

from cloudedge.training.optimizers import optimizer
from tests.cloudedge.training.problems import network, samples, settings

Peer = Callable[..., torch.optim.Optimizer]

PEERS: dict[str, Peer] = {
    "sgd": torch.optim.SGD,
    "momentum": lambda parameters, **arguments: torch.optim.SGD(parameters, momentum=0.9, **arguments),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", PEERS)
def test_ten_steps_are_those_of_torch(name: str, weight_decay: float) -> None:
    ours, theirs = network(dropout=0), network(dropout=0)
    our_steps = optimizer(settings(optimizer=name, weight_decay=weight_decay, learning_rate=0.02), ours)
    their_steps = PEERS[name](theirs.parameters(), lr=0.02, weight_decay=weight_decay)
    for step in range(10):
        batch = samples(8, seed=step)
        for model, take in ((ours, our_steps.step), (theirs, their_steps.step)):
            model.zero_grad()
            torch.nn.functional.cross_entropy(model(batch.inputs), batch.labels).backward()  # type: ignore[no-untyped-call]
            take()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", PEERS)
def test_a_parameter_without_a_gradient_stays_and_forgets_nothing(name: str) -> None:
    model = network(dropout=0)
    steps = optimizer(settings(optimizer=name, weight_decay=0.1), model)
    before = copy.deepcopy(model.state_dict())
    state = copy.deepcopy(steps.state)
    model.get_parameter("output.bias").grad = torch.ones(3)
    steps.step()
    changed = [key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])]
    assert changed == ["output.bias"]
    assert all(torch.equal(steps.state[key], state[key]) for key in state if not key.endswith("output.bias"))
    assert model.get_parameter("output.bias").grad is None
