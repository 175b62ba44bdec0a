"""What a candidate consists of, layer by layer, told from its parameters alone: the sizes of `cloudedge.models.convnet`."""

from typing import NamedTuple

from cloudedge.documents import DataFormat, ModelSpec
from cloudedge.errors import InvalidInput

GRID = 4
"""Largest height and width of what the last layer sees."""


class Convolution(NamedTuple):
    """A convolution with what follows it: normalisation, ReLU and, where `pooled`, the maximum of 2 x 2 places.

    Attributes:
        inputs: Channels before it.
        outputs: Channels behind it.
        kernel: Height and width of its windows.
        height: Height of its images.
        width: Width of its images.
        pooled: Whether height and width are halved behind it.
    """

    inputs: int
    outputs: int
    kernel: int
    height: int
    width: int
    pooled: bool


class Layers(NamedTuple):
    """A whole candidate.

    Attributes:
        convolutions: Its convolutions, first one first.
        size: Height and width behind the last one.
        grid: To which they are averaged.
        classes: Outputs of the linear layer at the end.
    """

    convolutions: tuple[Convolution, ...]
    size: tuple[int, int]
    grid: tuple[int, int]
    classes: int

    @property
    def features(self) -> int:
        """Inputs of the linear layer."""
        return self.convolutions[-1].outputs * self.grid[0] * self.grid[1]


def layers_of(spec: ModelSpec, data: DataFormat) -> Layers:
    """The layers of a candidate.

    Args:
        spec: A convnet whose parameters have `channels`.
        data: Format of the samples.

    Raises:
        InvalidInput: it is no such network, or the samples are no images.
    """
    if spec.architecture != "convnet" or "channels" not in spec.parameters:
        raise InvalidInput(
            f"What a network of the architecture {spec.architecture!r} costs is not known here. Give a 'convnet' with "
            "'channels'."
        )
    shape = data.input_shape
    if len(shape) not in (2, 3):
        raise InvalidInput(
            f"The search is for images of shape (channels, height, width), and the data's shape is {shape}. Correct the "
            "field's shape."
        )
    inputs, height, width = (1, *shape) if len(shape) == 2 else shape
    kernel = spec.parameters.get("kernel", 3)
    convolutions = []
    for outputs in spec.parameters["channels"]:
        pooled = min(height, width) >= 2
        convolutions.append(Convolution(inputs, outputs, kernel, height, width, pooled))
        if pooled:
            height, width = height // 2, width // 2
        inputs = outputs
    return Layers(tuple(convolutions), (height, width), (min(height, GRID), min(width, GRID)), len(data.classes))
