"""Weights in proportion to the accuracy that each edge measured on its own held-out samples.

Weighing by past performance is Bates and Granger, "The Combination of Forecasts", Operational Research Quarterly 20, 1969.
"""

from cloudedge.errors import InvalidInput
from components.fuse.rule import Averaging, Candidates, NoSetting


def weights(candidates: Candidates, _: NoSetting) -> list[float]:
    """Give each contribution its share of the sum of accuracies.

    Raises:
        InvalidInput: every accuracy is 0, so there is no share to give.
    """
    total = sum(contribution.accuracy for contribution in candidates.contributions)
    if total == 0:
        raise InvalidInput(
            "Cannot weigh by accuracy: every edge reported 0. Use the rule 'samples', or let the edges train longer."
        )
    return [contribution.accuracy / total for contribution in candidates.contributions]


RULE = Averaging(weights, NoSetting)
