"""What is normal, as numbers: a normal distribution of features, or a bounded bank of them.

Defard et al., "PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and Localization", ICPR 2021, and Roth et
al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022 (PatchCore), with four changes for few images:

- All places share one covariance, and a place has a mean of its own only as far as the images say so: it is shrunk towards the
  mean over all places by empirical Bayes. A part that always lies in the same way has its places told apart, and a texture does
  not.
- Directions in feature space are weighted by how far drawn faults (`faults`) move features along them, against how far they
  vary by themselves: z² λ/(1+λ) is the likelihood ratio of "normal" and "normal, moved by a fault", λ being the variance of
  that movement in units of the normal one. So directions that say nothing, of which there are many and whose variance few
  images tell badly, do not drown those that do.
- Stages whose features are of about the same size are a group, with a distribution of its own; a place's distance is the sum
  over the groups, each in units of its mean over images that were not learned from. Features of larger size vary as one thing
  over many places, so that few images tell their covariance worst, and what is normal is farthest there: all in one
  distribution, that drowned the rest on chaotic textures.
- Borders are padded by repetition (in `graph`): zeros would be an anomaly of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float32]
"""Of shape (images, channels, rows, columns)."""

_Numbers = npt.NDArray[np.float64]

Groups = Sequence[slice]
"""Channels of each group, of all of them, in their order."""

DIRECTIONS = 32
"""Directions in the feature space of a group that are looked at."""

_SHRINKAGE = 0.01
"""Of the covariance towards its diagonal: it stays invertible with few images."""

_COVERED = 0.25
"""Share of a place that a drawn fault covers, from which on the place counts as faulty."""

_LEFT_OUT = 0.4
"""Share of all images that is left out when one is judged. On crops of textures that overlap nearly whole, a quarter was too
little (a third of the new ones was rejected), and a half costs recall and spares nothing."""

_CANDIDATES = 8_000
"""Patches that a bank is chosen from."""


@dataclass(frozen=True)
class Normal:
    """What is normal.

    A place's distance from it is the squared length of `projection` times (features - `mean`), or where there is a bank, the
    squared distance of that to the nearest of it.

    Attributes:
        mean: Of shape (channels, rows, columns).
        projection: Of shape (directions, channels).
        bank: Patches, projected, of shape (patches, directions); none: the distance is from the mean.
    """

    mean: npt.NDArray[np.float32]
    projection: npt.NDArray[np.float32]
    bank: npt.NDArray[np.float32] | None = None

    def distances(self, features: Features) -> npt.NDArray[np.float32]:
        """Squared distance of each place, of shape (images, rows, columns)."""
        if self.bank is None:
            own: npt.NDArray[np.float32] = self.squares(features).sum(-1)
            return own
        moved = self.moved(features)
        flat = moved.reshape(-1, moved.shape[-1])
        found = (np.square(flat).sum(1)[:, np.newaxis] + np.square(self.bank).sum(1)) - 2 * flat @ self.bank.T
        nearest: npt.NDArray[np.float32] = np.maximum(found.min(1), 0).reshape(moved.shape[:-1]).astype(np.float32)
        return nearest

    def squares(self, features: Features) -> npt.NDArray[np.float32]:
        """Squared distance of each place from the mean by directions, of shape (images, rows, columns, directions)."""
        return np.square(self.moved(features))

    def moved(self, features: Features) -> npt.NDArray[np.float32]:
        """Projected differences of each place from the mean, of shape (images, rows, columns, directions)."""
        found: npt.NDArray[np.float32] = (np.moveaxis(features - self.mean, 1, -1) @ self.projection.T).astype(
            np.float32, copy=False
        )
        return found

    def scaled(self, factors: npt.NDArray[np.float64]) -> "Normal":
        """The same with the squared distance multiplied, in each direction by a factor of its own, or in all by one.

        Args:
            factors: Of shape (directions) or (1).
        """
        roots = np.sqrt(factors).astype(np.float32)
        return Normal(self.mean, self.projection * roots[:, np.newaxis], None if self.bank is None else self.bank * roots)


class Moments:
    """Sums over images, so that these need not all be kept.

    Attributes:
        images: Number of images.
        sums: Sum of features over images, of shape (channels, rows, columns).
        products: Sum of their products over images and places, of shape (channels, channels).
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Begin with no image.

        Args:
            shape: Channels, rows and columns of features.
        """
        self.images = 0
        self.sums: _Numbers = np.zeros(shape)
        self.products: _Numbers = np.zeros((shape[0], shape[0]))

    def add(self, features: Features) -> None:
        """Add images."""
        self.images += len(features)
        self.sums += features.sum(0, dtype=np.float64)
        flat = np.moveaxis(features, 1, -1).reshape(-1, features.shape[1]).astype(np.float64)
        self.products += flat.T @ flat

    def without(self, others: "Moments") -> "Moments":
        """The sums over all images but some of them."""
        left = Moments(self.sums.shape)
        left.images = self.images - others.images
        left.sums, left.products = self.sums - others.sums, self.products - others.products
        return left

    def mean(self) -> _Numbers:
        """Mean of each place, (channels, rows, columns), as far as the places' means differ more than by chance."""
        means = self.sums / self.images
        overall = means.mean((1, 2), keepdims=True)
        total = np.diag(self.products) / (self.images * means[0].size) - np.square(overall[:, 0, 0])
        between = np.square(means - overall).mean((1, 2))
        # What is left of an image's variance when its place is known; the means' own variance by chance is that over images.
        chance = np.maximum(total - between, 0) / max(self.images - 1, 1)
        share = np.maximum(between - chance, 0) / np.maximum(between, 1e-12)
        moved: _Numbers = overall + share[:, np.newaxis, np.newaxis] * (means - overall)
        return moved

    def covariance(self, mean: _Numbers) -> _Numbers:
        """Covariance about the places' means, (channels, channels), shrunk."""
        places = mean[0].size
        flat, sums = mean.reshape(len(mean), -1), self.sums.reshape(len(mean), -1)
        crossed = sums @ flat.T
        found = (self.products - crossed - crossed.T + self.images * flat @ flat.T) / (self.images * places)
        diagonal = np.diag(np.diag(found))
        floor = 1e-6 * np.diag(found).mean() + 1e-12
        shrunk: _Numbers = (1 - _SHRINKAGE) * found + _SHRINKAGE * diagonal + floor * np.eye(len(found))
        return shrunk


