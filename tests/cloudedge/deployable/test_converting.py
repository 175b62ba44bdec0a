"""Models of collaborative training as they are deployed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cloudedge import weights
from cloudedge.deployable.checking import check
from cloudedge.deployable.converting import convert
from cloudedge.deployable.session import Session, judge
from cloudedge.documents import DataFormat, ModelSpec
from cloudedge.documents.data import SampleField
from cloudedge.documents.deployable import Deployable, Lineage
from cloudedge.errors import InvalidModel
from cloudedge.models import build, registry

TABLE = DataFormat(
    storage="csv",
    fields=(
        SampleField(name="temperature", offset=1e9, scale=0.1, dtype="float64"),
        SampleField(name="speeds", shape=(3,), dtype="int16", scale=0.01),
    ),
    classes=("good", "bad", "worse"),
)
GRAY = DataFormat(
    storage="npz",
    fields=(SampleField(name="pixels", shape=(1, 12, 10), dtype="uint8", scale=1 / 255, offset=10),),
    classes=("a", "b"),
)
RGB = DataFormat(
    storage="image-folder",
    fields=(SampleField(name="picture", shape=(3, 32, 40), dtype="uint8", scale=1 / 255),),
    classes=("cat", "dog"),
)


def converted(folder: Path, spec: ModelSpec, data: DataFormat) -> tuple[Session, Deployable, nn.Module]:
    torch.manual_seed(1)
    network = build(spec, data, 3).eval()
    for values in network.state_dict().values():
        if values.is_floating_point():
            values.add_(torch.randn_like(values).abs() * 0.05)
    weights.save(network.state_dict(), folder / "model.safetensors")
    path = folder / "model.onnx"
    deployable = convert(spec, data, folder / "model.safetensors", path, "tested", Lineage(run="run-1"))
    check(path, deployable)
    return Session(path, deployable), deployable, network


@pytest.mark.parametrize(
    ("spec", "data"),
    [
        (ModelSpec(architecture="mlp", parameters={"width": 8}), TABLE),
        (ModelSpec(architecture="convnet"), GRAY),
        (ModelSpec(architecture="vgg", parameters={"depth": 11, "width_factor": 0.05}), RGB),
        (ModelSpec(architecture="vgg", parameters={"depth": 11, "width_factor": 0.05, "norm": "batch"}), GRAY),
    ],
)
def test_a_model_gives_the_probabilities_that_its_network_gives(tmp_path: Path, spec: ModelSpec, data: DataFormat) -> None:
    session, deployable, network = converted(tmp_path, spec, data)
    for batch in (1, 5):
        compare(session, deployable, network, data, batch)


def compare(session: Session, deployable: Deployable, network: nn.Module, data: DataFormat, batch: int) -> None:
    chance = np.random.default_rng(2)
    stored = {}
    for field in data.fields:
        shape = (batch, *(field.shape or (1,)))
        kind = np.dtype(field.dtype)
        stored[field.name] = (
            chance.integers(0, 256, shape).astype(kind)
            if kind.kind in "iu"
            else chance.normal(field.offset, 10, shape).astype(kind)
        )
    scaled = [
        torch.from_numpy(((stored[field.name].astype(np.float64) - field.offset) * field.scale).astype(np.float32))
        for field in data.fields
    ]
    joined = scaled[0] if len(scaled) == 1 else torch.cat([part.flatten(1) for part in scaled], 1)
    with torch.no_grad():
        wanted = torch.softmax(network(joined.reshape(-1, *data.input_shape)), 1).numpy()
    given = stored
    if deployable.image:  # RGB, whatever the samples are; equal red, green and blue are that gray.
        (samples,) = stored.values()
        given = {"image": np.moveaxis(np.repeat(samples, 3 // data.input_shape[0], 1), 1, -1)}
    found = session.infer({name: np.ascontiguousarray(values) for name, values in given.items()})["probabilities"]
    assert np.allclose(found, wanted, atol=1e-5)
    assert deployable.classes == data.classes
    assert deployable.threshold is None


def test_equal_models_are_equal_files(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        converted(folder, ModelSpec(architecture="mlp"), TABLE)
    first, second = ((folder / "model.onnx").read_bytes() for folder in folders)
    assert first == second


def test_a_classifier_of_colour_images_judges_at_a_detector(tmp_path: Path) -> None:
    session, deployable, _ = converted(tmp_path, ModelSpec(architecture="convnet"), RGB)
    assert deployable.image is not None
    assert (deployable.image.height, deployable.image.width) == (32, 40)
    found = judge(session, np.full((100, 90, 3), 128, np.uint8))
    assert found.defect in RGB.classes
    assert (found.score, found.reject) == (None, False)


def test_a_classifier_of_gray_images_judges_colours_by_their_brightness(tmp_path: Path) -> None:
    session, deployable, network = converted(tmp_path, ModelSpec(architecture="convnet"), GRAY)
    assert deployable.image is not None
    colours = np.random.default_rng(3).integers(0, 256, (12, 10, 3), np.uint8)
    gray = np.asarray(Image.fromarray(colours).convert("L"))  # Another's arithmetic, which rounds otherwise now and then.
    with torch.no_grad():
        wanted = torch.softmax(network((torch.from_numpy(gray.astype(np.float32))[None, None] - 10) / 255), 1).numpy()
    assert np.allclose(session.infer({"image": colours[None]})["probabilities"], wanted, atol=0.02)
    assert judge(session, np.full((100, 90, 3), 128, np.uint8)).defect in GRAY.classes


class _Moody(nn.Module):
    """Does something else with each batch that Python sees."""

    def __init__(self, *_: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(inputs)
        return logits * 2 if float(inputs.sum().item()) > 0 else logits


def test_an_architecture_that_cannot_be_one_file_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._BUILTIN, "moody", _Moody)
    with pytest.raises(InvalidModel, match="The architecture 'moody' cannot be one ONNX file"):
        converted(tmp_path, ModelSpec(architecture="moody"), TABLE)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    weights.save(build(ModelSpec(architecture="mlp"), TABLE, 0).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(InvalidModel, match="is another model than expected"):
        convert(
            ModelSpec(architecture="mlp", parameters={"width": 9}),
            TABLE,
            tmp_path / "model.safetensors",
            tmp_path / "model.onnx",
            "tested",
            Lineage(),
        )
