"""A multilayer perceptron: any input, flattened, through fully connected layers."""

from collections import OrderedDict
from math import prod
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import nn

from cloudedge.documents.base import Part
from cloudedge.models.parameters import checked

Width = Annotated[int, Field(ge=1, le=65_536)]

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


class Mlp(Part):
    """Parameters of the multilayer perceptron."""

    layers: int = Field(default=2, ge=0, le=100, description="Number of hidden layers; with 0 the model is linear.")
    width: Width = Field(default=64, description="Units in each hidden layer.")
    widths: tuple[Width, ...] | None = Field(
        default=None, max_length=100, description="Units in each hidden layer by itself, instead of layers and width."
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share of hidden units left out in each training step.")
    activation: Literal["relu", "gelu", "tanh"] = Field(default="relu", description="Function after each hidden layer.")


def mlp(input_shape: tuple[int, ...], classes: int, **parameters: Any) -> nn.Module:
    """Build a multilayer perceptron.

    Args:
        input_shape: Shape of one input, without the batch.
        classes: Number of classes.
        parameters: Fields of `Mlp`.

    Returns:
        A network from [n, *input_shape] to logits [n, classes].

    Raises:
        InvalidDocument: a parameter is unknown or out of bounds; lists all of them.
    """
    settings = checked(Mlp, parameters)
    widths = settings.widths if settings.widths is not None else (settings.width,) * settings.layers
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    inputs = prod(input_shape)
    for number, width in enumerate(widths, start=1):
        layers[f"hidden_{number}"] = nn.Linear(inputs, width)
        layers[f"activation_{number}"] = _ACTIVATIONS[settings.activation]()
        if settings.dropout:
            layers[f"dropout_{number}"] = nn.Dropout(settings.dropout)
        inputs = width
    layers["output"] = nn.Linear(inputs, classes)
    return nn.Sequential(layers)
