"""The graphs of inspection: one that gives features to learn from, and the one that is deployed, which begins with the same."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloudedge.deployable.runtime import onnxruntime
from cloudedge.documents.deployable import ImageForm
from cloudedge.documents.inspection import Preprocessing
from cloudedge.inspection.anomaly import Features, Normal, counted, directions_in
from cloudedge.inspection.architecture import STAGES, channels, features_after
from cloudedge.inspection.graph import Graph, Weights, grid
from cloudedge.inspection.images import Pixels

_AT_ONCE = 8
"""Images a run."""


@dataclass(frozen=True)
class Naming:
    """What names defects: classes from pooled features, by weights of shape (classes, features) and as many biases.

    The features are those of the places, each counting by its distance from what is normal, and where `deep` also the averages
    of the backbone's last stage.
    """

    weights: npt.NDArray[np.float32]
    biases: npt.NDArray[np.float32]
    deep: bool


@dataclass(frozen=True)
class Trunk:
    """What all graphs of a training begin with.

    Attributes:
        form: Of the images.
        preprocessing: Of their pixels.
        weights: The backbone's.
        stages: Whose features are used; 0 is the stem.
    """

    form: ImageForm
    preprocessing: Preprocessing
    weights: Weights
    stages: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of features."""
        return (sum(channels(stage) for stage in self.stages), *grid(self.form))

    @property
    def groups(self) -> list[slice]:
        """Channels of the features of about the same size: those of two stages after one another."""
        found: dict[int, slice] = {}
        done = 0
        for stage in self.stages:
            group, end = stage // 2, done + channels(stage)
            found[group] = slice(found[group].start if group in found else done, end)
            done = end
        return list(found.values())

    def begun(self, *, deep: bool) -> tuple[Graph, Mapping[int, str]]:
        """A graph up to the features, with their names by stage; the last stage's are among them where `deep`."""
        graph = Graph(self.form)
        last = features_after(STAGES) if deep else max(map(features_after, self.stages))
        return graph, graph.backbone(self.weights, last, self.preprocessing)


