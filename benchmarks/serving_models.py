"""ONNX models for the benchmark of serving: inspection's backbone with a score, of random weights, and next to nothing."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from cloudedge.documents.deployable import Deployable, ImageForm, Tensor
from cloudedge.documents.inspection import Preprocessing
from cloudedge.inspection.architecture import STAGES, channels, features_after
from cloudedge.inspection.graph import Graph
from cloudedge.names import sha256_of

SIDE = 128
"""Pixels of the image."""

SMALL_WIDTH = 16


def write_image_model(path: Path, seed: int, brand: str) -> Deployable:
    """EfficientNet-Lite0 without its head: uint8 images to one score each."""
    form, chance = ImageForm(height=SIDE, width=SIDE), np.random.default_rng(seed)
    graph = Graph(form)
    last = graph.backbone(_weights(chance), features_after(STAGES), Preprocessing())[STAGES]
    graph.add("GlobalAveragePool", [last], "averages.4")
    graph.add("Flatten", ["averages.4"], "averages")
    graph.constant("head", chance.normal(0, 0.1, (channels(STAGES), 1)).astype(np.float32))
    graph.add("MatMul", ["averages", "head"], "column")
    graph.add("Squeeze", ["column", graph.constant("axis", [1])], "score")
    path.write_bytes(graph.model({"score": []}))
    return Deployable(
        name="lite0",
        brand=brand,
        sha256=sha256_of(path),
        size=path.stat().st_size,
        inputs=(Tensor(name="image", datatype="UINT8", shape=(-1, SIDE, SIDE, 3)),),
        outputs=(Tensor(name="score", datatype="FP32", shape=(-1,)),),
        image=form,
        threshold=0.0,
    )


def _weights(chance: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
    from cloudedge.inspection.backbone import layout  # Torch, which the process of the line has no need of.

    found = {}
    for name, tensor in layout().items():
        middle = 1.0 if name.endswith(("running_var", ".weight")) and len(tensor.shape) == 1 else 0.0
        spread = (2 / np.prod(tensor.shape[1:])) ** 0.5 if len(tensor.shape) == 4 else 0.05
        found[name] = chance.normal(middle, spread, tensor.shape).astype(np.float32)
    return found


def write_small_model(path: Path) -> Deployable:
    """Doubles 16 numbers: what a request takes besides the model's own work."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, SMALL_WIDTH]) for name in ("x", "y"))
    _save(path, helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "small", [x], [y]))
    inputs, outputs = ((Tensor(name=name, datatype="FP32", shape=(-1, SMALL_WIDTH)),) for name in ("x", "y"))
    return Deployable(name="small", sha256=sha256_of(path), size=path.stat().st_size, inputs=inputs, outputs=outputs)


def _save(path: Path, graph: onnx.GraphProto) -> None:
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
