"""A small convolutional network for small images, from 8 x 8 pixels up."""

from collections import OrderedDict
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import nn

from cloudedge.documents.base import Part
from cloudedge.models.parameters import GridAverage, Norm, checked, image_shape, initialise_convolutions, norm_layer

_GRID = 4
"""Largest height and width of the last feature map, so that large images don't make a large last layer."""


class Convnet(Part):
    """Parameters of the small convolutional network."""

    channels: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        default=(16, 32),
        min_length=1,
        max_length=8,
        description="Channels of each block; each but a 1-pixel one halves the image.",
    )
    kernel: Literal[1, 3, 5, 7] = Field(default=3, description="Height and width of each convolution in pixels: 1, 3, 5 or 7.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share of the last features left out in each training step.")
    norm: Norm = Field(default="group", description="Normalisation after each convolution: group, batch or none.")


def convnet(input_shape: tuple[int, ...], classes: int, **parameters: Any) -> nn.Module:
    """Build a small convolutional network: blocks of convolution, normalisation, ReLU and pooling, then one linear layer.

    Args:
        input_shape: (channels, height, width), or (height, width).
        classes: Number of classes.
        parameters: Fields of `Convnet`.

    Returns:
        A network from [n, *input_shape] to logits [n, classes].

    Raises:
        InvalidDocument: a parameter is unknown or out of bounds; lists all of them.
        InvalidInput: the input is no image.
    """
    settings = checked(Convnet, parameters)
    inputs, height, width = shape = image_shape(input_shape, "convnet")
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten(), image=nn.Unflatten(1, shape))
    for number, outputs in enumerate(settings.channels, start=1):
        layers[f"convolution_{number}"] = nn.Conv2d(inputs, outputs, settings.kernel, padding=settings.kernel // 2)
        layers[f"norm_{number}"] = norm_layer(settings.norm, outputs)
        layers[f"activation_{number}"] = nn.ReLU()
        if min(height, width) >= 2:
            layers[f"pool_{number}"] = nn.MaxPool2d(2)
            height, width = height // 2, width // 2
        inputs = outputs
    grid = (min(height, _GRID), min(width, _GRID))
    layers["grid"] = GridAverage((height, width), grid)
    layers["features"] = nn.Flatten()
    layers["dropout"] = nn.Dropout(settings.dropout)
    layers["output"] = nn.Linear(inputs * grid[0] * grid[1], classes)
    model = nn.Sequential(layers)
    initialise_convolutions(model)
    return model
