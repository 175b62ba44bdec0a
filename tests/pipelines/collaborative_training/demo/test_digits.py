"""The demo's data: real, each image in one place, skewed and shifted at the edges."""

import hashlib
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cloudedge.data import read_records
from cloudedge.errors import InvalidInput
from pipelines.collaborative_training.demo.digits import CLEAN, DATA, MOST_EDGES, edge_names, originals, write_digits
from pipelines.collaborative_training.demo.environments import ENVIRONMENTS


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder)
    return folder


def labels(path: Path) -> list[int]:
    return [record.label for record in read_records(path, DATA)]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def images(path: Path) -> NDArray[numpy.float64]:
    return numpy.array([record.values["image"][0] for record in read_records(path, DATA)], dtype=numpy.float64)


def test_equal_arguments_give_equal_bytes_and_another_seed_others(laid_out: Path, tmp_path: Path) -> None:
    write_digits(tmp_path / "again")
    write_digits(tmp_path / "other", seed=1)
    assert digests(tmp_path / "again") == digests(laid_out)
    other = digests(tmp_path / "other")
    assert other.keys() == digests(laid_out).keys()
    assert not set(other.values()) & set(digests(laid_out).values())


def test_the_images_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    images, labels = originals()
    assert (images == load_digits().images).all()
    assert (labels == load_digits().target).all()


def test_every_image_is_used_and_none_in_two_places(laid_out: Path) -> None:
    counts = [len(labels(laid_out / "cloud")), len(labels(laid_out / "edges")), len(labels(laid_out / "test" / CLEAN))]
    assert counts == [200, 1257, 340]
    assert sum(counts) == len(originals()[0])


def test_clean_images_of_cloud_and_test_differ(laid_out: Path) -> None:
    cloud, test = ({image.tobytes() for image in images(laid_out / place)} for place in ("cloud", f"test/{CLEAN}"))
    assert not cloud & test


@pytest.mark.parametrize("edges", [1, 3, MOST_EDGES])
def test_any_number_of_edges_shares_all_the_images_evenly(tmp_path: Path, edges: int) -> None:
    write_digits(tmp_path, edges)
    counts = {path.name: len(labels(path)) for path in (tmp_path / "edges").iterdir()}
    assert set(counts) == set(edge_names(edges))
    assert sum(counts.values()) == 1257
    assert min(counts.values()) > 0.5 * max(counts.values())
    assert {path.name for path in (tmp_path / "test").iterdir()} == {CLEAN, *list(ENVIRONMENTS)[:edges]}


def test_an_edge_has_every_class_but_mostly_half_of_them(laid_out: Path) -> None:
    for path in (laid_out / "edges").iterdir():
        counts = numpy.sort(numpy.bincount(labels(path), minlength=10))
        assert counts[0] > 0
        assert counts[5:].sum() > 0.85 * counts.sum()


def test_all_environments_test_the_same_classes_alike(laid_out: Path) -> None:
    expected = labels(laid_out / "test" / CLEAN)
    assert numpy.bincount(expected).tolist() == [34] * 10
    assert all(labels(path) == expected for path in (laid_out / "test").iterdir())


def test_a_dim_hall_has_less_contrast(laid_out: Path) -> None:
    clean, dim = images(laid_out / "test" / CLEAN), images(laid_out / "test" / "dim-hall")
    # The leftmost pixels get no glare; there the darkness alone is seen.
    assert dim[:, :, 0].mean() < 0.6 * clean[:, :, 0].mean() + 1
    assert (dim[:, :, -1] - clean[:, :, -1]).mean() > 50


def test_a_noisy_line_hides_no_digit_but_changes_every_image(laid_out: Path) -> None:
    difference = numpy.abs(images(laid_out / "test" / "noisy-line") - images(laid_out / "test" / CLEAN)).mean(axis=(1, 2))
    assert 10 < difference.min() < difference.max() < 80


def test_a_shifted_belt_moves_the_digits_down_and_right(laid_out: Path) -> None:
    def centre(stack: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
        places = numpy.arange(8)
        return numpy.array([(stack.mean(axis=(0, axis)) * places).sum() / stack.mean(axis=(0, axis)).sum() for axis in (1, 2)])

    moved = centre(images(laid_out / "test" / "shifted-belt")) - centre(images(laid_out / "test" / CLEAN))
    assert (moved > 0.5).all()


def test_a_tilted_camera_turns_the_digits(laid_out: Path) -> None:
    ones = numpy.array(labels(laid_out / "test" / CLEAN)) == 1
    spread = {}
    for environment in (CLEAN, "tilted-camera"):
        mean = images(laid_out / "test" / environment)[ones].mean(axis=0)
        across, down = numpy.meshgrid(numpy.arange(8) - 3.5, numpy.arange(8) - 3.5)
        spread[environment] = (mean * across * down).sum() / mean.sum()
    assert spread["tilted-camera"] > spread[CLEAN] + 1


def test_an_environment_of_several_edges_is_tested_at_each_ones_strength(laid_out: Path, tmp_path: Path) -> None:
    write_digits(tmp_path, edges=8)
    one, two = (images(folder / "test" / "noisy-line") for folder in (laid_out, tmp_path))
    assert (one[0::2] == two[0::2]).all()
    assert (one[1::2] != two[1::2]).any(axis=(1, 2)).all()


@given(edges=st.integers(1, MOST_EDGES))
@settings(max_examples=20, deadline=None)
def test_edge_names_are_different_and_say_their_environment(edges: int) -> None:
    names = edge_names(edges)
    assert len(set(names)) == edges
    assert all(any(name.startswith(environment) for environment in ENVIRONMENTS) for name in names)


@pytest.mark.parametrize("edges", [0, -1, MOST_EDGES + 1])
def test_more_edges_than_there_are_images_for_are_refused(tmp_path: Path, edges: int) -> None:
    with pytest.raises(InvalidInput, match=f"1 to 20 edges, not {edges}"):
        write_digits(tmp_path / "digits", edges)
    assert not (tmp_path / "digits").exists()
