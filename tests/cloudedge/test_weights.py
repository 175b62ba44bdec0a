import errno
import json
import os
import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from cloudedge.errors import InvalidModel, NotFound, SpoiledModel, StoreFailed
from cloudedge.names import sha256_of
from cloudedge.weights import MAX_HEADER_BYTES, TensorInfo, check, layout, layout_of, load, save

TYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.bool,
)


def a_model() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    return {
        "weight": torch.randn(30, 20, generator=generator),
        "bias": torch.randn(20, generator=generator),
        "half": torch.randn(5, generator=generator).half(),
        "brain": torch.randn(5, generator=generator).bfloat16(),
        "double": torch.randn(5, generator=generator).double(),
        "count": torch.tensor(3),
        "empty": torch.zeros(0, 4),
    }


def write_raw(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_a_tensor_of_every_type_comes_back_as_it_was(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    save({"tensor": tensor}, tmp_path / "model.safetensors")
    found = load(tmp_path / "model.safetensors")["tensor"]
    assert found.dtype == dtype
    assert found.tolist() == tensor.tolist()


def test_the_files_are_those_of_the_safetensors_library(tmp_path: Path) -> None:
    model = a_model()
    save(model, tmp_path / "ours", {"format": "pt"})
    theirs = safetensors.torch.load_file(tmp_path / "ours")
    assert {name: tensor.tolist() for name, tensor in theirs.items()} == {
        name: tensor.tolist() for name, tensor in model.items()
    }

    safetensors.torch.save_file(model, tmp_path / "theirs")
    assert layout(tmp_path / "theirs") == layout_of(model)
    check(tmp_path / "theirs", layout_of(model))


def test_the_same_tensors_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    model = a_model()
    save(model, tmp_path / "one", {"b": "2", "a": "1"})
    save(dict(reversed(model.items())), tmp_path / "other", {"a": "1", "b": "2"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_transposed_view_is_saved_as_it_looks(tmp_path: Path) -> None:
    tensor = torch.arange(6.0).reshape(2, 3).t()
    save({"tensor": tensor}, tmp_path / "model")
    assert load(tmp_path / "model")["tensor"].tolist() == tensor.tolist()


def test_what_is_no_model_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"pickled, perhaps")
    with pytest.raises(InvalidModel, match="model is no safetensors file"):
        load(tmp_path / "model")


def test_a_layout_names_types_and_shapes(tmp_path: Path) -> None:
    save({"weight": torch.zeros(3, 2), "count": torch.tensor(1)}, tmp_path / "model")
    assert layout(tmp_path / "model") == {"count": TensorInfo("I64", ()), "weight": TensorInfo("F32", (3, 2))}


def test_a_type_without_a_place_in_the_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="'z' of type torch.complex64"):
        save({"z": torch.zeros(2, dtype=torch.complex64)}, tmp_path / "model")


def test_a_sound_model_passes_the_check(tmp_path: Path) -> None:
    path = tmp_path / "model"
    save(a_model(), path)
    check(path, layout_of(a_model()), sha256=sha256_of(path), size=path.stat().st_size)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["weight", "half", "brain", "double"])
def test_a_value_that_is_not_finite_is_found_and_its_tensor_named(tmp_path: Path, name: str, value: float) -> None:
    model = a_model()
    model[name].view(-1)[-1] = value
    save(model, tmp_path / "model")
    with pytest.raises(InvalidModel, match=f"Tensor '{name}' of model holds NaN or infinity"):
        check(tmp_path / "model", layout_of(model))


def test_the_largest_finite_values_are_no_fault(tmp_path: Path) -> None:
    model = {str(dtype): torch.tensor([torch.finfo(dtype).max, torch.finfo(dtype).min], dtype=dtype) for dtype in TYPES[:4]}
    save(model, tmp_path / "model")
    check(tmp_path / "model", layout_of(model))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_value_beyond_what_is_allowed_is_found(tmp_path: Path, dtype: torch.dtype) -> None:
    model = {"weight": torch.tensor([0.0, -2.0, 1.0], dtype=dtype)}
    save(model, tmp_path / "model")
    check(tmp_path / "model", layout_of(model), most=2)
    with pytest.raises(SpoiledModel, match="Tensor 'weight' of model holds NaN or infinity, or numbers beyond 1.5"):
        check(tmp_path / "model", layout_of(model), most=1.5)


@pytest.mark.parametrize("shape", [[10**4000] * 2000, [1] * 1_000_000, [2**63]])
def test_a_header_whose_product_would_take_hours_is_refused_unmultiplied(tmp_path: Path, shape: list[int]) -> None:
    text = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}).encode()
    (tmp_path / "model").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    with pytest.raises(InvalidModel, match="must be lists of counts, at most 64") as refused:
        layout(tmp_path / "model")
    assert len(str(refused.value)) < 500


def test_a_header_far_longer_than_the_models_own_is_refused_unread(tmp_path: Path) -> None:
    text = b'{"w": [' + b"[]," * 700_000 + b"[]]}"
    (tmp_path / "model").write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(InvalidModel, match="at most 10[0-9]{5} are possible"):
        check(tmp_path / "model", {"w": TensorInfo("F32", (2, 2))})


def test_a_fault_beyond_the_first_chunk_is_found(tmp_path: Path) -> None:
    model = {"large": torch.zeros(1_000_000)}
    model["large"][-1] = float("nan")
    save(model, tmp_path / "model")
    with pytest.raises(InvalidModel, match="'large'"):
        check(tmp_path / "model", layout_of(model))


def test_a_changed_byte_is_found_by_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "model"
    save(a_model(), path)
    digest = sha256_of(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidModel, match=f"not {digest}: it was altered"):
        check(path, layout_of(a_model()), sha256=digest, size=len(content))


def test_another_size_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"x" * 10)
    with pytest.raises(InvalidModel, match="has 10 bytes, not 11"):
        check(tmp_path / "model", {}, size=11)


def test_every_difference_to_the_expected_model_is_named(tmp_path: Path) -> None:
    save({"a": torch.zeros(2), "b": torch.zeros(2, 3), "extra": torch.zeros(1)}, tmp_path / "model")
    like = {"a": TensorInfo("F16", (2,)), "b": TensorInfo("F32", (3, 2)), "c": TensorInfo("F32", ())}
    with pytest.raises(InvalidModel) as caught:
        check(tmp_path / "model", like)
    assert str(caught.value) == (
        "model is another model than expected: 'c' is missing; 'extra' is not part of the model; "
        "'a' is F32 (2,) instead of F16 (2,); 'b' is F32 (2, 3) instead of F32 (3, 2)."
    )


def test_a_long_list_of_differences_is_cut(tmp_path: Path) -> None:
    save({}, tmp_path / "model")
    with pytest.raises(InvalidModel, match="and 3 more"):
        check(tmp_path / "model", {f"t{i}": TensorInfo("F32", ()) for i in range(8)})


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


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no model file"):
        check(tmp_path / "model", {})


def test_a_file_that_cannot_be_read_is_the_disks_fault(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match=os.strerror(errno.EISDIR)):
        layout(tmp_path)


def test_a_disk_that_is_full_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model"
    save({"a": torch.zeros(4)}, path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreFailed, match="nothing is lost"):
            save({"a": torch.zeros(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_checking_needs_no_torch(tmp_path: Path) -> None:
    save(a_model(), tmp_path / "model")
    program = (
        "import sys; from pathlib import Path; from cloudedge.weights import check, layout\n"
        "path = Path(sys.argv[1]); check(path, layout(path)); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "model"], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
