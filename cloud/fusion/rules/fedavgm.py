"""Server momentum: the change that the edges agree on gathers speed from round to round.

Hsu, Qi and Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification", 2019
(arXiv:1909.06335), section 4.3.
"""

from collections.abc import Mapping

from pydantic import Field

from cloud.fusion.rule import Floats, ServerOptimizer
from cloudedge.documents.base import Part


class Setting(Part):
    """What the rule needs to know."""

    learning_rate: float = Field(default=1.0, gt=0, le=100, description="Step size.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Share of the last round's speed that is kept.")


def memory(_: Setting) -> dict[str, float]:
    """The speed, 0 before the first round."""
    return {"momentum": 0.0}


def step(base: Floats, change: Floats, memory: Mapping[str, Floats], setting: Setting) -> tuple[Floats, dict[str, Floats]]:
    """The step v = momentum v + change; base + learning_rate v. All of shape (n,)."""
    speed = setting.momentum * memory["momentum"] + change
    return base + setting.learning_rate * speed, {"momentum": speed}


RULE = ServerOptimizer(memory, step, Setting)
