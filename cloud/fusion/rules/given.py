"""Weights that a person gives, by edge.

With the base model's own weight this is the plain form theta = lambda_0 theta_base + sum_i lambda_i theta_i that the other
averaging rules fill in; Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022 (arXiv:2109.01903), show what
choosing lambda_0 by hand brings.
"""

from collections.abc import Collection
from typing import Annotated

from pydantic import Field

from cloud.fusion.rule import Averaging, Candidates
from cloudedge.documents.base import Part
from cloudedge.errors import InvalidInput


class Setting(Part):
    """What the rule needs to know."""

    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        description="Weight of each edge; what counts is their proportion."
    )


def check(edges: Collection[str], setting: Setting) -> None:
    """See that each edge has a weight, and one of them more than 0.

    Raises:
        InvalidInput: it is not so.
    """
    without = sorted(set(edges) - set(setting.weights))
    if without:
        raise InvalidInput(f"The rule 'given' has no weight for {', '.join(without)}: add it to fusion.parameters.weights.")
    if not any(setting.weights[edge] for edge in edges):
        raise InvalidInput(
            f"The rule 'given' has the weight 0 for every edge that takes part: give one of {', '.join(sorted(edges))} "
            "a weight above 0 in fusion.parameters.weights."
        )


def weights(candidates: Candidates, setting: Setting) -> list[float]:
    """Give each contribution the weight of its edge.

    Raises:
        InvalidInput: an edge without a weight, or no weight above 0.
    """
    check({one.edge for one in candidates.contributions}, setting)
    return [setting.weights[contribution.edge] for contribution in candidates.contributions]


RULE = Averaging(weights, Setting, check)
