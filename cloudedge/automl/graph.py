"""A trained candidate as an ONNX graph, written node by node: no exporter, so that equal weights give equal bytes.

What is measured on a device, what is delivered and what a detector runs is this one file. Batch normalisation is taken into the
convolutions, and so is the scale of the samples. Inputs and outputs are those of `cloudedge.deployable.converting`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from cloudedge.automl.layers import Layers, layers_of
from cloudedge.documents import DataFormat, ModelSpec
from cloudedge.documents.data import SampleField
from cloudedge.documents.deployable import ImageForm, image_form
from cloudedge.errors import InvalidInput

Weights = Mapping[str, npt.NDArray[Any]]
"""Of a convnet, by the names of its state."""

_OPSET = 18
_IR_VERSION = 8
_EPSILON = 1e-5
"""Of PyTorch's batch normalisation."""

_LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in gray (ITU-R BT.601)."""

_EXACT = ("int32", "int64", "float64")
"""Types of numbers that lose where they are made float32 before their offset is taken away."""


def written(spec: ModelSpec, data: DataFormat, weights: Weights) -> bytes:
    """The file of a candidate.

    Args:
        spec: The network.
        data: Format of the samples.
        weights: What it has learned, by the names of a convnet's state.

    Returns:
        An ONNX file from stored samples (batch, *shape) to `probabilities` (batch, classes).

    Raises:
        InvalidInput: the network is none of those that are searched, or normalises by groups.
    """
    layers = layers_of(spec, data)
    if "norm_1.weight" in weights and "norm_1.running_mean" not in weights:
        raise InvalidInput("A network that normalises by groups cannot be measured. Give it the norm 'batch' or 'none'.")
    return _Graph().model(layers, data, weights)


def drawn(spec: ModelSpec, data: DataFormat, seed: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    """Weights of a candidate that has learned nothing, to measure what it costs; its signal keeps its size."""
    chance = np.random.default_rng(seed)
    found: dict[str, npt.NDArray[np.float32]] = {}

    def draw(name: str, shape: tuple[int, ...]) -> None:
        spread = np.sqrt(2 / np.prod(shape[1:]))
        found[f"{name}.weight"] = chance.normal(0, spread, shape).astype(np.float32)
        found[f"{name}.bias"] = np.zeros(shape[0], np.float32)

    layers = layers_of(spec, data)
    for number, each in enumerate(layers.convolutions, start=1):
        draw(f"convolution_{number}", (each.outputs, each.inputs, each.kernel, each.kernel))
    draw("output", (layers.classes, layers.features))
    return found


class _Graph:
    """A graph that is being written."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def model(self, layers: Layers, data: DataFormat, weights: Weights) -> bytes:
        """The whole file."""
        field, form = data.fields[0], image_form(data)
        values, scale = self._samples(field, form, layers)
        for number, each in enumerate(layers.convolutions, start=1):
            kernel, bias = _folded(weights, number)
            if number == 1:
                kernel = (kernel * scale).astype(np.float32)
            inputs = [values, self._constant(f"{number}.weight", kernel), self._constant(f"{number}.bias", bias)]
            values = self._add("Conv", inputs, f"{number}.convolved", pads=[each.kernel // 2] * 4)
            values = self._add("Relu", [values], f"{number}.rectified")
            if each.pooled:
                values = self._add("MaxPool", [values], f"{number}.pooled", kernel_shape=[2, 2], strides=[2, 2])
        if layers.grid != layers.size:
            shape = self._constant("shape", np.array([0, 0, layers.size[0] * layers.size[1]], np.int64))
            places = self._add("Reshape", [values, shape], "places")
            values = self._add("MatMul", [places, self._constant("windows", _windows(layers))], "averaged")
        values = self._add("Flatten", [values], "features")
        inputs = [
            values,
            *(self._constant(name, weights[name].astype(np.float32)) for name in ("output.weight", "output.bias")),
        ]
        values = self._add("Gemm", inputs, "logits", transB=1)
        self._add("Softmax", [values], "probabilities", axis=1)
        name, shape_in = ("image", (form.height, form.width, 3)) if form else (field.name, field.shape)
        element = helper.np_dtype_to_tensor_dtype(np.dtype(field.dtype))
        graph = helper.make_graph(
            self._nodes,
            "convnet",
            [helper.make_tensor_value_info(name, element, ["batch", *shape_in])],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", layers.classes])],
            self._constants,
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        found = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="cloudedge")
        return found.SerializeToString(deterministic=True)

    def _samples(self, field: SampleField, form: ImageForm | None, layers: Layers) -> tuple[str, float]:
        """Name of the samples as float32 (batch, channels, height, width) without their offset, and the scale that is left."""
        first = layers.convolutions[0]
        values = "image" if form else field.name
        offset = field.offset
        if field.dtype in _EXACT:
            values = self._cast(values, TensorProto.DOUBLE)
            if offset:
                values = self._add("Sub", [values, self._constant("offset", np.array(offset, np.float64))], "shifted")
            offset = 0.0
        values = self._cast(values, TensorProto.FLOAT) if field.dtype != "float32" else values
        if form and first.inputs == 3:
            values = self._add("Transpose", [values], "planes", perm=[0, 3, 1, 2])
        elif form:  # Gray of colours: one number a place, so that its order is that of planes already.
            luma = self._constant("luma", np.array(_LUMA, np.float32)[:, np.newaxis])
            values = self._add("Round", [self._add("MatMul", [values, luma], "gray")], "rounded")
        if (form and first.inputs == 1) or len(field.shape) == 2:
            shape = self._constant("planes.shape", np.array([-1, 1, first.height, first.width], np.int64))
            values = self._add("Reshape", [values, shape], "planes")
        if offset:
            values = self._add("Sub", [values, self._constant("offset", np.array(offset, np.float32))], "shifted")
        return values, field.scale

    def _cast(self, values: str, element: int) -> str:
        return self._add("Cast", [values], f"cast.{element}", to=element)

    def _constant(self, name: str, values: npt.NDArray[Any]) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output


def _folded(weights: Weights, number: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A convolution (outputs, inputs, kernel, kernel) and its bias, with the batch normalisation after it taken in."""
    kernel, bias = (weights[f"convolution_{number}.{part}"].astype(np.float64) for part in ("weight", "bias"))
    if f"norm_{number}.running_mean" in weights:
        scale, shift, mean, variance = (
            weights[f"norm_{number}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = scale / np.sqrt(variance + _EPSILON)
        kernel, bias = kernel * scale[:, np.newaxis, np.newaxis, np.newaxis], (bias - mean) * scale + shift
    return kernel.astype(np.float32), bias.astype(np.float32)


def _windows(layers: Layers) -> npt.NDArray[np.float32]:
    """Weights (places, cells) of an average over the windows of a grid, rows first: PyTorch's adaptive average."""
    rows, columns = (_cells(size, cells) for size, cells in zip(layers.size, layers.grid, strict=True))
    return np.kron(rows, columns).T.astype(np.float32)


def _cells(size: int, cells: int) -> npt.NDArray[np.float64]:
    """Weights (cells, size); a cell's window ends where the next begins, or shares with it the place that both cut."""
    found = np.zeros((cells, size))
    for cell in range(cells):
        first, end = cell * size // cells, -(-(cell + 1) * size // cells)
        found[cell, first:end] = 1 / (end - first)
    return found
