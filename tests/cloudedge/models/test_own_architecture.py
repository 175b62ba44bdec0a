"""A user's own architecture, offered by an installed package's entry point."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cloudedge.documents import DataFormat, ModelSpec
from cloudedge.errors import InvalidInput
from cloudedge.models import architectures, build

DATA = DataFormat.model_validate({"storage": "npz", "fields": [{"name": "x", "shape": [4]}], "classes": ["a", "b"]})

Offer = Callable[[str], None]


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Offer:
    """Installs a package whose function `make` is the architecture 'own'."""
    module = f"own_architecture_{abs(hash(request.node.nodeid))}"

    def install(source: str) -> None:
        (tmp_path / f"{module}.py").write_text(source)
        metadata = tmp_path / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[cloudedge.architectures]\nown = {module}:make\n")
        monkeypatch.syspath_prepend(tmp_path)

    return install


def make(**parameters: Any) -> torch.nn.Module:
    return build(ModelSpec(architecture="own", parameters=parameters), DATA, seed=3)


def test_a_package_offers_an_architecture_by_an_entry_point(offer: Offer) -> None:
    offer(
        "from torch import nn\n"
        "def make(input_shape, classes, *, width, bias=True):\n"
        "    return nn.Sequential(nn.Linear(*input_shape, width), nn.BatchNorm1d(width), nn.Linear(width, classes, bias))\n"
    )
    assert architectures() == ["convnet", "mlp", "own", "vgg"]
    model = make(width=6, bias=False)
    assert {name: tuple(parameter.shape) for name, parameter in model.named_parameters()} == {
        "0.weight": (6, 4),
        "0.bias": (6,),
        "1.weight": (6,),
        "1.bias": (6,),
        "2.weight": (2, 6),
    }
    assert model.training
    assert torch.equal(model.state_dict()["1.running_mean"], torch.zeros(6))
    assert torch.equal(make(width=6).state_dict()["0.weight"], make(width=6).state_dict()["0.weight"])


def test_its_wrong_and_missing_parameters_are_named_at_once(offer: Offer) -> None:
    offer("def make(input_shape, classes, width, depth=1): ...\n")
    with pytest.raises(InvalidInput) as caught:
        make(dept=2, heads=4)
    assert str(caught.value) == (
        "The parameters of the architecture 'own' are wrong:\n"
        "  - dept: no such parameter; there are width, depth\n"
        "  - heads: no such parameter; there are width, depth\n"
        "  - width: missing; add it"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import nothing_of_that_name\n",
            "'own' .*cannot be loaded: ModuleNotFoundError: No module named 'nothing_of_that_name'",
        ),
        ("make = 3\n", "'own' .* cannot be called"),
        (
            "def make(input_shape, classes): raise KeyError('x')\n",
            r"'own' cannot be built with {} for inputs of shape \(4,\): KeyError",
        ),
        ("def make(input_shape, classes): return 3\n", "'own' gives a int. Return a torch.nn.Module"),
        (
            "from torch import nn\ndef make(input_shape, classes): return nn.Linear(4, 7)\n",
            r"'own' turns 2 samples into \(2, 7\) instead of \(2, 2\)",
        ),
        (
            "from torch import nn\ndef make(input_shape, classes): return nn.Linear(5, 2)\n",
            "'own' cannot be built .* RuntimeError",
        ),
    ],
)
def test_an_architecture_that_does_not_work_is_refused_with_the_reason(offer: Offer, source: str, message: str) -> None:
    offer(source)
    with pytest.raises(InvalidInput, match=message):
        make()
