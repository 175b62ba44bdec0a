"""ONNX models for the benchmark of serving: EfficientNet-Lite0 without its head, of random weights, and next to nothing.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019; what Lite leaves out of it:
https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from cloudedge.documents.deployable import Deployable, ImageForm, Tensor
from cloudedge.names import sha256_of

SIDE = 128
"""Pixels of the image."""

SMALL_WIDTH = 16

_BLOCKS = (
    (16, 3, 1, 1, 1),
    (24, 3, 2, 2, 6),
    (40, 5, 2, 2, 6),
    (80, 3, 2, 3, 6),
    (112, 5, 1, 3, 6),
    (192, 5, 2, 4, 6),
    (320, 3, 1, 1, 6),
)
"""Channels, kernel, stride, repeats and expansion."""


def write_image_model(path: Path, seed: int, brand: str) -> Deployable:
    """A network of 3.4 million parameters, uint8 images to one score each."""
    network = _Network(seed)
    network.convolve(32, 3, 2)
    for channels, kernel, stride, repeats, expansion in _BLOCKS:
        for repeat in range(repeats):
            before, source = network.channels, network.last
            if expansion > 1:
                network.convolve(before * expansion, 1, 1)
            network.convolve(network.channels, kernel, 1 if repeat else stride, apart=True)
            network.convolve(channels, 1, 1, bounded=False)
            if repeat:
                network.add("Add", source)
    network.convolve(1280, 1, 1)
    network.add("GlobalAveragePool")
    network.add("Flatten")
    network.add("MatMul", network.constant(network.random.normal(0, 0.1, (1280, 1))))
    network.nodes.append(helper.make_node("Squeeze", [network.last, network.constant(np.array([1]))], ["score"]))
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [None, SIDE, SIDE, 3])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, [None])
    _save(path, helper.make_graph(network.nodes, "lite0", [image], [score], network.constants))
    return Deployable(
        name="lite0",
        brand=brand,
        sha256=sha256_of(path),
        size=path.stat().st_size,
        inputs=(Tensor(name="image", datatype="UINT8", shape=(-1, SIDE, SIDE, 3)),),
        outputs=(Tensor(name="score", datatype="FP32", shape=(-1,)),),
        image=ImageForm(height=SIDE, width=SIDE),
        threshold=0.0,
    )


def write_small_model(path: Path) -> Deployable:
    """Doubles 16 numbers: what a request takes besides the model's own work."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, SMALL_WIDTH]) for name in ("x", "y"))
    _save(path, helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "small", [x], [y]))
    inputs, outputs = ((Tensor(name=name, datatype="FP32", shape=(-1, SMALL_WIDTH)),) for name in ("x", "y"))
    return Deployable(name="small", sha256=sha256_of(path), size=path.stat().st_size, inputs=inputs, outputs=outputs)


class _Network:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.constants: list[TensorProto] = []
        self.nodes: list[NodeProto] = [
            helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        ]
        self.last, self.channels = "planes", 3
        self.add("Mul", self.constant(np.array(1 / 64)))
        self._bounds = self.constant(np.array(0.0)), self.constant(np.array(6.0))

    def constant(self, values: npt.NDArray[Any]) -> str:
        name = f"constant{len(self.constants)}"
        kind = np.int64 if values.dtype.kind == "i" else np.float32
        self.constants.append(numpy_helper.from_array(values.astype(kind), name))
        return name

    def add(self, operator: str, *others: str, **attributes: Any) -> None:
        name = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [self.last, *others], [name], **attributes))
        self.last = name

    def convolve(self, channels: int, kernel: int, stride: int, *, apart: bool = False, bounded: bool = True) -> None:
        groups = self.channels if apart else 1
        shape = (channels, self.channels // groups, kernel, kernel)
        weights = self.random.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        pads = [kernel // 2] * 4
        self.add(
            "Conv", self.constant(weights), group=groups, kernel_shape=[kernel, kernel], pads=pads, strides=[stride, stride]
        )
        scale, shift, mean, variance = (
            self.constant(self.random.normal(middle, 0.05, channels)) for middle in (1.0, 0.0, 0.0, 1.0)
        )
        self.add("BatchNormalization", scale, shift, mean, variance)
        if bounded:
            self.add("Clip", *self._bounds)
        self.channels = channels


def _save(path: Path, graph: onnx.GraphProto) -> None:
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
