"""Weights in proportion to the samples behind each model.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017, algorithm 1.
"""

from cloud.fusion.rule import Averaging, Candidates, NoSetting
from cloudedge.errors import InvalidInput


def weights(candidates: Candidates, _: NoSetting) -> list[float]:
    """Give each contribution its share of all samples.

    Raises:
        InvalidInput: no contribution has a sample, so there is no share to give.
    """
    total = sum(contribution.samples for contribution in candidates.contributions)
    if total == 0:
        raise InvalidInput(
            "Cannot weigh by samples: every edge reported 0. Use the rule 'uniform', or check the edges' sample folders."
        )
    return [contribution.samples / total for contribution in candidates.contributions]


RULE = Averaging(weights, NoSetting)