class Movements:
    """How drawn faults move features."""

    def __init__(self, channels: int) -> None:
        """Begin with none."""
        self._count = 0
        self._products: _Numbers = np.zeros((channels, channels))

    def add(self, before: Features, after: Features, covers: npt.NDArray[np.float32]) -> None:
        """Add images before and after a fault was drawn into each.

        Args:
            before: Features without.
            after: Features with it.
            covers: How much of each place is covered, of shape (images, rows, columns).
        """
        moved = np.moveaxis(after - before, 1, -1)[covers > _COVERED].astype(np.float64)
        self._count += len(moved)
        self._products += moved.T @ moved

    def covariance(self) -> _Numbers:
        """Second moment of the movements, (channels, channels)."""
        found: _Numbers = self._products / max(self._count, 1)
        return found


def fitted(moments: Moments, movements: Movements, groups: Groups) -> Normal:
    """The normal distribution of features in each group, in the directions in which faults show."""
    mean = moments.mean()
    normal, moved = moments.covariance(mean), movements.covariance()
    projection = np.zeros((len(directions_in(groups)), len(mean)))
    done = 0
    for group in groups:
        found = _projected(normal[group, group], moved[group, group])
        projection[done : done + len(found), group] = found
        done += len(found)
    return Normal(mean.astype(np.float32), projection.astype(np.float32))


def directions_in(groups: Groups) -> npt.NDArray[np.int64]:
    """The group of each direction."""
    sizes = [min(DIRECTIONS, group.stop - group.start) for group in groups]
    return np.repeat(np.arange(len(groups)), sizes)


def by_group(squares: npt.NDArray[np.float32], groups: Groups) -> npt.NDArray[np.float32]:
    """Distance of each place in each group, of shape (images, rows, columns, groups).

    Args:
        squares: As `Normal.squares` gives them.
        groups: The groups.
    """
    begins = np.flatnonzero(np.diff(directions_in(groups), prepend=-1))
    found: npt.NDArray[np.float32] = np.add.reduceat(squares, begins, axis=-1)
    return found


