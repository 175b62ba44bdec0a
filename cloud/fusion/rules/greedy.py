"""The average of those models that do not lower accuracy, found by trying one after the other.

Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
inference time", ICML 2022 (arXiv:2203.05482), recipe 1. Unlike there, the base model is the score to begin with, so that
a round of bad models leaves it as it is.
"""

from cloud.fusion.rule import Averaging, Candidates, NoSetting


def weights(candidates: Candidates, _: NoSetting) -> list[float]:
    """Give the same share to each model that joined, 0 to the others; the most accurate on its own edge is tried first.

    Raises:
        InvalidInput: nobody can measure accuracy here.
    """
    found = [0.0] * len(candidates.contributions)
    best = candidates.score(found)
    by_accuracy = sorted(range(len(found)), key=lambda i: -(candidates.contributions[i].accuracy or 0.0))
    for i in by_accuracy:
        tried = [*found[:i], 1.0, *found[i + 1 :]]
        score = candidates.score(tried)
        if score >= best:
            found, best = tried, score
    return found


RULE = Averaging(weights, NoSetting, measures=True)
