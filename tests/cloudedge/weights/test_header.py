import errno
import json
import os
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cloudedge.errors import InvalidModel, StoreFailed
from cloudedge.weights import MAX_HEADER_BYTES, TensorInfo, layout, save


def write_raw(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_a_layout_names_types_and_shapes(tmp_path: Path) -> None:
    save({"weight": torch.zeros(3, 2), "count": torch.tensor(1)}, tmp_path / "model")
    assert layout(tmp_path / "model") == {"count": TensorInfo("I64", ()), "weight": TensorInfo("F32", (3, 2))}


@pytest.mark.parametrize("shape", [[10**4000] * 2000, [1] * 1_000_000, [2**63]])
def test_a_header_whose_product_would_take_hours_is_refused_unmultiplied(tmp_path: Path, shape: list[int]) -> None:
    text = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}).encode()
    (tmp_path / "model").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    with pytest.raises(InvalidModel, match="must be lists of counts, at most 64") as refused:
        layout(tmp_path / "model")
    assert len(str(refused.value)) < 500


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    save({"weight": torch.zeros(2, 3), "bias": torch.zeros(3)}, path)
    content = path.read_bytes()
    for kept in range(len(content)):
        path.write_bytes(content[:kept])
        with pytest.raises(InvalidModel):
            layout(path)


@given(content=st.binary(max_size=200))
def test_any_other_bytes_are_refused_and_never_break(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("noise") / "model"
    write_raw(path, content)
    with pytest.raises(InvalidModel):
        layout(path)


@pytest.mark.parametrize(
    ("header", "data", "reason"),
    [
        ([], b"", "not a JSON object"),
        ({"a": entry([1], 0, 4)}, b"12345678", "describes"),
        ({"a": entry([1], 4, 8)}, b"12345678", "begins at byte 4"),
        ({"a": entry([1], 0, 4), "b": entry([1], 2, 6)}, b"123456", "begins at byte 2"),
        ({"a": entry([2], 0, 4)}, b"1234", "takes 8 bytes"),
        ({"a": entry([-1], 0, 4)}, b"1234", "lists of counts"),
        ({"a": entry([True], 0, 4)}, b"1234", "lists of counts"),
        ({"a": entry([10**30, 10**30], 0, 4)}, b"1234", "lists of counts"),
        ({"a": entry([1], 0, 4, "F8_E4M3")}, b"1234", "of type 'F8_E4M3'; understood are F64"),
        ({"a": {"dtype": "F32", "shape": [1]}}, b"1234", "not made of dtype"),
        ({"a": 3}, b"", "not made of dtype"),
        ({"__metadata__": {"a": 1}}, b"", "metadata are not texts"),
        (b'{"a": 1, "a": 2}', b"", "a name twice"),
        (b"[" * 100_000, b"", "no whole safetensors file"),
        (b'{"a": ' + b"9" * 5000 + b"}", b"", "no whole safetensors file"),
        (b"\xff\xfe{}", b"", "no whole safetensors file"),
        (rb'{"\ud800": {"dtype": "F32", "shape": [], "data_offsets": [0, 0]}}', b"", "surrogates not allowed"),
        (rb'{"__metadata__": {"a": "\ud800"}}', b"", "surrogates not allowed"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, header: object, data: bytes, reason: str) -> None:
    path = write_raw(tmp_path / "model", header, data)
    with pytest.raises(InvalidModel, match=reason):
        layout(path)


def test_a_header_that_announces_too_much_is_never_read(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", MAX_HEADER_BYTES + 1))
        file.truncate(MAX_HEADER_BYTES * 2)
    with pytest.raises(InvalidModel, match=f"announces a header of {MAX_HEADER_BYTES + 1} bytes"):
        layout(path)


def test_a_file_that_cannot_be_read_is_the_disks_fault(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match=os.strerror(errno.EISDIR)):
        layout(tmp_path)
