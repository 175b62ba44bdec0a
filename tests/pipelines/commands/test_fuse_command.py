"""cloudedge fuse: fusion by itself, on any safetensors files."""

from pathlib import Path

import pytest
import torch

from cloudedge import weights
from cloudedge.names import sha256_of
from tests.terminal import Cloudedge


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """A base of zeros and models of ones, twos and fours."""
    paths = []
    for value in (0.0, 1.0, 2.0, 4.0):
        path = tmp_path / f"{value:g}.safetensors"
        weights.save({"layer.weight": torch.full((2, 3), value), "layer.bias": torch.full((3,), value)}, path)
        paths.append(path)
    return paths


def fused(path: Path) -> float:
    """The one number that all of a fused model is."""
    tensors = weights.load(path)
    assert {name: tensor.shape for name, tensor in tensors.items()} == {"layer.weight": (2, 3), "layer.bias": (3,)}
    (value,) = {float(number) for tensor in tensors.values() for number in tensor.flatten()}
    return value


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), 7 / 3),
        (("--weights", "1,1,2"), 11 / 4),
        (("--weights", "0,0,5"), 4.0),
        (("--rule", "given", "--weights", "2,0,0"), 1.0),
        (("--base-weight", "0.5"), 7 / 6),
        (("--base-weight", "1"), 0.0),
        (("--rule", "median"), 2.0),
        (("--rule", "uniform"), 7 / 3),
    ],
)
def test_models_become_one(
    cloudedge: Cloudedge, models: list[Path], tmp_path: Path, options: tuple[str, ...], expected: float
) -> None:
    output = tmp_path / "new" / "fused.safetensors"

    ended = cloudedge("fuse", "--base", models[0], *models[1:], "-o", output, *options)

    assert ended.code == 0
    assert f"{output}: 3 models fused in" in ended.out
    assert fused(output) == pytest.approx(expected)


def test_for_programs_it_says_what_it_did(cloudedge: Cloudedge, models: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "fused.safetensors"

    said = cloudedge("fuse", "--base", models[0], *models[1:], "-o", output, "--weights", "1,1,2", "--json").json

    assert said["sha256"] == sha256_of(output)
    assert said["size"] == output.stat().st_size
    assert said["weights"] == {str(models[1]): 0.25, str(models[2]): 0.25, str(models[3]): 0.5}
    assert said["base_weight"] == 0


def test_the_same_files_give_the_same_bytes(cloudedge: Cloudedge, models: list[Path], tmp_path: Path) -> None:
    digests = [
        cloudedge("fuse", "--base", models[0], *models[1:], "-o", tmp_path / name, "--json").json["sha256"] for name in "ab"
    ]

    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--weights", "1,2"), "--weights has 2 numbers for 3 models: give one for each, in their order."),
        (("--weights", "1,two,3"), "--weights is '1,two,3'; give numbers with commas between them"),
        (("--weights", "0,0,0"), "weight 0 for every"),
        (("--weights", "1,-1,3"), "weights.model-00002: found -1.0; give 0"),
        (("--weights", "1,nan,3"), "found nan"),
        (("--weights", "1,2,3", "--rule", "median"), "--weights belongs to the rule 'given', not to 'median'"),
        (("--base-weight", "1.5"), "--base-weight is 1.5; it is a share"),
        (("--base-weight", "nan"), "--base-weight is nan; it is a share"),
        (("--rule", "average"), "There is no fusion rule 'average'. There are: accuracy"),
        (("--rule", "NO SUCH"), "There is no fusion rule 'NO SUCH'"),
        (("--rule", "given"), "weights: missing; add it"),
        (("--rule", "samples"), "weighs by the edges' numbers of samples, which model files do not tell"),
        (("--rule", "accuracy"), "weighs by what the edges measured, which model files do not tell"),
        (("--rule", "greedy"), "tries models on held-out samples, which model files do not tell"),
    ],
)
def test_options_that_cannot_be_are_refused(
    cloudedge: Cloudedge, models: list[Path], tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    ended = cloudedge("fuse", "--base", models[0], *models[1:], "-o", tmp_path / "fused.safetensors", *options)

    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert not (tmp_path / "fused.safetensors").exists()


def test_models_that_do_not_fit_are_refused_and_named(cloudedge: Cloudedge, models: list[Path], tmp_path: Path) -> None:
    def refused(name: str, tensors: dict[str, torch.Tensor]) -> str:
        path = tmp_path / name
        weights.save(tensors, path)
        ended = cloudedge("fuse", "--base", models[0], models[1], path, "-o", tmp_path / "fused.safetensors")
        assert (ended.code, ended.out) == (2, "")
        assert name in ended.err
        assert not (tmp_path / "fused.safetensors").exists()
        return ended.err

    bias = torch.zeros(3)
    assert "layer.weight" in refused("shape", {"layer.weight": torch.zeros(3, 2), "layer.bias": bias})
    assert "layer.weight" in refused("missing", {"layer.bias": bias})
    assert "more" in refused("extra", {"layer.weight": torch.zeros(2, 3), "layer.bias": bias, "more": bias})
    assert "layer.bias" in refused("type", {"layer.weight": torch.zeros(2, 3), "layer.bias": bias.double()})
    assert "layer.bias" in refused("nan", {"layer.weight": torch.zeros(2, 3), "layer.bias": bias / 0})


def test_a_file_that_is_no_model_is_refused(cloudedge: Cloudedge, models: list[Path], tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no model")

    for base, model in ((models[0], tmp_path / "note.txt"), (tmp_path / "note.txt", models[1])):
        ended = cloudedge("fuse", "--base", base, model, "-o", tmp_path / "fused.safetensors")
        assert ended.code == 2
        assert "note.txt" in ended.err


def test_a_missing_file_ends_with_3(cloudedge: Cloudedge, models: list[Path], tmp_path: Path) -> None:
    ended = cloudedge("fuse", "--base", models[0], tmp_path / "gone", "-o", tmp_path / "fused.safetensors")

    assert (ended.code, ended.err) == (3, f"There is no file {tmp_path / 'gone'}: correct the path of the model.\n")


def test_an_output_that_cannot_be_written_ends_with_5(cloudedge: Cloudedge, models: list[Path]) -> None:
    ended = cloudedge("fuse", "--base", models[0], models[1], "-o", models[2] / "fused.safetensors")

    assert ended.code == 5
    assert ended.err.startswith("Cannot write ")
