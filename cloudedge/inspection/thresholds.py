"""Above which score a part is rejected, told from few images.

Where only normal images are known, the threshold is a quantile of the scores of such as were not trained on. Of n scores no
quantile beyond n/(n+1) can be told; where a higher one is asked, the largest score is raised by a margin: their spread for
each factor e by which the quantile lies beyond, as if scores fell off exponentially. The spread is the standard deviation,
taken larger by sqrt((n+1)/(n-1)) as n is small; of a single score it is half that score. A minimum over scores of defects, as
others take where there are some, would say nothing of normal images.

Where defects are known, the threshold lies where the shares of normal images above it and of defects below it add up to the
least, in the middle of the widest gap of that kind; but never below the median of the normal ones.
"""

import numpy as np
import numpy.typing as npt

_Scores = npt.NDArray[np.float64]


def threshold(normal: npt.ArrayLike, defects: npt.ArrayLike, quantile: float) -> float:
    """Choose a threshold.

    Args:
        normal: Scores of normal images that were not trained on, at least one.
        defects: Scores of images of defects.
        quantile: Share of normal images that shall not be above it; 1: the largest, with a margin.
    """
    good, bad = np.sort(np.asarray(normal, np.float64)), np.sort(np.asarray(defects, np.float64))
    return _balanced(good, bad) if len(bad) else _quantile(good, quantile)


def _quantile(scores: _Scores, quantile: float) -> float:
    count = len(scores)
    told = count / (count + 1)
    if quantile < told:
        # Ranks 1 ... n stand for the quantiles 1/(n+1) ... n/(n+1): unbiased, whatever the distribution.
        return float(np.interp(quantile * (count + 1), np.arange(1, count + 1), scores))
    spread = float(scores.std(ddof=1)) * np.sqrt((count + 1) / (count - 1)) if count > 1 else abs(float(scores[0])) / 2
    beyond = np.log((1 - told) / max(1 - quantile, 1e-3))
    return float(scores[-1] + spread * max(beyond, 0) + np.spacing(np.float32(scores[-1])))


def _balanced(good: _Scores, bad: _Scores) -> float:
    levels = np.unique(np.concatenate([good, bad]))
    middles = np.concatenate([(levels[:-1] + levels[1:]) / 2, levels[-1:]])
    widths = np.concatenate([np.diff(levels), [0.0]])
    median = float(np.median(good))
    kept = middles >= median
    if not kept.any():
        return median
    middles, widths = middles[kept], widths[kept]
    above = 1 - np.searchsorted(good, middles, side="right") / len(good)
    below = np.searchsorted(bad, middles, side="right") / len(bad)
    errors = above + below
    best = np.flatnonzero(errors <= errors.min() + 1e-12)
    return float(max(middles[best[widths[best].argmax()]], median))
