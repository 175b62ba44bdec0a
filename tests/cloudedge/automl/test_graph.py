"""The file of a candidate."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from cloudedge.automl import costs, graph
from cloudedge.automl.layers import layers_of
from cloudedge.deployable.checking import described
from cloudedge.deployable.converting import _Deployed
from cloudedge.documents import DataFormat, ModelSpec
from cloudedge.documents.data import SampleField
from cloudedge.documents.deployable import image_form
from cloudedge.errors import InvalidInput
from cloudedge.models import build


def a_format(shape: tuple[int, ...], dtype: str = "uint8", scale: float = 1 / 255, offset: float = 0.0) -> DataFormat:
    field = SampleField.model_validate({"name": "dial", "shape": shape, "dtype": dtype, "scale": scale, "offset": offset})
    return DataFormat(storage="npz", fields=(field,), classes=("zero", "one", "two"))


def a_spec(channels: list[int], kernel: int = 3, norm: str = "batch") -> ModelSpec:
    return ModelSpec(architecture="convnet", parameters={"channels": channels, "kernel": kernel, "norm": norm})


def a_trained(spec: ModelSpec, data: DataFormat) -> torch.nn.Module:
    network = build(spec, data, 3).eval()
    torch.manual_seed(1)
    for values in network.state_dict().values():
        if values.is_floating_point():
            values.add_(torch.randn_like(values).abs() * 0.05)
    return network


def as_arrays(network: torch.nn.Module) -> dict[str, Any]:
    return {name: values.numpy() for name, values in network.state_dict().items()}


def run(content: bytes, samples: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found: np.ndarray
    (found,) = session.run(None, {session.get_inputs()[0].name: samples})
    return found


NETWORKS = [
    (a_spec([4, 8], 3), a_format((1, 28, 28))),
    (a_spec([16, 16, 16], 5), a_format((3, 32, 24), offset=12)),
    (a_spec([8], 7, "none"), a_format((9, 13), "float32", 1.0)),
    (a_spec([8, 8, 8, 8, 8], 1), a_format((2, 8, 8), "float64", 0.1, 1e9)),
    (a_spec([16, 32, 64], 3), a_format((1, 65, 40), "int16", 0.01, -5)),
    (a_spec([4, 4, 4, 4, 4, 4], 3), a_format((1, 1, 9))),
]


@pytest.mark.parametrize(("spec", "data"), NETWORKS)
def test_the_file_says_what_the_trained_network_says_of_stored_samples(spec: ModelSpec, data: DataFormat) -> None:
    network = a_trained(spec, data)
    chance = np.random.default_rng(0)
    field, form = data.fields[0], image_form(data)
    shape = (5, form.height, form.width, 3) if form else (5, *field.shape)
    samples = (
        chance.integers(0, 256, shape).astype(np.uint8)
        if field.dtype == "uint8"
        else (chance.normal(size=shape) / field.scale + field.offset).astype(field.dtype)
    )
    with torch.no_grad():
        wanted = _Deployed(network, data, image=form is not None)(torch.from_numpy(samples)).numpy()
    content = graph.written(spec, data, as_arrays(network))
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    assert run(content, samples) == pytest.approx(wanted, abs=2e-4)
    assert run(content, samples[:1]) == pytest.approx(wanted[:1], abs=2e-4)


def test_the_file_is_one_that_may_be_deployed_and_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    spec, data = NETWORKS[0]
    weights = as_arrays(a_trained(spec, data))
    content = graph.written(spec, data, weights)
    (tmp_path / "model.onnx").write_bytes(content)
    inputs, outputs = described(tmp_path / "model.onnx")
    assert [(each.name, each.datatype, each.shape) for each in inputs] == [("image", "UINT8", (-1, 28, 28, 3))]
    assert [(each.name, each.datatype, each.shape) for each in outputs] == [("probabilities", "FP32", (-1, 3))]
    assert graph.written(spec, data, weights) == content


@pytest.mark.parametrize(("spec", "data"), NETWORKS)
def test_layers_and_weights_are_those_of_the_network_itself(spec: ModelSpec, data: DataFormat) -> None:
    network = build(spec, data, 0)
    layers = layers_of(spec, data)
    norms = 2 * sum(spec.parameters["channels"]) if spec.parameters["norm"] == "batch" else 0
    assert costs.weights(layers) == sum(each.numel() for each in network.parameters()) - norms
    shapes = {name: tuple(values.shape) for name, values in network.state_dict().items()}
    assert {name: values.shape for name, values in graph.drawn(spec, data).items()}.items() <= shapes.items()


def test_costs_are_those_counted_by_hand() -> None:
    layers = layers_of(a_spec([4, 8], 3), a_format((1, 28, 28)))
    # 28 x 28 x 9 x 1 x 4; 14 x 14 x 9 x 4 x 8; 7 x 7 places to 4 x 4 cells for 8 channels, and 128 features to 3 classes.
    assert costs.multiplications(layers) == [28224, 56448, 49 * 16 * 8 + 128 * 3]
    assert costs.weights(layers) == 4 * 10 + 8 * 37 + 129 * 3
    assert costs.activations(layers) == 28 * 28 * 4 + 14 * 14 * 4
    assert costs.memory_bytes(layers) == 4 * (723 + 3920)


def test_what_cannot_be_searched_is_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidInput, match="Give a 'convnet' with 'channels'"):
        layers_of(ModelSpec(architecture="mlp"), a_format((1, 8, 8)))
    with pytest.raises(InvalidInput, match="images of shape"):
        layers_of(a_spec([4]), a_format((5,)))
    spec, data = a_spec([8], norm="group"), a_format((1, 8, 8))
    with pytest.raises(InvalidInput, match="the norm 'batch' or 'none'"):
        graph.written(spec, data, as_arrays(build(spec, data, 0)))
