"""Tensors into a model file and out of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cloudedge.errors import InvalidModel
from cloudedge.files import atomic_place
from cloudedge.weights.header import TensorInfo, canonical_header, read_header

if TYPE_CHECKING:
    import torch

_TORCH_TYPES = {
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
    "F32": "float32",
    "I32": "int32",
    "U32": "uint32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I16": "int16",
    "U16": "uint16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def save(tensors: Mapping[str, "torch.Tensor"], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as one model file: atomically, and equal tensors as equal bytes.

    Args:
        tensors: Tensors of any shape by name; other devices' are copied to the CPU.
        path: Where to; folders are made, a file that is there is replaced.
        metadata: Texts to carry along.

    Raises:
        InvalidModel: a tensor's type has no place in a model file.
        StoreFailed: the disk is full, read-only or broken; nothing was changed.
    """
    import torch

    layouts = layout_of(tensors)
    header, encoded = canonical_header(layouts, metadata or {})

    def write(file: BinaryIO) -> None:
        file.write(encoded)
        for name in header.tensors:
            values = tensors[name].detach().to("cpu").contiguous().flatten()
            file.write(values.view(torch.uint8).numpy().data)

    atomic_place(path, write)


def load(path: Path) -> dict[str, "torch.Tensor"]:
    """Read all tensors of a model file, on the CPU.

    Raises:
        InvalidModel: it is no whole safetensors file.
        NotFound: there is no such file.
        StoreFailed: it cannot be read.
    """
    from safetensors.torch import load_file

    read_header(path)
    tensors: dict[str, torch.Tensor] = load_file(path)
    return tensors


def layout_of(tensors: Mapping[str, "torch.Tensor"]) -> dict[str, TensorInfo]:
    """Type and shape of each tensor, as a model file of them would have.

    Raises:
        InvalidModel: a tensor's type has no place in a model file.
    """
    import torch

    codes = {getattr(torch, name): code for code, name in _TORCH_TYPES.items()}
    for name, tensor in tensors.items():
        if tensor.dtype not in codes:
            raise InvalidModel(
                f"Tensor {name!r} of type {tensor.dtype} has no place in a model file: convert it to one of "
                f"{', '.join(_TORCH_TYPES.values())}."
            )
    return {name: TensorInfo(codes[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()}
