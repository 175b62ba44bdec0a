"""Small ONNX files to test with."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from cloudedge.documents.deployable import Deployable, ImageForm, Tensor

SIZE = 32


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: dict[str, tuple[int, list[Any]]],
    initializers: Sequence[onnx.TensorProto] = (),
) -> onnx.GraphProto:
    def values(tensors: dict[str, tuple[int, list[Any]]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in tensors.items()]

    return helper.make_graph(list(nodes), "graph", values(inputs), values(outputs), list(initializers))


def model(contents: onnx.GraphProto, opset: int = 18, **more: Any) -> onnx.ModelProto:
    return helper.make_model(contents, opset_imports=[helper.make_opsetid("", opset)], ir_version=10, **more)


def doubling() -> onnx.ModelProto:
    """From x (batch, 4) to y, the same times 2."""
    two = helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])
    return model(
        graph(
            [helper.make_node("Mul", ["x", "two"], ["y"])],
            {"x": (TensorProto.FLOAT, ["batch", 4])},
            {"y": (TensorProto.FLOAT, ["batch", 4])},
            [two],
        )
    )


DOUBLING = {
    "inputs": (Tensor(name="x", datatype="FP32", shape=(-1, 4)),),
    "outputs": (Tensor(name="y", datatype="FP32", shape=(-1, 4)),),
}


def brightness() -> onnx.ModelProto:
    """An image model: its score is the mean of red, its map red, its classes the means of red and green."""
    names = ["batch", SIZE, SIZE]
    ints = {"pixels": [1, 2], "first": [0], "one": [1], "two": [2], "last": [3], "grid": [0, SIZE, SIZE]}
    constants = [helper.make_tensor(name, TensorProto.INT64, [len(value)], value) for name, value in ints.items()]
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["floats", "first", "one", "last"], ["red"]),
        helper.make_node("Reshape", ["red", "grid"], ["map"]),
        helper.make_node("ReduceMean", ["map", "pixels"], ["score"], keepdims=0),
        helper.make_node("Slice", ["floats", "first", "two", "last"], ["colours"]),
        helper.make_node("ReduceMean", ["colours", "pixels"], ["probabilities"], keepdims=0),
    ]
    outputs: dict[str, tuple[int, list[Any]]] = {
        "score": (TensorProto.FLOAT, ["batch"]),
        "map": (TensorProto.FLOAT, names),
        "probabilities": (TensorProto.FLOAT, ["batch", 2]),
    }
    return model(graph(nodes, {"image": (TensorProto.UINT8, [*names, 3])}, outputs, constants))


BRIGHTNESS: dict[str, Any] = {
    "inputs": (Tensor(name="image", datatype="UINT8", shape=(-1, SIZE, SIZE, 3)),),
    "outputs": (
        Tensor(name="score", datatype="FP32", shape=(-1,)),
        Tensor(name="map", datatype="FP32", shape=(-1, SIZE, SIZE)),
        Tensor(name="probabilities", datatype="FP32", shape=(-1, 2)),
    ),
    "image": ImageForm(height=SIZE, width=SIZE),
    "classes": ("red", "green"),
    "threshold": 100.0,
}


def stored(contents: onnx.ModelProto | bytes, path: Path, **said: Any) -> Deployable:
    """Write a file, and a manifest that is about it."""
    content = contents if isinstance(contents, bytes) else contents.SerializeToString()
    path.write_bytes(content)
    return Deployable(name="tested", sha256=hashlib.sha256(content).hexdigest(), size=len(content), **said)
