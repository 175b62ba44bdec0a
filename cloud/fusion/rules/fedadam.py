"""Adam at the server, on the averaged change.

Reddi et al., "Adaptive Federated Optimization", ICLR 2021 (arXiv:2003.00295), algorithm 2 (FedAdam).
"""

from collections.abc import Callable, Mapping

import numpy as np
from pydantic import Field

from cloud.fusion.rule import Floats, ServerOptimizer
from cloudedge.documents.base import Part


class Setting(Part):
    """What the rule needs to know."""

    learning_rate: float = Field(default=0.1, gt=0, le=100, description="Step size.")
    beta_1: float = Field(default=0.9, ge=0, lt=1, description="Share of the mean change that is kept from round to round.")
    beta_2: float = Field(default=0.99, ge=0, lt=1, description="Share of the mean square that is kept from round to round.")
    adaptivity: float = Field(default=0.001, gt=0, le=1, description="tau: the smaller, the more the steps adapt.")


Squares = Callable[[Floats, Floats, float], Floats]
"""From the mean square so far, the square of this round's change and beta_2 to the new mean square."""


def memory(setting: Setting) -> dict[str, float]:
    """Mean change and mean square; the latter is tau squared before the first round."""
    return {"momentum": 0.0, "variance": setting.adaptivity**2}


def adaptive_step(
    squares: Squares,
) -> Callable[[Floats, Floats, Mapping[str, Floats], Setting], tuple[Floats, dict[str, Floats]]]:
    """The step of algorithm 2, whose variants differ in how the mean square goes on."""

    def step(base: Floats, change: Floats, memory: Mapping[str, Floats], setting: Setting) -> tuple[Floats, dict[str, Floats]]:
        mean = setting.beta_1 * memory["momentum"] + (1 - setting.beta_1) * change
        square = squares(memory["variance"], change * change, setting.beta_2)
        fused = base + setting.learning_rate * mean / (np.sqrt(square) + setting.adaptivity)
        return fused, {"momentum": mean, "variance": square}

    return step


def moving_average(square: Floats, new: Floats, beta_2: float) -> Floats:
    """The moving average beta_2 v + (1 - beta_2) change^2."""
    return beta_2 * square + (1 - beta_2) * new


RULE = ServerOptimizer(memory, adaptive_step(moving_average), Setting)
