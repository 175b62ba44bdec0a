import numpy as np

from pipelines.automl_demo.dials import Camera, Dials


def test_the_same_seed_draws_the_same_dials() -> None:
    images, labels = Dials(3).images(20)
    again, _ = Dials(3).images(20)
    other, _ = Dials(4).images(20)
    assert images.shape == (20, 16, 16)
    assert images.dtype == np.uint8
    assert (images == again).all()
    assert (images != other).any()
    assert np.bincount(labels).tolist() == [2] * 10


def test_a_still_dial_shows_its_digit() -> None:
    still = Dials(0, 24, Camera(rolled=0, tilted=0, noise=0))
    eights, ones = (np.mean([np.abs(np.diff(still.image(digit).astype(float))).sum() for _ in range(40)]) for digit in (8, 1))
    assert eights > ones
