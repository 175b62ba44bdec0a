"""The one model that lies nearest to its neighbours: up to a number of malicious ones cannot move it far.

Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", NeurIPS 2017, section 4.
"""

import numpy as np
from pydantic import Field

from cloud.fusion.rule import Averaging, Candidates
from cloudedge.documents.base import Part
from cloudedge.errors import InvalidInput


class Setting(Part):
    """What the rule needs to know."""

    malicious: int = Field(default=1, ge=0, description="Largest number of malicious or broken models among the contributions.")


def weights(candidates: Candidates, setting: Setting) -> list[float]:
    """Give weight 1 to the model with the least sum of squared distances to its n - malicious - 2 nearest, 0 to the others.

    Raises:
        InvalidInput: too few models to outvote the malicious ones.
    """
    count = len(candidates.contributions)
    needed = 2 * setting.malicious + 3
    if count < needed:
        raise InvalidInput(
            f"The rule 'krum' needs {needed} models to withstand {setting.malicious} malicious ones; {count} came. "
            "Lower fusion.parameters.malicious, or raise the quorum."
        )
    distances = candidates.squared_distances()
    np.fill_diagonal(distances, np.inf)
    nearest = np.sort(distances, axis=1)[:, : count - setting.malicious - 2]
    chosen = int(nearest.sum(axis=1).argmin())
    return [float(i == chosen) for i in range(count)]


RULE = Averaging(weights, Setting)
