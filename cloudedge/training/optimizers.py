"""Optimizers over torch's fused kernels, the ones that torch.optim itself ends in.

Not torch.optim: making its first optimizer imports the whole compiler, which takes seconds on a small processor, and an edge
starts a process for every order. The steps are the same as torch.optim's (a test compares them), and the state has the
parameters' names, so that it goes into a checkpoint as it is.

Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from cloudedge.documents import Training

_MOMENTUM = 0.9
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class Optimizer(ABC):
    """Parameters and what is remembered about each from step to step.

    Attributes:
        state: Remembered tensors, by "<kind>.<name of the parameter>".
    """

    _kinds: tuple[str, ...] = ()

    def __init__(self, settings: Training, parameters: Mapping[str, nn.Parameter]) -> None:
        """Begin with nothing remembered.

        Args:
            settings: Learning rate and weight decay.
            parameters: What to optimize, by name.
        """
        self._settings = settings
        self._parameters = dict(parameters)
        self.state = {
            f"{kind}.{name}": torch.zeros_like(parameter, memory_format=torch.preserve_format, requires_grad=False)
            for kind in self._kinds
            for name, parameter in self._parameters.items()
        }

    def step(self) -> None:
        """Move each parameter that has a gradient by one step, and drop the gradients."""
        moved = {name: parameter for name, parameter in self._parameters.items() if parameter.grad is not None}
        with torch.no_grad():
            self._move([p.data for p in moved.values()], [p.grad for p in moved.values() if p.grad is not None], list(moved))
        for parameter in moved.values():
            parameter.grad = None

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state that was kept.

        Raises:
            KeyError: it is not the state of such an optimizer.
        """
        for name, tensor in self.state.items():
            tensor.copy_(state[name])

    def _remembered(self, kind: str, names: list[str]) -> list[Tensor]:
        return [self.state[f"{kind}.{name}"] for name in names]

    @abstractmethod
    def _move(self, parameters: list[Tensor], gradients: list[Tensor], names: list[str]) -> None:
        """Change the parameters in place."""


class _Sgd(Optimizer):
    _momentum = 0.0

    def _move(self, parameters: list[Tensor], gradients: list[Tensor], names: list[str]) -> None:
        torch._fused_sgd_(
            parameters,
            gradients,
            self._remembered("momentum", names) if self._momentum else [],
            weight_decay=self._settings.weight_decay,
            momentum=self._momentum,
            lr=self._settings.learning_rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,  # A buffer of zeros gives the same first step.
        )


class _Momentum(_Sgd):
    _momentum = _MOMENTUM
    _kinds = ("momentum",)


class _Adam(Optimizer):
    _kernel: Callable[..., object] = staticmethod(torch._fused_adam_)
    _kinds = ("mean", "square")

    def __init__(self, settings: Training, parameters: Mapping[str, nn.Parameter]) -> None:
        super().__init__(settings, parameters)
        for name, parameter in self._parameters.items():
            self.state[f"steps.{name}"] = torch.zeros((), dtype=torch.float32, device=parameter.device)

    def _move(self, parameters: list[Tensor], gradients: list[Tensor], names: list[str]) -> None:
        steps = self._remembered("steps", names)
        torch._foreach_add_(steps, 1)
        self._kernel(
            parameters,
            gradients,
            self._remembered("mean", names),
            self._remembered("square", names),
            [],
            steps,
            lr=self._settings.learning_rate,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            weight_decay=self._settings.weight_decay,
            eps=_EPSILON,
            amsgrad=False,
            maximize=False,
        )


class _AdamW(_Adam):
    _kernel: Callable[..., object] = staticmethod(torch._fused_adamw_)


_OPTIMIZERS: Mapping[str, type[Optimizer]] = {"sgd": _Sgd, "momentum": _Momentum, "adam": _Adam, "adamw": _AdamW}


def optimizer(settings: Training, model: nn.Module) -> Optimizer:
    """Make the optimizer that the settings name, for all parameters of a model that are to be trained."""
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    return _OPTIMIZERS[settings.optimizer](settings, trained)
