"""The median of each number: fewer than half of the models, however wrong, cannot move it beyond the others.

Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018 (arXiv:1803.01498),
option I.
"""

from cloud.fusion.rule import CoordinateWise, Floats, NoSetting


def combine(models: Floats, _: NoSetting) -> Floats:
    """Median over the models.

    Args:
        models: A block of all models, shape (models, n).

    Returns:
        Shape (n,); of an even number of models the mean of the two in the middle.
    """
    models.sort(axis=0)
    upper = len(models) // 2
    lower = (len(models) - 1) // 2
    median: Floats = models[lower] + (models[upper] - models[lower]) / 2
    return median


RULE = CoordinateWise(combine, NoSetting)