def alike(averages: _Numbers) -> list[npt.NDArray[np.int64]]:
    """For each image: itself and those most like it, which are left out together when it is judged.

    Images that overlap, or show the same piece twice, tell more of each other than of the next one: judged by what was learned
    from its like, an image looks more normal than a new one will. So its like is left out with it, as is done for measurements
    that lie near each other: Roberts et al., "Cross-validation strategies for data with temporal, spatial, hierarchical, or
    phylogenetic structure", Ecography 2017.

    Args:
        averages: Each image's features averaged over its places, of shape (images, channels), of two images or more.
    """
    scaled = (averages - averages.mean(0)) / np.maximum(averages.std(0), 1e-12)
    count = min(max(1, round(_LEFT_OUT * len(scaled))), len(scaled) - 1)
    found = []
    for number, own in enumerate(scaled):
        apart = np.square(scaled - own).sum(1)
        apart[number] = -1
        found.append(np.argsort(apart, kind="stable")[:count])
    return found


def _projected(covariance: _Numbers, movements: _Numbers) -> _Numbers:
    """Directions, each as long as it counts, of shape (directions, channels)."""
    whitening = np.linalg.inv(np.linalg.cholesky(covariance))
    strengths, directions = np.linalg.eigh(whitening @ movements @ whitening.T)
    strengths, directions = np.maximum(strengths[::-1], 0)[:DIRECTIONS], directions[:, ::-1][:, :DIRECTIONS]
    found: _Numbers = np.sqrt(strengths / (1 + strengths))[:, np.newaxis] * (directions.T @ whitening)
    # An eigenvector's sign is chance.
    signs = np.where(found[np.arange(len(found)), np.abs(found).argmax(1)] < 0, -1, 1)
    return found * signs[:, np.newaxis]


class Patches(NamedTuple):
    """Places of normal images.

    Attributes:
        features: Of shape (patches, channels).
        images: The number of the image that each is of.
        rows: Where in it.
        columns: Likewise.
    """

    features: npt.NDArray[np.float32]
    images: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]

    def of(self, images: npt.NDArray[np.bool_]) -> "Patches":
        """Those of some images."""
        kept = images[self.images]
        return Patches(self.features[kept], self.images[kept], self.rows[kept], self.columns[kept])


def chosen(normal: Normal, features: Features, patches: int, chance: np.random.Generator) -> Patches:
    """Choose patches: each next one is the one farthest from those chosen before (greedy k-center).

    Args:
        normal: What is normal.
        features: Of normal images.
        patches: At most so many.
        chance: Chooses among more patches than can be looked at.
    """
    moved = normal.moved(features).reshape(-1, len(normal.projection))
    looked_at = np.arange(len(moved))
    if len(moved) > _CANDIDATES:
        looked_at = np.sort(chance.choice(len(moved), _CANDIDATES, replace=False))
        moved = moved[looked_at]
    found = [int(np.square(moved).sum(1).argmin())]
    nearest = np.full(len(moved), np.inf, np.float32)
    while len(found) < min(patches, len(moved)):
        nearest = np.minimum(nearest, np.square(moved - moved[found[-1]]).sum(1))
        if (farthest := int(nearest.argmax())) in found[-1:] or nearest[farthest] == 0:
            break
        found.append(farthest)
    images, rows, columns = np.unravel_index(looked_at[found], (len(features), *features.shape[2:]))
    return Patches(features[images, :, rows, columns], images, rows, columns)


def with_bank(normal: Normal, patches: Patches) -> Normal:
    """The same with a bank of patches."""
    moved = (patches.features - normal.mean[:, patches.rows, patches.columns].T) @ normal.projection.T
    return Normal(normal.mean, normal.projection, moved.astype(np.float32))


def scores(distances: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Score of each image: the mean of its largest distances.

    Args:
        distances: Of shape (images, rows, columns).
    """
    flat = distances.reshape(len(distances), -1)
    count = counted(flat.shape[1])
    largest: npt.NDArray[Any] = np.partition(flat, flat.shape[1] - count, axis=1)[:, -count:]
    means: npt.NDArray[np.float32] = largest.mean(1).astype(np.float32)
    return means


def counted(places: int) -> int:
    """Number of places whose distances make an image's score."""
    return max(1, round(places * 0.03))
