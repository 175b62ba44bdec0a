"""VGG: deep stacks of 3 x 3 convolutions, from 8 x 8 pixels up.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
table 1, columns A and D.
"""

from collections import OrderedDict
from typing import Any, Literal

from pydantic import Field
from torch import nn

from cloudedge.documents.base import Part
from cloudedge.models.parameters import GridAverage, Norm, checked, image_shape, initialise_convolutions, norm_layer

_STAGES: dict[int, tuple[tuple[int, ...], ...]] = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
}
_GRID = 7
"""Height and width of the last feature map in the paper; small images keep a smaller one."""


class Vgg(Part):
    """Parameters of VGG."""

    depth: Literal[11, 16] = Field(default=16, description="Layers with weights: 11 or 16.")
    width_factor: float = Field(default=1.0, gt=0, le=4, description="Factor on the paper's 64 to 512 channels and 4096 units.")
    dropout: float = Field(default=0.5, ge=0, lt=1, description="Share of the units left out in each training step.")
    norm: Norm = Field(
        default="group", description="Normalisation after each convolution: group, batch, or none as in the paper."
    )


def vgg(input_shape: tuple[int, ...], classes: int, **parameters: Any) -> nn.Module:
    """Build a VGG network. Images too small for the paper's five poolings go through fewer.

    Args:
        input_shape: (channels, height, width), or (height, width).
        classes: Number of classes.
        parameters: Fields of `Vgg`.

    Returns:
        A network from [n, *input_shape] to logits [n, classes].

    Raises:
        InvalidDocument: a parameter is unknown or out of bounds; lists all of them.
        InvalidInput: the input is no image.
    """
    settings = checked(Vgg, parameters)
    inputs, height, width = shape = image_shape(input_shape, "vgg")
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten(), image=nn.Unflatten(1, shape))
    for stage, stack in enumerate(_STAGES[settings.depth], start=1):
        for number, channels in enumerate(stack, start=1):
            outputs = _scaled(channels, settings)
            layers[f"convolution_{stage}_{number}"] = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
            layers[f"norm_{stage}_{number}"] = norm_layer(settings.norm, outputs)
            layers[f"activation_{stage}_{number}"] = nn.ReLU()
            inputs = outputs
        if min(height, width) >= 2:
            layers[f"pool_{stage}"] = nn.MaxPool2d(2)
            height, width = height // 2, width // 2
    grid = (min(height, _GRID), min(width, _GRID))
    layers["grid"] = GridAverage((height, width), grid)
    layers["features"] = nn.Flatten()
    inputs *= grid[0] * grid[1]
    for number in (1, 2):
        units = _scaled(4096, settings)
        layers[f"hidden_{number}"] = nn.Linear(inputs, units)
        layers[f"hidden_activation_{number}"] = nn.ReLU()
        layers[f"dropout_{number}"] = nn.Dropout(settings.dropout)
        inputs = units
    layers["output"] = nn.Linear(inputs, classes)
    model = nn.Sequential(layers)
    initialise_convolutions(model)
    return model


def _scaled(number: int, settings: Vgg) -> int:
    return max(1, round(number * settings.width_factor))
