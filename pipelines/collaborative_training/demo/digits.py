"""Real data for the demo: 1,797 handwritten digits, few and clean in the cloud, more and different at each edge.

The images are scikit-learn's copy of the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak,
UCI Machine Learning Repository, 1998, CC BY 4.0): 8 x 8 pixels of 17 shades of gray.

Each image is used once: in the cloud, at one edge, or for testing. An edge sees its images in its own environment and half of
the classes far more often than the others. Every environment's test set is made of the same images, all classes alike.
"""

import gzip
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path

import numpy
from numpy.typing import NDArray

from cloudedge.data import Record, write_records
from cloudedge.documents import DataFormat, SampleField
from cloudedge.errors import InvalidInput
from cloudedge.seeds import derived_seed
from pipelines.collaborative_training.demo.environments import ENVIRONMENTS, seen

MOST_EDGES = 20
"""With more, some edges would not have samples of all classes."""

CLEAN = "clean"
"""Name of the cloud's own environment among the test sets."""

DATA = DataFormat(
    # A thousand small images are two milliseconds in one file, and a second in as many files.
    storage="npz",
    fields=(SampleField(name="image", shape=(1, 8, 8), dtype="uint8", scale=1 / 255),),
    classes=tuple("0123456789"),
)

_TEST_PER_CLASS = 34
_CLOUD_PER_CLASS = 20
_FAVOUR = 9
"""How much likelier an image of an edge's favourite class comes to it than to an edge that does not favour the class."""

_STRENGTHS = (1.0, 0.7, 1.2, 0.85, 1.1)
"""Of an environment at its first, second, ... edge."""

_FILES_PER_EDGE = 5


def edge_names(edges: int) -> tuple[str, ...]:
    """Names of the demo's edges: each environment's own, then numbered ones where environments repeat.

    Raises:
        InvalidInput: the images are not enough for so many edges, or there is no edge.
    """
    if not 1 <= edges <= MOST_EDGES:
        raise InvalidInput(f"The demo's digits are enough for 1 to {MOST_EDGES} edges, not {edges}. Choose a number of these.")
    names = list(ENVIRONMENTS)
    turns = (divmod(number, len(names)) for number in range(edges))
    return tuple(names[which] if turn == 0 else f"{names[which]}-{turn + 1}" for turn, which in turns)


def write_digits(folder: Path, edges: int = 4, seed: int = 0) -> None:
    """Lay out the digits as FOLDER/cloud, FOLDER/edges/<edge> and FOLDER/test/<environment>. Equal arguments give equal bytes.

    FOLDER/cloud is written last: where it is, all is there.

    Args:
        folder: Where to; it is made if need be.
        edges: Number of edges. They share the same images, so the more edges, the fewer samples each has.
        seed: Which images go where, and how each is seen there.

    Raises:
        InvalidInput: the images are not enough for so many edges, or there is no edge.
        StoreFailed: the disk does not take them.
    """
    names = edge_names(edges)
    images, labels = originals()
    images = images / 16 * 255
    random = numpy.random.default_rng(derived_seed(seed, "which digits go where"))
    test: list[int] = []
    cloud: list[int] = []
    rest: list[NDArray[numpy.intp]] = []
    for label in range(len(DATA.classes)):
        order = random.permutation(numpy.flatnonzero(labels == label))
        test += order[:_TEST_PER_CLASS].tolist()
        cloud += order[_TEST_PER_CLASS : _TEST_PER_CLASS + _CLOUD_PER_CLASS].tolist()
        rest.append(order[_TEST_PER_CLASS + _CLOUD_PER_CLASS :])

    def write(chosen: Sequence[int], place: Path, name: str, views: Sequence[tuple[str, float]]) -> None:
        records = []
        for number, index in enumerate(chosen):
            environment, strength = views[number % len(views)]
            chance = numpy.random.default_rng(derived_seed(seed, environment, index))
            image = images[index].round().astype(numpy.uint8)
            if environment != CLEAN:
                image = seen(environment, strength, images[index], chance)
            records.append(Record({"image": image[numpy.newaxis]}, int(labels[index])))
        write_records(records, place, DATA, name)

    views = _views(names)
    for name, chosen in zip(names, _shares(rest, edges, random), strict=True):
        for number, part in enumerate(numpy.array_split(random.permutation(chosen), _FILES_PER_EDGE), start=1):
            write(part.tolist(), folder / "edges" / name, f"shift-{number}", [views[name]])
    write(test, folder / "test" / CLEAN, "digits", [(CLEAN, 0.0)])
    for environment in {view[0]: None for view in views.values()}:
        # An environment with several edges is tested at each one's strength in turn.
        write(test, folder / "test" / environment, "digits", [view for view in views.values() if view[0] == environment])
    write(random.permutation(cloud).tolist(), folder / "cloud", "digits", [(CLEAN, 0.0)])


def originals() -> tuple[NDArray[numpy.float64], NDArray[numpy.int64]]:
    """All images as scikit-learn has them, [1797, 8, 8] from 0 to 16, and their labels, [1797]."""
    # The same file that sklearn.datasets.load_digits reads, without the seconds that importing scikit-learn takes.
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    with gzip.open(str(file), "rt") as lines:
        table = numpy.loadtxt(lines, delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(numpy.int64)


def _views(names: Sequence[str]) -> dict[str, tuple[str, float]]:
    """Environment and its strength, by edge."""
    kinds = list(ENVIRONMENTS)
    return {
        name: (kinds[number % len(kinds)], _STRENGTHS[number // len(kinds) % len(_STRENGTHS)])
        for number, name in enumerate(names)
    }


def _shares(by_class: Sequence[NDArray[numpy.intp]], edges: int, random: numpy.random.Generator) -> list[list[int]]:
    """Divide each class's images among the edges, unevenly: of two neighbours each favours the other half of the classes."""
    favour = numpy.ones((edges, len(by_class)))
    for edge in range(edges):
        if edge % 2 == 0:
            halves = numpy.array_split(random.permutation(len(by_class)), 2)
        favour[edge, halves[edge % 2]] = _FAVOUR
    shares: list[list[int]] = [[] for _ in range(edges)]
    for label, indices in enumerate(by_class):
        ends = (numpy.cumsum(favour[:, label]) / favour[:, label].sum() * len(indices)).round().astype(int)
        for share, part in zip(shares, numpy.split(indices, ends[:-1]), strict=True):
            share += part.tolist()
    return shares
