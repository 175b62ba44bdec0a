"""The model that is deployed, as an ONNX graph, written node by node: no exporter, so that equal weights give equal bytes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from cloudedge.documents.deployable import ImageForm
from cloudedge.documents.inspection import Preprocessing
from cloudedge.inspection.architecture import BLOCKS, EPSILON, features_after, padding, size_at

Array = npt.NDArray[Any]
Weights = Mapping[str, npt.NDArray[np.float32]]
"""Of the backbone, by the names of its file."""

OPSET = 18
_IR_VERSION = 8

_GRAY = (0.299, 0.587, 0.114)
"""Of red, green and blue (ITU-R BT.601)."""


def grid(form: ImageForm) -> tuple[int, int]:
    """Rows and columns of places that an image is judged by: one for 8 pixels each way."""
    return -(-form.height // 8), -(-form.width // 8)


class Kernel(NamedTuple):
    """A convolution.

    Attributes:
        weight: Of shape (outputs, inputs of its group, height, width).
        bias: Of shape (outputs).
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


class Graph:
    """A graph that is being written, from `image` (batch, height, width, 3), uint8."""

    def __init__(self, form: ImageForm) -> None:
        """Begin with nothing.

        Args:
            form: Of the images.
        """
        self.form = form
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, values: Array | Sequence[int]) -> str:
        """A tensor of fixed numbers; lists are of int64."""
        array = values if isinstance(values, np.ndarray) else np.asarray(values, np.int64)
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node with one output, and return that one's name."""
        self._nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def add_several(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Add a node with several outputs."""
        self._nodes.append(helper.make_node(operator, list(inputs), list(outputs), name=outputs[0], **attributes))

    def model(self, outputs: Mapping[str, Sequence[int]]) -> bytes:
        """The whole file.

        Args:
            outputs: Shapes of the outputs by name, without the batch; all are float32.
        """
        height, width = self.form.height, self.form.width
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", height, width, 3])
        found = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape]) for name, shape in outputs.items()]
        graph = helper.make_graph(self._nodes, "inspection", [image], found, list(self._constants.values()))
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION, producer_name="cloudedge"
        )
        return model.SerializeToString(deterministic=True)

    def backbone(self, weights: Weights, last: int, preprocessing: Preprocessing) -> dict[int, str]:
        """The backbone's blocks up to number `last`; names of the features of its stages, by stage (0: the stem).

        What comes before a window of places and looks at each place alone (normalisation of pixels, the first convolution of a
        block) is the same whether the border is repeated before or after it. So it is repeated where channels are few.
        """
        self._size = (self.form.height, self.form.width)
        self.add("Cast", ["image"], "pixels", to=TensorProto.FLOAT)
        self.add("Transpose", ["pixels"], "planes", perm=[0, 3, 1, 2])
        values = self._padded("planes", 3, 2, "planes")
        values = self._convolved(
            values, _seeing(folded(weights, "_conv_stem", "_bn0"), preprocessing), "_conv_stem", 2, clip=True
        )
        found = {0: values}
        for place, block in enumerate(BLOCKS):
            if place > last:
                break
            before, prefix = values, f"_blocks.{place}."
            expand, depthwise, project = (f"{prefix}{name}" for name in ("_expand_conv", "_depthwise_conv", "_project_conv"))
            values = self._padded(values, block.kernel, block.stride, prefix)
            if block.expansion > 1:
                values = self._convolved(values, folded(weights, expand, f"{prefix}_bn0"), expand, clip=True)
            kernel = folded(weights, depthwise, f"{prefix}_bn1")
            values = self._convolved(values, kernel, depthwise, block.stride, clip=True, groups=len(kernel.weight))
            values = self._convolved(values, folded(weights, project, f"{prefix}_bn2"), project)
            if block.skips:
                values = self.add("Add", [values, before], f"{prefix}sum")
            if place == features_after(block.stage):
                found[block.stage] = values
        return found

    def on_grid(self, features: Mapping[int, str], stages: Sequence[int]) -> str:
        """Features of some stages side by side, (batch, channels, *grid): averaged where finer, interpolated where coarser."""
        parts = [self._interpolated(self._averaged(features[stage], stage), stage) for stage in stages]
        return self.add("Concat", parts, "features", axis=1) if len(parts) > 1 else parts[0]

    def projected(self, values: str, stage: int, projection: npt.NDArray[np.float32]) -> str:
        """A stage's features, projected place by place, (batch, directions, *grid): where there are the fewest places.

        Args:
            values: The features.
            stage: Whose they are.
            projection: Of shape (directions, channels).
        """
        weight = self.constant(f"projection.{stage}", projection[:, :, np.newaxis, np.newaxis])
        averaged = self._averaged(values, stage, "projected.averaged")
        return self._interpolated(self.add("Conv", [averaged, weight], f"projected.{stage}"), stage, "projected.grid")

    def _averaged(self, values: str, stage: int, prefix: str = "grid") -> str:
        """The same, averaged to the grid where it is finer."""
        rows, columns = grid(self.form)
        size = self._size_at(stage)
        if size[0] <= rows and size[1] <= columns:
            return values
        factor = -(-size[0] // rows)
        pads = [0, 0, factor * rows - size[0], factor * columns - size[1]]
        return self.add(
            "AveragePool", [values], f"{prefix}.{stage}", kernel_shape=[factor] * 2, strides=[factor] * 2, pads=pads
        )

    def _interpolated(self, values: str, stage: int, prefix: str = "grid") -> str:
        """The same, interpolated to the grid where it is coarser."""
        rows, columns = grid(self.form)
        size = self._size_at(stage)
        coarser = size != (rows, columns) and size[0] <= rows and size[1] <= columns
        return self.resized(values, (rows, columns), f"{prefix}.{stage}") if coarser else values

    def _size_at(self, stage: int) -> tuple[int, int]:
        return size_at(self.form.height, stage), size_at(self.form.width, stage)

    def resized(self, values: str, size: tuple[int, int], output: str) -> str:
        """(batch, channels, *size) by bilinear interpolation."""
        sizes = self.constant(f"{output}.size", list(size))
        return self.add(
            "Resize", [values, "", "", sizes], output, mode="linear", coordinate_transformation_mode="half_pixel", axes=[2, 3]
        )

    def _padded(self, values: str, kernel: int, stride: int, output: str) -> str:
        """The same with its border repeated, as far as windows of this size and stride need."""
        top, bottom = padding(self._size[0], kernel, stride)
        left, right = padding(self._size[1], kernel, stride)
        self._size = (-(-self._size[0] // stride), -(-self._size[1] // stride))
        if not (top or bottom or left or right):
            return values
        pads = self.constant(f"pads.{top}.{left}.{bottom}.{right}", [0, 0, top, left, 0, 0, bottom, right])
        return self.add("Pad", [values, pads], f"{output}.padded", mode="edge")

    def _convolved(
        self, values: str, kernel: Kernel, output: str, stride: int = 1, *, clip: bool = False, groups: int = 1
    ) -> str:
        """A convolution, and ReLU6 where asked."""
        inputs = [values, self.constant(f"{output}.weight", kernel.weight), self.constant(f"{output}.bias", kernel.bias)]
        self.add("Conv", inputs, output, strides=[stride, stride], group=groups)
        if not clip:
            return output
        zero, six = self.constant("zero", np.array(0, np.float32)), self.constant("six", np.array(6, np.float32))
        return self.add("Clip", [output, zero, six], f"{output}.clipped")


def folded(weights: Weights, convolution: str, norm: str) -> Kernel:
    """A convolution with the batch normalisation after it taken in."""
    scale = weights[f"{norm}.weight"].astype(np.float64) / np.sqrt(weights[f"{norm}.running_var"].astype(np.float64) + EPSILON)
    kernel = weights[f"{convolution}.weight"] * scale[:, np.newaxis, np.newaxis, np.newaxis]
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    return Kernel(kernel.astype(np.float32), bias.astype(np.float32))


def _seeing(first: Kernel, preprocessing: Preprocessing) -> Kernel:
    """The first convolution with what is done to pixels before it taken in: values from 0 to 1, the colour, mean and spread."""
    std = np.asarray(preprocessing.std, np.float64)
    mixing = np.eye(3) if preprocessing.colour == "rgb" else np.tile(_GRAY, (3, 1))
    weight = first.weight.astype(np.float64)
    shift = -np.asarray(preprocessing.mean, np.float64) / std
    seeing = np.einsum("ochw,ci->oihw", weight, mixing / (255 * std[:, np.newaxis]))
    return Kernel(seeing.astype(np.float32), (first.bias + np.einsum("ochw,c->o", weight, shift)).astype(np.float32))
