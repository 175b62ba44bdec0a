"""What is normal, told from few images."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cloudedge.inspection.anomaly import Moments, Movements, alike, by_group, chosen, fitted, with_bank

GROUPS = (slice(0, 3), slice(3, 8))


@given(count=st.integers(2, 40), seed=st.integers(0, 1000))
def test_an_image_is_left_out_with_those_most_like_it_and_never_with_all(count: int, seed: int) -> None:
    averages = np.random.default_rng(seed).normal(size=(count, 5))
    found = alike(averages)
    assert [left_out[0] for left_out in found] == list(range(count))
    assert {len(set(left_out.tolist())) for left_out in found} == {len(found[0])}
    assert 1 <= len(found[0]) < count


def test_an_image_that_was_taken_twice_tells_nothing_of_itself() -> None:
    averages = np.repeat(np.random.default_rng(0).normal(size=(6, 5)), 2, axis=0)
    averages += np.random.default_rng(1).normal(0, 1e-3, averages.shape)
    for number, left_out in enumerate(alike(averages)):
        assert number ^ 1 in left_out


def test_what_is_left_out_of_the_moments_is_as_if_it_had_never_come() -> None:
    features = np.random.default_rng(0).normal(size=(6, 8, 4, 5)).astype(np.float32)
    everything, some, others = Moments((8, 4, 5)), Moments((8, 4, 5)), Moments((8, 4, 5))
    everything.add(features)
    some.add(features[:2])
    others.add(features[2:])
    left, movements = everything.without(some), Movements(8)
    movements.add(features, features[::-1], np.ones((6, 4, 5), np.float32))
    found, wanted = fitted(left, movements, GROUPS), fitted(others, movements, GROUPS)
    assert np.allclose(found.distances(features), wanted.distances(features), rtol=1e-4)
    assert np.allclose(by_group(found.squares(features), GROUPS).sum(-1), found.distances(features), rtol=1e-4)


def test_a_bank_has_its_own_patches_at_no_distance_and_those_of_others_at_some() -> None:
    features = np.random.default_rng(0).normal(size=(5, 8, 3, 3)).astype(np.float32)
    moments, movements = Moments((8, 3, 3)), Movements(8)
    moments.add(features)
    movements.add(features, features[::-1], np.ones((5, 3, 3), np.float32))
    normal = fitted(moments, movements, GROUPS)
    patches = chosen(normal, features, 1000, np.random.default_rng(0))
    assert len(patches.features) == 45
    assert with_bank(normal, patches).distances(features).max() < 1e-3
    without_first = patches.of(np.array([False, True, True, True, True]))
    distances = with_bank(normal, without_first).distances(features)
    assert distances[1:].max() < 1e-3 < distances[0].min()
