import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudedge.automl.space import below, canonical, channels, networks, spec
from cloudedge.documents.automl import FILTERS, KERNELS, MOST_LAYERS, Candidate, Hyperparameters
from cloudedge.models.registry import build
from tests.cloudedge.automl.devices import CAPS, DATA


def test_each_network_is_there_once() -> None:
    shapes = [(channels(candidate), candidate.kernel) for candidate in networks().everything]
    assert len(shapes) == len(set(shapes)) == 200


def test_channels_double_up_to_the_widest_layer() -> None:
    assert channels(Candidate(layers=4, filters=32, kernel=3, growing=True)) == (4, 8, 16, 32)
    assert channels(Candidate(layers=4, filters=8, kernel=3, growing=True)) == (4, 4, 4, 8)
    assert channels(Candidate(layers=2, filters=8, kernel=3)) == (8, 8)


@pytest.mark.parametrize("candidate", [*networks().everything][::37])
def test_a_candidate_is_a_network_that_can_be_built(candidate: Candidate) -> None:
    build(spec(candidate), DATA, seed=0)


def test_a_network_of_equal_channels_does_not_grow() -> None:
    assert canonical(Candidate(layers=1, filters=8, kernel=3, growing=True)).growing is False
    assert canonical(Candidate(layers=3, filters=4, kernel=3, growing=True)).growing is False
    assert canonical(Candidate(layers=2, filters=8, kernel=3, growing=True)).growing is True


@given(CAPS)
def test_the_caps_themselves_come_first_and_nothing_is_beyond_them(caps: Hyperparameters) -> None:
    found = below(caps)
    assert found[0] == Candidate(layers=caps.layers, filters=caps.filters, kernel=caps.kernel)
    assert len(found) == len(set(found))
    assert all(one.layers <= caps.layers and one.filters <= caps.filters and one.kernel <= caps.kernel for one in found)


@given(CAPS)
def test_it_goes_downward_step_by_step(caps: Hyperparameters) -> None:
    places = [networks().everything[candidate] for candidate in below(caps)]
    steps = [sum(places[0]) - sum(each) for each in places]
    assert steps == sorted(steps)


@given(CAPS)
def test_smaller_caps_leave_only_what_larger_ones_had(caps: Hyperparameters) -> None:
    everything = Hyperparameters(layers=MOST_LAYERS, filters=FILTERS[-1], kernel=KERNELS[-1])
    assert set(below(caps)) <= set(below(everything)) == set(networks().everything)


@given(CAPS, st.integers(1, MOST_LAYERS))
def test_what_is_likely_comes_first(caps: Hyperparameters, layers: int) -> None:
    likely = {"layers": [0.9 if layers == each else 0.02 for each in range(1, MOST_LAYERS + 1)]}
    found = [candidate.layers == layers for candidate in below(caps, likely)]
    assert [*itertools.dropwhile(bool, found)].count(True) == 0
