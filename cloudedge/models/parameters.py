"""What the built-in architectures share: parameters that are checked all at once, and images in either form."""

import math
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

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


class GridAverage(nn.Module):
    """Averages [n, channels, *size] to [n, channels, *grid], over the windows of `nn.AdaptiveAvgPool2d`.

    That one's gradient is summed in no fixed order on a GPU; products of matrices have an order.
    """

    def __init__(self, size: tuple[int, int], grid: tuple[int, int]) -> None:
        super().__init__()
        # Not part of the state: an edge and the cloud make them anew from the sizes.
        self.register_buffer("rows", _windows(size[0], grid[0]), persistent=False)
        self.register_buffer("columns", _windows(size[1], grid[1]).T.contiguous(), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Averages [n, channels, *grid] of inputs [n, channels, *size]."""
        return self.get_buffer("rows") @ inputs @ self.get_buffer("columns")


def _windows(size: int, cells: int) -> Tensor:
    """Weights [cells, size]; a cell's window ends where the next begins, or shares with it the place that both cut."""
    weights = torch.zeros(cells, size)
    for cell in range(cells):
        first, end = cell * size // cells, -(-(cell + 1) * size // cells)
        weights[cell, first:end] = 1 / (end - first)
    return weights


def initialise_convolutions(model: nn.Module) -> None:
    """Draw convolutions so that the signal keeps its size through many layers of ReLU.

    He et al., "Delving Deep into Rectifiers", ICCV 2015.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
