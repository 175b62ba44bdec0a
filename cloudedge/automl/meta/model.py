"""The meta model itself: a small network from features to one choice a hyperparameter, with all that is needed to use it.

It is two files: safetensors with the weights, and a JSON document (`Card`) with the form of the network, the statistics that
features are standardised with, and the range of each that it was trained on, beyond which it is not asked.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from cloudedge.automl.meta.features import NAMES, Array
from cloudedge.automl.meta.files import CARD, SHIPPED, WEIGHTS
from cloudedge.automl.space import Preferences
from cloudedge.documents.automl import FILTERS, KERNELS, MOST_LAYERS, Hyperparameters
from cloudedge.documents.base import Document, Part, parse
from cloudedge.documents.report import Count, Share
from cloudedge.errors import InvalidModel, NotFound
from cloudedge.files import atomic_write, disk_errors
from cloudedge.weights import check, layout_of, load, save

DEEPEST = 10
"""Layers at most, the last one included."""

WIDEST = 300
"""Neurons of a layer at most."""

HEADS: Mapping[str, tuple[Any, ...]] = {
    "layers": tuple(range(1, MOST_LAYERS + 1)),
    "filters": FILTERS,
    "kernel": KERNELS,
    "loss": ("cross-entropy", "label-smoothing", "focal", "mse"),
    "seed": (0, 1, 2, 3),
}
"""What each head chooses from."""

ORDINAL = ("layers", "filters", "kernel")
"""Those whose choices have an order: they are caps."""

_COVERED = 0.9
"""Probability that the best choice is none beyond the cap."""


class Feature(Part):
    """One of the numbers that the model sees, as it was in training."""

    name: str = Field(description="Its name.")
    mean: float = Field(description="Its mean.")
    deviation: float = Field(gt=0, description="Its standard deviation; 1 where it never varied.")
    low: float = Field(description="Its least value.")
    high: float = Field(description="Its largest value.")


class Card(Document):
    """What a meta model is, and what it was trained on."""

    layers: int = Field(ge=1, le=DEEPEST - 1, description="Hidden layers; another one gives the choices.")
    width: int = Field(ge=1, le=WIDEST, description="Neurons of each hidden layer.")
    features: tuple[Feature, ...] = Field(description="What it sees, in order.")
    heads: dict[str, tuple[Any, ...]] = Field(description="What it chooses from, by hyperparameter.")
    trained_on: str = Field(max_length=2000, description="What it was trained on, in words.")
    rows: Count = Field(description="Searches that it learned from.")
    simulated_rows: Count = Field(description="How many of these were simulated, and happened on no device.")
    agreement: dict[str, Share] = Field(description="Share of held-out searches whose best choice it names, by hyperparameter.")

    @model_validator(mode="after")
    def _known_form(self) -> Self:
        if tuple(feature.name for feature in self.features) != NAMES:
            raise ValueError("it sees other features than this cloudedge computes; train it anew")
        if {name: tuple(values) for name, values in self.heads.items()} != dict(HEADS):
            raise ValueError("it chooses from other hyperparameters than this cloudedge searches; train it anew")
        return self


def network(layers: int, width: int) -> nn.Sequential:
    """From standardised features [n, features] to the logits of all heads, one after the other [n, choices]."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    inputs = len(NAMES)
    for number in range(1, layers + 1):
        parts[f"hidden_{number}"] = nn.Linear(inputs, width)
        parts[f"activation_{number}"] = nn.ReLU()
        inputs = width
    parts["heads"] = nn.Linear(inputs, sum(map(len, HEADS.values())))
    return nn.Sequential(parts)


def by_head(logits: Tensor) -> dict[str, Tensor]:
    """Logits [n, choices of all] as those of each head [n, choices]."""
    return dict(zip(HEADS, torch.split(logits, [len(values) for values in HEADS.values()], dim=1), strict=True))


class MetaModel:
    """Names caps for a search on a device.

    Attributes:
        card: What it is.
    """

    def __init__(self, card: Card, net: nn.Module) -> None:
        """Join them.

        Args:
            card: What the network is.
            net: It, see `network`.
        """
        self.card, self._network = card, net.eval()

    def outside(self, seen: Array) -> tuple[str, ...]:
        """The features that are beyond what the model was trained on, each in words.

        Args:
            seen: Features, see `features`.
        """
        return tuple(
            f"{feature.name} is {value:.3g}, and it has seen {feature.low:.3g} to {feature.high:.3g}"
            for feature, value in zip(self.card.features, seen.tolist(), strict=True)
            if not feature.low - 1e-9 <= value <= feature.high + 1e-9
        )

    def propose(self, seen: Array) -> tuple[Hyperparameters, Preferences]:
        """How large the search may be, and how likely each size is the best one.

        A cap is the smallest one that the best network exceeds in at most one of ten cases.

        Args:
            seen: Features, see `features`.
        """
        shares = {name: each[0].softmax(0) for name, each in self.logits(seen[None]).items()}
        places = {
            name: int((each.cumsum(0) >= _COVERED).int().argmax()) if name in ORDINAL else int(each.argmax())
            for name, each in shares.items()
        }
        caps = Hyperparameters.model_validate({name: HEADS[name][place] for name, place in places.items()})
        return caps, {name: [min(1.0, share) for share in shares[name].tolist()] for name in ORDINAL}

    def logits(self, seen: Array) -> dict[str, Tensor]:
        """How much speaks for each choice of a head, [n, choices] by head.

        Args:
            seen: Features, see `features`, of n searches: [n, features].
        """
        mean = np.array([feature.mean for feature in self.card.features])
        deviation = np.array([feature.deviation for feature in self.card.features])
        with torch.no_grad():
            return by_head(self._network(torch.from_numpy((seen - mean) / deviation).float()))

    def save(self, folder: Path) -> None:
        """Write it as two files; the same model gives the same bytes.

        Raises:
            StoreFailed: the disk does not take it.
        """
        save(self._network.state_dict(), folder / WEIGHTS)
        atomic_write(folder / CARD, self.card.to_json())

    @classmethod
    def load(cls, folder: Path = SHIPPED) -> "MetaModel":
        """Read one.

        Args:
            folder: Where its files are; by default that of the one that comes with cloudedge.

        Raises:
            NotFound: there is none.
            InvalidDocument: its document is none that is understood here.
            InvalidModel: its weights are not those of such a network.
        """
        path = folder / CARD
        if not path.is_file():
            raise NotFound(f"There is no meta model in {folder}: it has no file {CARD}. Give a folder that has one.")
        with disk_errors(path):
            card = parse(Card, path.read_bytes(), str(path), stored=True)
        net = network(card.layers, card.width)
        check(folder / WEIGHTS, layout_of(net.state_dict()))
        try:
            net.load_state_dict(load(folder / WEIGHTS))
        except RuntimeError as error:
            raise InvalidModel(f"{folder / WEIGHTS} has other weights than its document says: {error}") from None
        return cls(card, net)


def statistics(seen: Sequence[Array] | Array) -> tuple[Feature, ...]:
    """What features were in training.

    Args:
        seen: [rows, features].
    """
    table = np.asarray(seen)
    return tuple(
        Feature(
            name=name,
            mean=float(column.mean()),
            deviation=float(column.std()) if column.std() > 1e-9 else 1.0,
            low=float(column.min()),
            high=float(column.max()),
        )
        for name, column in zip(NAMES, table.T, strict=True)
    )
