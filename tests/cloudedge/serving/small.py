"""Small ONNX models: what they are asked for is multiplied by a factor, so that an answer tells which of them gave it."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cloudedge.deployable.session import NUMPY_TYPES
from cloudedge.documents.deployable import Datatype, Deployable, Tensor
from cloudedge.names import sha256_of

WIDTH = 4


def times(path: Path, factor: float, brand: str = "oats", threshold: float | None = None) -> Deployable:
    """A model whose 'score' is the sum of its input 'x' times a factor, and whose 'y' is each number times it."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, WIDTH])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, WIDTH])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, [None])
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["y"]),
        helper.make_node("ReduceSum", ["y", "axis"], ["score"], keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(np.array(factor, np.float32), "factor"),
        numpy_helper.from_array(np.array([1]), "axis"),
    ]
    _save(path, helper.make_graph(nodes, "times", [x], [y, score], constants))
    rows = Tensor(name="x", datatype="FP32", shape=(-1, WIDTH))
    outputs = (Tensor(name="y", datatype="FP32", shape=(-1, WIDTH)), Tensor(name="score", datatype="FP32", shape=(-1,)))
    return described(path, (rows,), outputs, brand, threshold)


def failing(path: Path, brand: str = "oats") -> Deployable:
    """A model that loads and fails on whatever it is asked: 4 numbers a row are none of 7."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, WIDTH])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 7])
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    _save(path, helper.make_graph(nodes, "failing", [x], [y], [numpy_helper.from_array(np.array([-1, 7]), "shape")]))
    inputs, outputs = ((Tensor(name=name, datatype="FP32", shape=(-1, width)),) for name, width in (("x", WIDTH), ("y", 7)))
    return described(path, inputs, outputs, brand)


def echo(path: Path, datatype: Datatype, brand: str = "echo") -> Deployable:
    """A model that gives back what it is asked, a matrix of a type."""
    element = helper.np_dtype_to_tensor_dtype(NUMPY_TYPES[datatype])
    given, back = (helper.make_tensor_value_info(name, element, [None, None]) for name in ("given", "back"))
    _save(path, helper.make_graph([helper.make_node("Identity", ["given"], ["back"])], "echo", [given], [back]))
    inputs, outputs = ((Tensor(name=name, datatype=datatype, shape=(-1, -1)),) for name in ("given", "back"))
    return described(path, inputs, outputs, brand)


def described(
    path: Path, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], brand: str, threshold: float | None = None
) -> Deployable:
    return Deployable(
        name="small",
        brand=brand,
        sha256=sha256_of(path),
        size=path.stat().st_size,
        inputs=inputs,
        outputs=outputs,
        threshold=threshold,
    )


def _save(path: Path, graph: onnx.GraphProto) -> None:
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
