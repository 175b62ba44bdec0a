"""A model of collaborative training as it is deployed: one ONNX file that takes samples as they are stored.

Offsets and scales of the data format are in the graph, and so is the softmax: `probabilities` come out of what a sensor gives.
The file is compared with the network before it is believed.
"""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from cloudedge import __version__, weights
from cloudedge.deployable.checking import described
from cloudedge.deployable.runtime import onnxruntime
from cloudedge.deployable.session import NUMPY_TYPES
from cloudedge.documents import DataFormat, ModelSpec
from cloudedge.documents.data import SampleField
from cloudedge.documents.deployable import MAX_DEPLOYABLE_BYTES, Datatype, Deployable, ImageForm, Lineage, image_form
from cloudedge.errors import InvalidModel
from cloudedge.files import atomic_write
from cloudedge.models import build
from cloudedge.names import sha256_of

_OPSET = 18

_DATATYPES: dict[str, Datatype] = {
    "uint8": "UINT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float32": "FP32",
    "float64": "FP64",
}
"""The Open Inference Protocol's words for the types of data formats."""

_LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in gray."""

_TOLERANCE = 1e-3
"""Largest difference of a probability between the network and the file."""

_COMPARED = 4
"""Random samples that they are compared on."""


def convert(spec: ModelSpec, data: DataFormat, model: Path, path: Path, name: str, lineage: Lineage) -> Deployable:
    """Write a trained model as an ONNX file.

    Its inputs have the names of the format's fields, their stored types and their shapes behind the batch; its output is
    `probabilities` (batch, classes). Where the one field is an image of 8-bit RGB or gray, the input is `image` (batch, height,
    width, 3), so that a detector can judge by it; colours become gray in the graph where the samples are.

    Args:
        spec: The architecture.
        data: Format of the samples.
        model: The trained weights, a safetensors file.
        path: Where to.
        name: Name of the registered model.
        lineage: Where the model comes from; the software is filled in.

    Returns:
        The file's manifest.

    Raises:
        InvalidModel: the weights are not the architecture's, or the network cannot be one ONNX file; says why.
        InvalidInput: the architecture cannot be built.
        NotFound: there is no file of weights.
        StoreFailed: it cannot be read, or the disk refuses.
    """
    network = build(spec, data, 0)
    weights.check(model, weights.layout_of(network.state_dict()))
    network.load_state_dict(weights.load(model))
    form = image_form(data)
    deployed = _Deployed(network, data, image=form is not None).eval()
    names = ["image"] if form is not None else [field.name for field in data.fields]
    content = _exported(deployed, data, form, names, spec)
    atomic_write(path, content)
    inputs, outputs = described(path)
    _compare(content, deployed, _samples(data, form, _COMPARED), names, spec)
    return Deployable(
        name=name,
        sha256=sha256_of(path),
        size=len(content),
        inputs=inputs,
        outputs=outputs,
        image=form,
        classes=data.classes,
        lineage=lineage.model_copy(update={"software": __version__}),
    )


class _Deployed(nn.Module):
    """A network with what comes before and after it."""

    def __init__(self, network: nn.Module, data: DataFormat, *, image: bool) -> None:
        super().__init__()
        self._network, self._fields, self._image = network, data.fields, image
        self._shape = data.input_shape

    def forward(self, *inputs: Tensor) -> Tensor:
        """Probabilities [n, classes] from the fields' stored values [n, *shape]."""
        parts = []
        for field, values in zip(self._fields, inputs, strict=True):
            planes = _planes(values, field.shape[0]) if self._image else values
            # Numbers far from 0 keep their spread: the offset is subtracted before they are made short.
            exact = planes.to(torch.float64) if field.dtype in ("int32", "int64", "float64") else planes.to(torch.float32)
            parts.append(((exact - field.offset) * field.scale).to(torch.float32))
        joined = parts[0] if len(parts) == 1 else torch.cat([part.flatten(1) for part in parts], 1)
        return torch.softmax(self._network(joined.reshape(-1, *self._shape)), 1)


