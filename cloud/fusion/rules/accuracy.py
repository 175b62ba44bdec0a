"""Weights in proportion to the accuracy that each edge measured on its own held-out samples.

Weighing by past performance is Bates and Granger, "The Combination of Forecasts", Operational Research Quarterly 20, 1969.
"""

from cloud.fusion.rule import Averaging, Candidates, NoSetting
from cloudedge.errors import InvalidInput


def weights(candidates: Candidates, _: NoSetting) -> list[float]:
    """Give each contribution its share of the sum of accuracies.

    Nothing is known of a model whose edge has no sample to measure it on: it counts as the mean of the others does.

    Raises:
        InvalidInput: every accuracy measured is 0, so there is no share to give.
    """
    found = [contribution.accuracy for contribution in candidates.contributions]
    measured = [accuracy for accuracy in found if accuracy is not None]
    mean = sum(measured) / len(measured) if measured else 1.0
    accuracies = [mean if accuracy is None else accuracy for accuracy in found]
    total = sum(accuracies)
    if total == 0:
        raise InvalidInput(
            "Cannot weigh by accuracy: every edge reported 0. Use the rule 'samples', or let the edges train longer."
        )
    return [accuracy / total for accuracy in accuracies]


RULE = Averaging(weights, NoSetting)
