"""Model files: safetensors, read and written as they were specified, checked before they are believed.

The format (https://huggingface.co/docs/safetensors): 8 bytes with the header's length, a JSON header with each tensor's type,
shape and place, then the tensors' bytes without gaps. What is written here is canonical (tensors by falling size of their
type, then by name; metadata by key), so that equal models are equal files. Checking needs no torch.
"""

from cloudedge.weights.checking import all_finite, check, check_layout
from cloudedge.weights.header import (
    FLOATING,
    MAX_HEADER_BYTES,
    NUMPY_TYPES,
    Header,
    TensorInfo,
    canonical_header,
    layout,
    read_header,
)
from cloudedge.weights.tensors import layout_of, load, save

__all__ = [
    "FLOATING",
    "MAX_HEADER_BYTES",
    "NUMPY_TYPES",
    "Header",
    "TensorInfo",
    "all_finite",
    "canonical_header",
    "check",
    "check_layout",
    "layout",
    "layout_of",
    "load",
    "read_header",
    "save",
]
