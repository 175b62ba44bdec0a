"""What the built-in architectures share: parameters that are checked all at once, and images in either form."""

import math
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from torch import nn

from cloudedge.documents.base import Part, canonical_json, parse
from cloudedge.errors import InvalidInput

Norm = Literal["group", "batch", "none"]

ParametersT = TypeVar("ParametersT", bound=Part)


def checked(kind: type[ParametersT], parameters: Mapping[str, Any]) -> ParametersT:
    """Read an architecture's parameters.

    Raises:
        InvalidDocument: lists every unknown, ill-typed or unbounded parameter at once, with the value found and the remedy.
    """
    return parse(kind, canonical_json(parameters), "The task's model")


def image_shape(input_shape: tuple[int, ...], architecture: str) -> tuple[int, int, int]:
    """(channels, height, width) of an input; (height, width) alone has one channel.

    Raises:
        InvalidInput: the input is no image.
    """
    if len(input_shape) == 2:
        return (1, *input_shape)
    if len(input_shape) != 3:
        raise InvalidInput(
            f"The architecture {architecture!r} needs images of shape (channels, height, width), but the data's shape is "
            f"{input_shape}. Use the architecture 'mlp', or correct the field's shape."
        )
    return input_shape


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """A layer that normalises [n, channels, height, width].

    Groups of channels are the default, because statistics over batches differ from edge to edge and average badly:
    Hsieh et al., "The Non-IID Data Quagmire of Decentralized Machine Learning", ICML 2020.
    """
    if norm == "group":
        return nn.GroupNorm(math.gcd(8, channels), channels)
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.Identity()


def initialise_convolutions(model: nn.Module) -> None:
    """Draw convolutions so that the signal keeps its size through many layers of ReLU.

    He et al., "Delving Deep into Rectifiers", ICCV 2015.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
