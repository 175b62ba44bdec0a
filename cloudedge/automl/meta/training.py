"""How a meta model is trained: from searches that are over to a network, whose own size is searched for, too."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from cloudedge.automl.meta.features import NAMES, Array, features
from cloudedge.automl.meta.model import DEEPEST, HEADS, ORDINAL, WIDEST, Card, MetaModel, by_head, network, statistics
from cloudedge.automl.meta.simulating import SIMULATED
from cloudedge.automl.searching import Known, Tpe
from cloudedge.automl.space import Space
from cloudedge.documents.automl import TraceRow
from cloudedge.errors import InvalidInput
from cloudedge.seeds import derived_seed

LEAST_ROWS = 50
"""Searches that a meta model can be trained on, at least."""

_HELD_OUT = 0.2
_BATCH = 128
STEPS = 1_500
"""Of training a meta model, in batches."""

_WIDTHS = (16, 32, 64, 128, 200, WIDEST)
_MOST_BYTES = 256 * 1024
"""Of the weights: the file is sent to every edge. Larger forms are screened out."""


class Form(NamedTuple):
    """Size of a meta model."""

    layers: int
    width: int


class Examples(NamedTuple):
    """What a meta model learns from.

    Attributes:
        seen: Features, [rows, features].
        chosen: Places of what would have been best in each head, [rows, heads].
        times: How many searches each counts as, [rows].
        simulated: How many of them happened on no device.
    """

    seen: Array
    chosen: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    simulated: int

    def and_also(self, others: "Examples") -> "Examples":
        """These, then others."""
        return Examples(
            np.concatenate([self.seen, others.seen]),
            np.concatenate([self.chosen, others.chosen]),
            np.concatenate([self.times, others.times]),
            self.simulated + others.simulated,
        )


def examples(rows: Iterable[TraceRow], times: int = 1) -> Examples:
    """What can be learned from searches.

    The best caps for a search are the sizes of its best model: capped by them, the search begins with it. A search that found
    nothing says nothing. One that tried a loss or a seed that no head chooses from says nothing either.

    Args:
        rows: The searches.
        times: How many each counts as.
    """
    seen, chosen, simulated = [], [], 0
    for row in rows:
        if row.best is None or row.best >= len(row.trials):
            continue
        trial = row.trials[row.best]
        sizes = trial.candidate
        wanted = {
            "layers": sizes.layers,
            "filters": sizes.filters,
            "kernel": sizes.kernel,
            "loss": trial.loss,
            "seed": trial.seed,
        }
        if all(value in HEADS[name] for name, value in wanted.items()):
            seen.append(features(row.state, row.limits, row.reference))
            chosen.append([HEADS[name].index(wanted[name]) for name in HEADS])
            simulated += row.device == SIMULATED
    return Examples(
        np.array(seen).reshape(-1, len(NAMES)),
        np.array(chosen, np.int64).reshape(-1, len(HEADS)),
        np.full(len(seen), times),
        simulated,
    )


def surprise(model: MetaModel, found: Examples) -> float:
    """Mean negative log-likelihood of the best sizes, in nats: 0 where each is foretold with certainty.

    Only of the sizes, as a search compares those alone: it trains with one loss and one seed.

    Args:
        model: A meta model.
        found: What it never learned from: one search or more.
    """
    logits, targets = model.logits(found.seen), torch.from_numpy(found.chosen)
    losses = [functional.cross_entropy(logits[name], targets[:, place]) for place, name in enumerate(HEADS) if name in ORDINAL]
    return float(torch.stack(losses).mean())


def agreement(model: MetaModel, found: Examples) -> dict[str, float]:
    """Share of searches whose best choice a meta model holds the most likely one, by hyperparameter.

    Args:
        model: A meta model.
        found: What it never learned from: one search or more.
    """
    return _agreement(model.logits(found.seen), torch.from_numpy(found.chosen))


def _agreement(logits: Mapping[str, torch.Tensor], targets: torch.Tensor) -> dict[str, float]:
    return {
        name: float((each.argmax(1) == targets[:, place]).float().mean()) for place, (name, each) in enumerate(logits.items())
    }


def forms() -> Space[Form]:
    """Sizes that a meta model may have."""
    return Space({"layers": range(1, DEEPEST), "width": _WIDTHS}, Form)


def train(
    learned: Examples,
    trained_on: str,
    *,
    seed: int = 0,
    trials: int = 10,
    steps: int = STEPS,
    say: Callable[[str], object] = lambda words: None,
) -> MetaModel:
    """Search for the size of a meta model as models are searched for on a device, then train that one.

    Args:
        learned: What it learns from.
        trained_on: What that is, in words, for its card.
        seed: All chance follows from it: equal arguments give equal bytes.
        trials: Sizes that are tried, each with a quarter of the steps.
        steps: Of training, in batches of 128.
        say: Called with how far it is.

    Raises:
        InvalidInput: there are too few searches to learn from, or Optuna is not installed.
    """
    rows = len(learned.seen)
    if rows < LEAST_ROWS:
        raise InvalidInput(f"{rows} searches found a model; a meta model is trained on {LEAST_ROWS} or more. Collect more.")
    order = np.random.default_rng(derived_seed(seed, "held out")).permutation(rows)
    held, used = order[: int(rows * _HELD_OUT)], order[int(rows * _HELD_OUT) :]
    # Held out is a search; how many it counts as follows then, so that none is on both sides.
    counted, judged = (np.repeat(each, learned.times[each]) for each in (used, held))
    about = statistics(learned.seen[counted])
    mean, deviation = (np.array([getattr(each, name) for each in about]) for name in ("mean", "deviation"))
    inputs = torch.from_numpy((learned.seen - mean) / deviation).float()
    targets = torch.from_numpy(learned.chosen)
    tried: list[Known[Form]] = []
    while sum(known.value is not None for known in tried) < trials:
        form = next(iter(Tpe(forms(), seed, tried)))
        size = 4 * sum(parameter.numel() for parameter in network(*form).parameters())
        beyond = {"memory": size / _MOST_BYTES - 1}
        if size > _MOST_BYTES:
            tried.append(Known(form, None, beyond))
            continue
        net = _trained(inputs[counted], targets[counted], form, seed, max(1, steps // 4))
        with torch.no_grad():
            loss = float(_loss(net(inputs[judged]), targets[judged]))
        tried.append(Known(form, -loss, beyond))
        say(f"A meta model of {form.layers} hidden layers of {form.width} neurons was tried: loss {loss:.3f}.")
    form = max(tried, key=lambda known: -math.inf if known.value is None else known.value).item
    net = _trained(inputs[counted], targets[counted], form, seed, steps)
    with torch.no_grad():
        logits = by_head(net(inputs[held]))
    card = Card(
        layers=form.layers,
        width=form.width,
        features=about,
        heads=dict(HEADS),
        trained_on=trained_on,
        rows=rows,
        simulated_rows=learned.simulated,
        agreement=_agreement(logits, targets[held]),
    )
    return MetaModel(card, net)


def _trained(inputs: torch.Tensor, targets: torch.Tensor, form: Form, seed: int, steps: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(seed, "weights", *form) % 2**63)
        net = network(*form)
        optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
        for _ in range(steps):
            batch = torch.randint(len(inputs), (_BATCH,))
            optimizer.zero_grad()
            _loss(net(inputs[batch]), targets[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return net.eval()


def _loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, the mean over the heads, []."""
    losses = [functional.cross_entropy(each, targets[:, place]) for place, each in enumerate(by_head(logits).values())]
    return torch.stack(losses).mean()
