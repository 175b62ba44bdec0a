import resource
from pathlib import Path

import pytest
import safetensors.torch
import torch

from cloudedge.errors import InvalidModel, StoreFailed
from cloudedge.weights import check, layout, layout_of, load, save
from tests.cloudedge.weights.models import TYPES, a_model


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


def test_a_type_without_a_place_in_the_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="'z' of type torch.complex64"):
        save({"z": torch.zeros(2, dtype=torch.complex64)}, tmp_path / "model")


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
