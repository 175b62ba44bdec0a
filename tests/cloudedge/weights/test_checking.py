import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cloudedge.errors import InvalidModel, NotFound, SpoiledModel
from cloudedge.names import sha256_of
from cloudedge.weights import TensorInfo, check, layout_of, save
from tests.cloudedge.weights.models import TYPES, a_model


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


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no model file"):
        check(tmp_path / "model", {})


def test_checking_needs_no_torch(tmp_path: Path) -> None:
    save(a_model(), tmp_path / "model")
    program = (
        "import sys; from pathlib import Path; from cloudedge.weights import check, layout\n"
        "path = Path(sys.argv[1]); check(path, layout(path)); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "model"], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