class Extractor:
    """Computes features by the very nodes that the deployed model begins with."""

    def __init__(self, trunk: Trunk, threads: int, *, deep: bool = False) -> None:
        """Load the graph.

        Args:
            trunk: What it is made of.
            threads: CPU threads.
            deep: Whether the averages of the backbone's last stage are computed, too.
        """
        graph, found = trunk.begun(deep=deep)
        outputs = {graph.on_grid(found, trunk.stages): list(trunk.shape)}
        if deep:
            graph.add("GlobalAveragePool", [found[STAGES]], "averages.4")
            graph.add("Flatten", ["averages.4"], "averages")
            outputs["averages"] = [channels(STAGES)]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._outputs = list(outputs)
        self._session = onnxruntime.InferenceSession(
            graph.model(outputs), options, providers=["CPUExecutionProvider"], disabled_optimizers=["ConstantFolding"]
        )

    def features(self, images: npt.NDArray[np.uint8]) -> Features:
        """Features of images (n, height, width, 3)."""
        return self._all(images)[0]

    def averages(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Averages of the last stage, of shape (n, 320)."""
        return self._all(images)[1]

    def _all(self, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        runs = [
            self._session.run(self._outputs, {"image": images[begin : begin + _AT_ONCE]})
            for begin in range(0, len(images), _AT_ONCE)
        ]
        return [np.concatenate(parts) for parts in zip(*runs, strict=True)]


def whole(trunk: Trunk, normal: Normal, naming: Naming | None) -> bytes:
    """The ONNX file that is deployed.

    Args:
        trunk: What it begins with.
        normal: What is normal.
        naming: What names defects, if anything does.
    """
    graph, found = trunk.begun(deep=naming is not None and naming.deep)
    rows, columns = grid(trunk.form)
    directions = len(normal.projection)
    # (features - mean) projected is what comes of the features less what comes of the mean.
    offset = np.einsum("dc,crk->drk", normal.projection.astype(np.float64), normal.mean.astype(np.float64))
    graph.constant("offset", offset.astype(np.float32)[np.newaxis])
    graph.add("Sub", [_projected(graph, trunk, found, normal), "offset"], "moved")
    if normal.bank is None:
        graph.add("Mul", ["moved", "moved"], "squares")
        graph.constant("channels", [1])
        graph.add("ReduceSum", ["squares", "channels"], "distances", keepdims=1)
    else:
        _nearest(graph, normal.bank, rows, columns, directions)
    _judged(graph, rows, columns)
    outputs: dict[str, list[int]] = {"score": [], "map": [trunk.form.height, trunk.form.width]}
    if naming is not None:
        _named(graph, naming, graph.on_grid(found, trunk.stages), found.get(STAGES, ""), rows * columns)
        outputs["probabilities"] = [len(naming.biases)]
    return graph.model(outputs)


def _projected(graph: Graph, trunk: Trunk, found: Mapping[int, str], normal: Normal) -> str:
    """Features in the directions of each group, (batch, directions, rows, columns): a group's stages one by one, added up."""
    numbers, groups = directions_in(trunk.groups), trunk.groups
    sums: dict[int, str] = {}
    done = 0
    for stage in trunk.stages:
        (group,) = (number for number, each in enumerate(groups) if each.start <= done < each.stop)
        weight = normal.projection[numbers == group, done : done + channels(stage)]
        own = graph.projected(found[stage], stage, weight)
        sums[group] = graph.add("Add", [sums[group], own], f"projected.sum.{stage}") if group in sums else own
        done += channels(stage)
    return graph.add("Concat", [*sums.values()], "projected", axis=1)


def _nearest(graph: Graph, bank: npt.NDArray[np.float32], rows: int, columns: int, directions: int) -> None:
    """Squared distance to the nearest patch of the bank: |x|^2 + min(|b|^2 - 2 x b)."""
    graph.constant("patches", np.ascontiguousarray(-2 * bank.T))
    graph.constant("lengths", np.square(bank.astype(np.float64)).sum(1).astype(np.float32))
    graph.constant("flat", [0, directions, rows * columns])
    graph.constant("last", [2])
    graph.add("Reshape", ["moved", "flat"], "moved.flat")
    graph.add("Transpose", ["moved.flat"], "places", perm=[0, 2, 1])
    graph.add("MatMul", ["places", "patches"], "products")
    graph.add("Add", ["products", "lengths"], "compared")
    graph.add("ReduceMin", ["compared", "last"], "nearest", keepdims=1)
    graph.add("Mul", ["places", "places"], "places.squares")
    graph.add("ReduceSum", ["places.squares", "last"], "own", keepdims=1)
    graph.add("Add", ["nearest", "own"], "distances.raw")
    graph.add("Relu", ["distances.raw"], "distances.flat")
    graph.constant("square", [0, 1, rows, columns])
    graph.add("Reshape", ["distances.flat", "square"], "distances")


def _judged(graph: Graph, rows: int, columns: int) -> None:
    """Score and map from the distances (batch, 1, rows, columns)."""
    graph.constant("count", [counted(rows * columns)])
    graph.constant("row", [1])
    graph.add("Flatten", ["distances"], "all")
    graph.add_several("TopK", ["all", "count"], ["largest", "where"], axis=1)
    graph.add("ReduceMean", ["largest", "row"], "score", keepdims=0)
    # What is seen from a place reaches beyond it.
    reach = max(1, round(min(rows, columns) / 16))
    side = 2 * reach + 1
    graph.add("AveragePool", ["distances"], "smoothed", kernel_shape=[side, side], pads=[reach] * 4, count_include_pad=0)
    graph.resized("smoothed", (graph.form.height, graph.form.width), "map.4")
    graph.add("Squeeze", ["map.4", graph.constant("channel", [1])], "map")


def _named(graph: Graph, naming: Naming, features: str, last: str, places: int) -> None:
    """Probabilities of classes."""
    graph.add("ReduceSum", ["all", "row"], "total", keepdims=1)
    graph.add("Max", ["total", graph.constant("least", np.array([1e-12], np.float32))], "total.least")
    graph.add("Div", ["all", "total.least"], "shares")
    graph.add("Reshape", ["shares", graph.constant("column", [0, places, 1])], "shares.column")
    graph.add(
        "Reshape", [features, graph.constant("features.flat.shape", [0, naming_channels(naming), places])], "features.flat"
    )
    graph.add("MatMul", ["features.flat", "shares.column"], "pooled.column")
    pooled = graph.add("Flatten", ["pooled.column"], "pooled")
    if naming.deep:
        graph.add("GlobalAveragePool", [last], "averages.4")
        graph.add("Flatten", ["averages.4"], "averages")
        pooled = graph.add("Concat", ["pooled", "averages"], "pooled.all", axis=1)
    graph.constant("naming", np.ascontiguousarray(naming.weights.T))
    graph.constant("biases", naming.biases)
    graph.add("Gemm", [pooled, "naming", "biases"], "logits")
    graph.add("Softmax", ["logits"], "probabilities", axis=1)


def naming_channels(naming: Naming) -> int:
    """Channels of the places' features that names are told by."""
    return int(naming.weights.shape[1]) - (channels(STAGES) if naming.deep else 0)


def pooled(features: Features, distances: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Features that defects are named by, of shape (images, channels): each place counts by its distance."""
    flat = distances.reshape(len(distances), -1)
    shares = flat / np.maximum(flat.sum(1, keepdims=True), 1e-12)
    found: npt.NDArray[np.float32] = np.einsum("ncp,np->nc", features.reshape(*features.shape[:2], -1), shares)
    return found


def stacked(images: list[Pixels]) -> npt.NDArray[np.uint8]:
    """Prepared images as one array (n, height, width, 3)."""
    return np.stack(images)
