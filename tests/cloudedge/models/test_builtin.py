"""The built-in architectures, over the inputs and parameters that a task may give them."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cloudedge.documents import DataFormat, ModelSpec
from cloudedge.errors import InvalidInput
from cloudedge.models import architectures, build
from cloudedge.models.parameters import GridAverage
from cloudedge.training import device, use_threads


def data_format(shape: tuple[int, ...], classes: int = 3) -> DataFormat:
    field = {"name": "x", "shape": shape}
    return DataFormat.model_validate({"storage": "npz", "fields": [field], "classes": [str(label) for label in range(classes)]})


def make(architecture: str, shape: tuple[int, ...] = (1, 8, 8), seed: int = 0, **parameters: Any) -> torch.nn.Module:
    return build(ModelSpec(architecture=architecture, parameters=parameters), data_format(shape), seed)


def sizes(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


SMALL = [
    ("mlp", (5,), {}),
    ("mlp", (2, 3, 4, 5), {"layers": 0}),
    ("mlp", (8, 8), {"widths": [7, 5], "dropout": 0.5, "activation": "gelu"}),
    ("convnet", (1, 8, 8), {}),
    ("convnet", (8, 9), {"norm": "none"}),
    ("convnet", (3, 40, 64), {"norm": "batch", "dropout": 0.2}),
    ("convnet", (1, 8, 8), {"channels": [4, 6, 8, 10, 12]}),
    ("convnet", (1, 8, 8), {"kernel": 1}),
    ("convnet", (1, 9, 8), {"channels": [4, 4, 4, 4], "kernel": 7}),
    ("vgg", (1, 8, 8), {"width_factor": 0.05}),
    ("vgg", (3, 32, 48), {"width_factor": 0.05, "depth": 11, "norm": "batch"}),
    ("vgg", (33, 32), {"width_factor": 0.01, "norm": "none", "dropout": 0}),
]


@pytest.mark.parametrize(("architecture", "shape", "parameters"), SMALL)
def test_every_architecture_gives_one_logit_a_class_and_a_gradient_to_every_parameter(
    architecture: str, shape: tuple[int, ...], parameters: dict[str, Any]
) -> None:
    model = make(architecture, shape, **parameters)
    logits = model(torch.randn(4, *shape))
    assert logits.shape == (4, 3)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(("architecture", "shape", "parameters"), SMALL)
def test_no_architecture_has_a_gradient_that_varies_on_this_machines_device(
    architecture: str, shape: tuple[int, ...], parameters: dict[str, Any]
) -> None:
    use_threads(1)
    model = make(architecture, shape, **parameters).to(device())
    assert not [layer for layer in model.modules() if isinstance(layer, torch.nn.AdaptiveAvgPool2d)], "a GPU has no such way"
    torch.set_deterministic_debug_mode("error")
    try:
        model(torch.randn(4, *shape, device=device())).square().sum().backward()
    finally:
        use_threads(1)


@given(st.tuples(*[st.integers(1, 12)] * 2).flatmap(lambda size: st.tuples(st.just(size), *(st.integers(1, n) for n in size))))
def test_grids_average_over_the_windows_of_adaptive_pooling(drawn: tuple[tuple[int, int], int, int]) -> None:
    size, *grid = drawn
    inputs = torch.randn(2, 3, *size)
    expected = torch.nn.AdaptiveAvgPool2d(tuple(grid))(inputs)
    assert torch.allclose(GridAverage(size, (grid[0], grid[1]))(inputs), expected, atol=1e-5)


@pytest.mark.parametrize(("architecture", "shape", "parameters"), SMALL)
def test_the_same_seed_gives_the_same_model_and_another_seed_another(
    architecture: str, shape: tuple[int, ...], parameters: dict[str, Any]
) -> None:
    one, same, other = (make(architecture, shape, seed, **parameters).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_building_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    make("convnet")
    assert torch.equal(torch.rand(3), expected)


def test_a_seed_may_be_any_whole_number() -> None:
    make("mlp", seed=10**40)


def test_the_number_of_layers_and_their_widths_come_from_the_task() -> None:
    assert sizes(make("mlp", (4,), layers=3, width=5)) == {
        "hidden_1.weight": (5, 4),
        "hidden_1.bias": (5,),
        "hidden_2.weight": (5, 5),
        "hidden_2.bias": (5,),
        "hidden_3.weight": (5, 5),
        "hidden_3.bias": (5,),
        "output.weight": (3, 5),
        "output.bias": (3,),
    }
    assert sizes(make("mlp", (4,), widths=[7, 2]))["output.weight"] == (3, 2)


def test_vgg_16_has_the_layers_of_the_paper() -> None:
    model = make("vgg", (3, 224, 224), width_factor=1 / 64, norm="none")
    weights = {name: shape for name, shape in sizes(model).items() if name.endswith("weight")}
    channels = [1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 8, 8, 8]
    convolutions = [(outputs, inputs, 3, 3) for inputs, outputs in zip([3, *channels], channels, strict=False)]
    assert list(weights.values()) == [*convolutions, (64, 8 * 7 * 7), (64, 64), (3, 64)]


def test_large_images_do_not_make_a_large_convnet() -> None:
    assert sizes(make("convnet", (3, 256, 256)))["output.weight"] == (3, 32 * 4 * 4)


def test_only_batch_normalisation_keeps_statistics() -> None:
    names = {norm: {name.split(".")[-1] for name in sizes(make("convnet", norm=norm))} for norm in ("group", "batch", "none")}
    assert names["group"] == names["none"] == {"weight", "bias"}
    assert names["batch"] == {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


def test_all_wrong_parameters_are_named_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        make("mlp", layer=3, width="wide", dropout=2)
    message = str(caught.value)
    assert "layer: no such field" in message
    assert "width: found 'wide'" in message
    assert "dropout: found 2; give less than 1" in message


@pytest.mark.parametrize("architecture", ["convnet", "vgg"])
def test_an_architecture_for_images_refuses_other_inputs_and_names_a_way_out(architecture: str) -> None:
    with pytest.raises(InvalidInput, match=rf"'{architecture}' needs images .* is \(4,\)\. Use the architecture 'mlp'"):
        make(architecture, (4,))


def test_an_unknown_architecture_is_refused_with_the_known_ones() -> None:
    assert architectures() == ["convnet", "mlp", "vgg"]
    with pytest.raises(InvalidInput, match="no architecture 'resnet' here; there are convnet, mlp, vgg"):
        make("resnet")
