"""What wholes cost, learned from some that were measured."""

import numpy as np
import pytest

from cloudedge.automl.regression import Hyperparameters, Regression, Whole


def wholes(count: int, seed: int = 0) -> list[Whole]:
    """Of one to four parts, each with a size and a kind."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        kind = chance.integers(0, 5, (chance.integers(1, 5), 1)).astype(float)
        size = chance.uniform(1, 100, (len(kind), 1))
        found.append(Whole(work=np.hstack([np.ones_like(size), size]), kind=kind, other=np.ones(1)))
    return found


def true_costs(asked: list[Whole]) -> np.ndarray:
    """A kind of 3 and more computes at half the speed."""
    return np.array([5 + (each.work[:, 1] * np.where(each.kind[:, 0] >= 3, 2, 1)).sum() for each in asked])


def test_parts_that_are_slower_than_a_line_says_are_learned_from_whole_costs() -> None:
    seen, unseen = wholes(80), wholes(100, seed=1)
    found = Regression(seen, true_costs(seen))
    errors = np.abs(found.predict(unseen) / true_costs(unseen) - 1)
    line = Regression(seen, true_costs(seen), Hyperparameters(1e-3, 30.0, (1.0,))).predict(unseen) / true_costs(unseen) - 1
    assert np.median(errors) < 0.02
    assert np.median(np.abs(line)) > 0.1


def test_what_is_left_out_is_predicted_as_if_it_had_not_been_measured() -> None:
    seen, chosen = wholes(60), Hyperparameters(0.5, 0.05, (1.0,))
    costs = true_costs(seen)
    found = Regression(seen, costs, chosen).left_out
    without = [
        Regression([*seen[:place], *seen[place + 1 :]], np.delete(costs, place), chosen).predict([seen[place]])[0]
        for place in range(len(seen))
    ]
    # The line is that of all, which one more or less hardly changes.
    assert np.median(np.abs(found / without - 1)) < 0.005
    assert np.quantile(np.abs(found / without - 1), 0.9) < 0.02


def test_equal_measurements_give_equal_predictions_also_when_hyperparameters_are_told() -> None:
    seen, unseen = wholes(40), wholes(10, seed=1)
    first = Regression(seen, true_costs(seen))
    again = Regression(seen, true_costs(seen), first.hyperparameters)
    assert again.predict(unseen) == pytest.approx(first.predict(unseen), rel=1e-12)


def test_a_search_for_hyperparameters_that_has_no_time_gives_those_that_it_begins_with() -> None:
    seen = wholes(20)
    assert Regression(seen, true_costs(seen), until=0.0).hyperparameters == Hyperparameters(0.3, 0.02, (1.5,))
