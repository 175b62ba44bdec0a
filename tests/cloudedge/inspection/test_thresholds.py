"""Above which score a part is rejected."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudedge.inspection.thresholds import threshold

SCORES = st.lists(st.floats(0, 1000, width=32), min_size=1, max_size=60)


def test_of_many_scores_the_quantile_is_theirs() -> None:
    scores = np.arange(1, 1000) / 1000
    assert threshold(scores, [], 0.9) == pytest.approx(0.9)
    assert threshold(scores, [], 0.75) == pytest.approx(0.75)


def test_of_few_scores_the_largest_is_raised_by_their_spread() -> None:
    few, spread = [1.0, 1.2, 0.9, 1.1], float(np.std([1.0, 1.2, 0.9, 1.1], ddof=1))
    found = threshold(few, [], 0.99)
    assert found == pytest.approx(1.2 + spread * np.sqrt(5 / 3) * np.log(0.2 / 0.01))
    assert threshold([*few] * 5, [], 0.99) < found


def test_the_share_of_new_normal_images_above_it_is_about_what_was_asked() -> None:
    chance = np.random.default_rng(0)
    for count in (4, 8, 16, 64):
        above = [
            np.mean(chance.gamma(9, size=200) > threshold(chance.gamma(9, size=count).tolist(), [], 0.95)) for _ in range(300)
        ]
        assert np.mean(above) < 0.06


@given(scores=SCORES, quantile=st.floats(0.51, 1))
def test_a_higher_quantile_never_gives_a_lower_threshold(scores: list[float], quantile: float) -> None:
    found = threshold(scores, [], quantile)
    assert found >= np.median(scores)
    assert threshold(scores, [], 1) >= found - 1e-9
    assert threshold(scores, [], 1) >= max(scores)


@given(normal=SCORES, defects=SCORES, quantile=st.floats(0.51, 1))
def test_it_is_never_below_the_median_of_the_normal_ones(normal: list[float], defects: list[float], quantile: float) -> None:
    assert threshold(normal, defects, quantile) >= np.median(normal)


@given(normal=SCORES, gap=st.floats(1, 100))
def test_where_defects_lie_apart_it_lies_between(normal: list[float], gap: float) -> None:
    defects = [max(normal) + gap, max(normal) + 2 * gap]
    found = threshold(normal, defects, 0.99)
    assert max(normal) < found < min(defects)


def test_where_they_overlap_the_errors_are_balanced() -> None:
    normal, defects = [1, 2, 3, 4, 5, 6, 7, 20], [6.5, 8, 9, 10]
    found = threshold(normal, defects, 0.99)
    errors = {
        limit: np.mean(np.array(normal) > limit) + np.mean(np.array(defects) <= limit) for limit in np.arange(0, 25, 0.25)
    }
    assert np.mean(np.array(normal) > found) + np.mean(np.array(defects) <= found) == min(errors.values())
