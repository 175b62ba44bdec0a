"""Images varied, and faults drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudedge.documents.inspection import Augmentation
from cloudedge.inspection.augmenting import varied
from cloudedge.inspection.faults import drawn
from tests.cloudedge.inspection.parts import Pixels, normal

ASKED = st.builds(
    Augmentation,
    flip_horizontal=st.booleans(),
    flip_vertical=st.booleans(),
    rotate_degrees=st.floats(0, 180),
    shift=st.floats(0, 0.9),
    brightness=st.floats(0, 0.9),
    contrast=st.floats(0, 0.9),
    copies=st.integers(0, 3),
)


@pytest.fixture(scope="module")
def image() -> Pixels:
    return normal(1)[:50]


@settings(max_examples=50, deadline=None)
@given(asked=ASKED, seed=st.integers(0, 1000))
def test_there_are_as_many_images_as_asked_of_the_same_form_and_each_time_the_same(
    image: Pixels, asked: Augmentation, seed: int
) -> None:
    found = list(varied(image, asked, np.random.default_rng(seed)))
    assert len(found) == (1 + asked.flip_horizontal) * (1 + asked.flip_vertical) + asked.copies
    assert {(each.shape, each.dtype) for each in found} == {(image.shape, np.dtype(np.uint8))}
    assert np.array_equal(found[0], image)
    again = list(varied(image, asked, np.random.default_rng(seed)))
    assert all(np.array_equal(one, other) for one, other in zip(found, again, strict=True))


def test_by_default_nothing_is_varied(image: Pixels) -> None:
    (found,) = varied(image, Augmentation(), np.random.default_rng(0))
    assert np.array_equal(found, image)


def test_what_is_moved_has_no_empty_border(image: Pixels) -> None:
    bright = np.full_like(image, 200)
    for each in varied(bright, Augmentation(rotate_degrees=180, shift=0.9, copies=20), np.random.default_rng(0)):
        assert set(each.flat) == {200}


def test_a_turn_by_nothing_changes_nothing(image: Pixels) -> None:
    *_, turned = varied(image, Augmentation(rotate_degrees=1e-9, shift=1e-9, copies=1), np.random.default_rng(0))
    assert np.abs(turned.astype(int) - image).max() <= 1  # Interpolation rounds down.


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(32, 90), width=st.integers(32, 90))
def test_a_drawn_fault_changes_the_image_only_where_it_says(seed: int, height: int, width: int) -> None:
    chance = np.random.default_rng(seed)
    image = chance.integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = drawn(image, image[::-1], chance)
    assert found.pixels.shape == image.shape
    assert found.cover.shape == (height, width)
    assert 0 <= found.cover.min() <= found.cover.max() <= 1
    assert np.array_equal(found.pixels[found.cover == 0], image[found.cover == 0])
