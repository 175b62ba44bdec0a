"""The mean of each number without its largest and smallest values.

Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018 (arXiv:1803.01498),
option II.
"""

import math

from pydantic import Field

from cloud.fusion.rule import CoordinateWise, Floats
from cloudedge.documents.base import Part
from cloudedge.errors import InvalidInput


class Setting(Part):
    """What the rule needs to know."""

    trim: float = Field(
        default=0.1, ge=0, lt=0.5, description="Share of the values that is left out at either end, rounded up to whole models."
    )


def combine(models: Floats, setting: Setting) -> Floats:
    """Mean over the models' inner values.

    Args:
        models: A block of all models, shape (models, n).
        setting: How much is left out.

    Returns:
        Shape (n,).

    Raises:
        InvalidInput: nothing is left.
    """
    # 0.07 * 100 is a little more than 7.
    out = math.ceil(setting.trim * len(models) - 1e-9)
    kept = len(models) - 2 * out
    if kept < 1:
        raise InvalidInput(
            f"The rule 'trimmed-mean' leaves out {out} of {len(models)} models at either end, so none is left: "
            "lower fusion.parameters.trim, or raise the quorum."
        )
    models.sort(axis=0)
    inner = models[out : out + kept]
    # Differences to one of them keep equal values exactly as they are.
    mean: Floats = inner[0] + (inner - inner[0]).sum(axis=0) / kept
    return mean


RULE = CoordinateWise(combine, Setting)
