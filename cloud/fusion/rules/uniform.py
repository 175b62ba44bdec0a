"""The same weight for every model.

Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
inference time", ICML 2022 (arXiv:2203.05482), the uniform soup.
"""

from cloud.fusion.rule import Averaging, Candidates, NoSetting


def weights(candidates: Candidates, _: NoSetting) -> list[float]:
    """Give each contribution the same share."""
    return [1 / len(candidates.contributions)] * len(candidates.contributions)


RULE = Averaging(weights, NoSetting)
