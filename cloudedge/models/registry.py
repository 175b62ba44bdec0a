"""From a task's words to a network with the right inputs and outputs, the same every time."""

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

import torch
from torch import nn

from cloudedge.documents import DataFormat, ModelSpec
from cloudedge.errors import CloudedgeError, InvalidInput
from cloudedge.models.convnet import convnet
from cloudedge.models.mlp import mlp
from cloudedge.models.vgg import vgg
from cloudedge.seeds import derived_seed

ENTRY_POINTS = "cloudedge.architectures"
"""Group of the entry points by which a user's package offers architectures."""

Architecture = Callable[..., nn.Module]
"""Called as (input_shape: tuple[int, ...], classes: int, **parameters); gives a network from float32 [n, *input_shape] to
logits [n, classes]."""

_BUILTIN: Mapping[str, Architecture] = {"convnet": convnet, "mlp": mlp, "vgg": vgg}


def architectures() -> list[str]:
    """Names of all architectures that can be built here, sorted."""
    return sorted({*_BUILTIN, *entry_points(group=ENTRY_POINTS).names})


def build(spec: ModelSpec, data: DataFormat, seed: int) -> nn.Module:
    """Build a network on the CPU. Equal arguments give equal parameters; the global random state stays as it was.

    Args:
        spec: Name and parameters of the architecture.
        data: Format of the samples, which gives the sizes of input and output.
        seed: The initial parameters follow from it.

    Returns:
        A network from float32 [n, *data.input_shape] to logits [n, len(data.classes)].

    Raises:
        InvalidInput: the architecture is unknown, its parameters are not its own, or it does not fit the data.
    """
    architecture = _find(spec.architecture)
    _check_names(spec, architecture)
    try:
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: it would reseed the GPUs too, whose state is not kept here.
            torch.default_generator.manual_seed(derived_seed(seed, "initial parameters"))
            model = architecture(data.input_shape, len(data.classes), **spec.parameters)
            if spec.architecture not in _BUILTIN:
                _check_fit(model, spec, data)
    except CloudedgeError:
        raise
    except Exception as error:
        # A user's own code may raise anything; what it says is for its author.
        raise InvalidInput(
            f"The architecture {spec.architecture!r} cannot be built with {spec.parameters} for inputs of shape "
            f"{data.input_shape}: {type(error).__name__}: {error}. Correct the parameters, or the architecture."
        ) from error
    return model


def _find(name: str) -> Architecture:
    if name in _BUILTIN:
        return _BUILTIN[name]
    found = entry_points(group=ENTRY_POINTS, name=name)
    if not found:
        raise InvalidInput(
            f"There is no architecture {name!r} here; there are {', '.join(architectures())}. Choose one of them, or install "
            f"the package that offers yours by the entry points {ENTRY_POINTS}."
        )
    entry = next(iter(found))
    try:
        architecture = entry.load()
    except Exception as error:
        raise InvalidInput(
            f"The architecture {name!r} ({entry.value}) cannot be loaded: {type(error).__name__}: {error}. Mend its package."
        ) from error
    if not callable(architecture):
        raise InvalidInput(f"The architecture {name!r} at {entry.value} cannot be called. Point the entry point to a function.")
    return architecture  # type: ignore[no-any-return]  # what it returns is checked when it is called


def _check_names(spec: ModelSpec, architecture: Architecture) -> None:
    """Find wrong and missing names of a user's architecture before it is called; the built-in ones check themselves."""
    accepted = list(inspect.signature(architecture).parameters.values())[2:]
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in accepted):
        return
    names = [parameter.name for parameter in accepted]
    faults = [
        f"{name}: no such parameter; there are {', '.join(names) or 'none'}" for name in spec.parameters if name not in names
    ]
    faults += [
        f"{parameter.name}: missing; add it"
        for parameter in accepted
        if parameter.default is inspect.Parameter.empty and parameter.name not in spec.parameters
    ]
    if faults:
        raise InvalidInput("\n  - ".join([f"The parameters of the architecture {spec.architecture!r} are wrong:", *faults]))


def _check_fit(model: Any, spec: ModelSpec, data: DataFormat) -> None:
    if not isinstance(model, nn.Module):
        raise InvalidInput(f"The architecture {spec.architecture!r} gives a {type(model).__name__}. Return a torch.nn.Module.")
    with torch.no_grad():
        model.eval()
        logits = model(torch.zeros(2, *data.input_shape))
        model.train()
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, len(data.classes)):
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise InvalidInput(
            f"The architecture {spec.architecture!r} turns 2 samples into {found} instead of {(2, len(data.classes))}. "
            "Let it return one logit for each class."
        )