def _planes(image: Tensor, channels: int) -> Tensor:
    """Images [n, height, width, 3] as samples have them [n, channels, height, width]: colours, or gray by ITU-R BT.601."""
    colours = image.permute(0, 3, 1, 2)
    if channels == 3:
        return colours
    parts = colours.to(torch.float32) * torch.tensor(_LUMA)[:, None, None]
    return parts.sum(1, keepdim=True).round()


def _samples(data: DataFormat, form: ImageForm | None, count: int) -> list[Tensor]:
    """Random samples as they are stored, of values that a model may have been trained on."""
    chance = np.random.default_rng(0)
    return [torch.from_numpy(_values(field, form, count, chance)) for field in data.fields]


def _values(field: SampleField, form: ImageForm | None, count: int, chance: np.random.Generator) -> np.ndarray:
    shape = (count, form.height, form.width, 3) if form else (count, *(field.shape or (1,)))
    if field.dtype == "uint8":
        return chance.integers(0, 256, shape, dtype=np.uint8)
    wanted = chance.normal(size=shape) / field.scale + field.offset
    dtype = NUMPY_TYPES[_DATATYPES[field.dtype]]
    if field.dtype.startswith("int"):
        limits = np.iinfo(dtype)
        wanted = np.clip(np.rint(wanted), limits.min / 2, limits.max / 2)
    return wanted.astype(dtype)


def _exported(deployed: nn.Module, data: DataFormat, form: ImageForm | None, names: list[str], spec: ModelSpec) -> bytes:
    """The file's content.

    Raises:
        InvalidModel: it cannot be one; says why.
    """
    try:
        with _quiet():
            program = torch.onnx.export(
                deployed,
                tuple(_samples(data, form, 2)),
                input_names=names,
                output_names=["probabilities"],
                opset_version=_OPSET,
                dynamo=True,
                dynamic_shapes=(tuple({0: torch.export.Dim.DYNAMIC} for _ in names),),
                verbose=False,
            )
            if program is None:
                raise TypeError("PyTorch's exporter gave nothing")
            found = program.model_proto
    except Exception as error:  # A user's own code may raise anything, and so may what cannot be exported.
        raise InvalidModel(
            f"The architecture {spec.architecture!r} cannot be one ONNX file: {type(error).__name__}: {_first_line(error)}. "
            "Use operations in it that ONNX has, and no Python that depends on the values."
        ) from error
    return _plain(found, spec)


def _plain(model: onnx.ModelProto, spec: ModelSpec) -> bytes:
    """The file without what only says where each node comes from: equal models are equal files."""
    del model.metadata_props[:]
    model.producer_name, model.producer_version, model.doc_string = "cloudedge", "", ""
    model.graph.name, model.graph.doc_string = spec.architecture, ""
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for tensor in model.graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        value.doc_string = ""
        del value.metadata_props[:]
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    size = model.ByteSize()
    if size > MAX_DEPLOYABLE_BYTES:
        raise InvalidModel(
            f"As one ONNX file the model has {size} bytes; at most {MAX_DEPLOYABLE_BYTES} can be deployed. Use a smaller one."
        )
    return model.SerializeToString(deterministic=True)


def _compare(content: bytes, deployed: nn.Module, samples: list[Tensor], names: list[str], spec: ModelSpec) -> None:
    """Make sure that the file computes what the network does.

    Raises:
        InvalidModel: it does not.
    """
    with torch.no_grad():
        wanted = deployed(*samples).numpy()
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {name: values.numpy() for name, values in zip(names, samples, strict=True)})
    except Exception as error:  # It raises many kinds, all of its own.
        raise InvalidModel(
            f"The architecture {spec.architecture!r} gives an ONNX file that cannot be run: {_first_line(error)}. Use other "
            "operations in it."
        ) from error
    difference = float(np.abs(found - wanted).max()) if found.shape == wanted.shape else math.inf
    if not difference <= _TOLERANCE:
        raise InvalidModel(
            f"The architecture {spec.architecture!r} gives other probabilities as an ONNX file, by up to {difference:g}. Have "
            "it behave the same in each run, whatever the batch."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says to its developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:500].rstrip(".") if str(error).strip() else "it says nothing more"
