"""A whole training for inspection: from images with labels to the ONNX file that is deployed, and its manifest."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cloudedge import __version__
from cloudedge.documents.deployable import Deployable, ImageForm, Lineage, Tensor
from cloudedge.documents.inspection import NORMAL, InspectionTraining
from cloudedge.errors import InvalidSamples
from cloudedge.inspection import backbone, faults, naming
from cloudedge.inspection.anomaly import (
    Features,
    Moments,
    Movements,
    Normal,
    alike,
    by_group,
    chosen,
    directions_in,
    fitted,
    scores,
    with_bank,
)
from cloudedge.inspection.augmenting import varied
from cloudedge.inspection.graph import Weights, grid
from cloudedge.inspection.images import Pixels
from cloudedge.inspection.models import Extractor, Naming, Trunk, pooled, whole
from cloudedge.inspection.naming import Labelled
from cloudedge.inspection.thresholds import threshold
from cloudedge.seeds import derived_seed
from cloudedge.training import use_threads

STAGES = (0, 1, 2, 3, 5)
"""Whose features are used where the task does not say: small forms by the first ones, and what they belong to by the last. The
fourth ends at the same size as the fifth, and says less."""

_AT_ONCE = 4
"""Normal images a batch."""

_MOST_FAULTS = 256
_FAULTS_EACH = 4

_MOST_ALONE = 64
"""Normal images up to which all are learned from, and each is judged by what was learned without it; of more, some are held out
from all learning."""

_MOST_KEPT = 2**26
"""Numbers of features of these in all, for the same."""

_MOST_BANKED = 64
"""Images that a bank is chosen from."""


@dataclass(frozen=True)
class Example:
    """An image to learn from.

    Attributes:
        pixels: uint8 of shape (height, width, 3), as `images.prepared` gives it.
        label: 'normal', or a defect's name.
        sha256: Digest of its file; decides, with the seed, whether it is held out.
    """

    pixels: Pixels
    label: str
    sha256: str


@dataclass
class _Seen:
    """What is left of normal images once all were looked at.

    Attributes:
        moments: Of all images.
        movements: How faults that were drawn into them move features.
        alone: Moments of each example with its variations; none: there are too many, and some are held out.
        originals: Features of each of these examples, of shape (channels, rows, columns).
        banked: Features that a bank is chosen from.
        sources: The number of the example that each of them is of.
    """

    moments: Moments
    movements: Movements
    alone: list[Moments]
    originals: list[Features]
    banked: list[Features]
    sources: list[int]


@dataclass(frozen=True)
class Step:
    """How far a training has come, told at the start of each batch.

    Attributes:
        batch: Number of batches before this one.
        batches: Number of all.
        accuracy: Of what is learned, as last measured; none: it was not yet.
        loss: Likewise.
    """

    batch: int
    batches: int
    accuracy: float | None
    loss: float | None


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        model: The ONNX file.
        deployable: Its manifest.
        threshold: Score above which a part is rejected.
        figures: What was measured on held-out images, by name.
    """

    model: bytes
    deployable: Deployable
    threshold: float
    figures: Mapping[str, float]


def train(
    examples: Sequence[Example],
    asked: InspectionTraining,
    weights: Path,
    *,
    name: str,
    seed: int,
    lineage: Lineage,
    on_batch: Callable[[Step], None] = lambda _: None,
) -> Trained:
    """Train.

    Args:
        examples: Images with their labels, in any order: the same ones give the same bytes.
        asked: How.
        weights: The backbone's, a safetensors file.
        name: Name of the model.
        seed: All randomness follows from it.
        lineage: What is known of where the model comes from; images and software are filled in.
        on_batch: Told at the start of each batch.

    Raises:
        InvalidSamples: too few are normal, or a class has no image.
        InvalidModel: the weights are not the backbone's.
        Diverged: the classifier's loss is no number any more.
        NotFound: there is no file of weights.
        StoreFailed: it cannot be read.
    """
    use_threads(asked.threads)
    return _Training(sorted(examples, key=lambda each: (each.label, each.sha256)), asked, weights, name, seed, on_batch).run(
        lineage
    )


class _Training:
    def __init__(
        self,
        examples: Sequence[Example],
        asked: InspectionTraining,
        weights: Path,
        name: str,
        seed: int,
        on_batch: Callable[[Step], None],
    ) -> None:
        self._asked, self._name, self._seed, self._on_batch = asked, name, seed, on_batch
        values = backbone.read(weights)
        self._form = ImageForm(height=asked.height, width=asked.width)
        self._examples = examples
        by_label: dict[str, list[Example]] = {}
        for each in examples:
            by_label.setdefault(each.label, []).append(each)
        require(asked, {label: len(found) for label, found in by_label.items()})
        self._parts = {label: self._split(found) for label, found in by_label.items()}
        self._defects = sorted(by_label.keys() - {NORMAL})
        self._classes = asked.classifier.classes
        stages = tuple(sorted(set(asked.anomaly.stages or STAGES)))
        self._trunk = Trunk(self._form, asked.preprocessing, values, stages)
        self._deep = bool(asked.fine_tuning.stages and self._classes)
        normal = by_label[NORMAL]
        kept = len(normal) * int(np.prod(self._trunk.shape))
        # A backbone that learned knows the images that it learned from.
        self._alone = len(normal) <= _MOST_ALONE and kept <= _MOST_KEPT and not self._deep
        if self._alone:
            self._parts[NORMAL] = (normal, [])
        self._batch = 0
        self._accuracy: float | None = None
        self._loss: float | None = None
        chance = self._chance("augmentation")
        pairs = [
            (number, image)
            for number, each in enumerate(self._parts[NORMAL][0])
            for image in varied(each.pixels, asked.training_set.augmentation, chance)
        ]
        self._sources, self._normal = [number for number, _ in pairs], [image for _, image in pairs]
        self._batches = self._count()

    def run(self, lineage: Lineage) -> Trained:
        """Train, and say what came of it."""
        asked = self._asked
        if self._deep:
            self._trunk = replace(self._trunk, weights=self._tuned())
        trunk, deep = self._trunk, self._deep
        extractor = Extractor(trunk, asked.threads, deep=deep)
        normal, known = self._learned(extractor)
        scale = 1 / max(float(np.median(known)), 1e-12)
        normal = normal.scaled(np.array([scale]))
        known = [score * scale for score in known]
        defect_scores = {label: self._scored(extractor, normal, self._defect_images(label)) for label in self._defects}
        bad = [score for found in defect_scores.values() for score in found]
        limit = float(np.float32(threshold(known, bad, asked.anomaly.quantile)))
        named = self._named(extractor, normal, deep) if self._classes else None
        content = whole(trunk, normal, named)
        self._tell(last=True)
        figures = self._figures(known, defect_scores, limit)
        return Trained(content, self._manifest(content, limit, lineage), limit, figures)

    def _split(self, examples: list[Example]) -> tuple[list[Example], list[Example]]:
        """Examples of one label: to learn from, and held out; which ones does not depend on their order."""
        ranked = sorted(examples, key=lambda each: hashlib.sha256(f"{self._seed}:{each.sha256}".encode()).hexdigest())
        count = min(max(1, round(len(ranked) * self._asked.validation_set.share)), len(ranked) - 1)
        held_out, training = ranked[:count], ranked[count:]
        return training, held_out[: self._asked.validation_set.most_images]

    def _chance(self, *purpose: object) -> np.random.Generator:
        return np.random.default_rng(derived_seed(self._seed, "inspection", *purpose))

    def _defect_images(self, label: str) -> list[Pixels]:
        """Images of a defect that nothing was learned from: all, unless the backbone learned from some."""
        training, held_out = self._parts[label]
        learned = self._asked.fine_tuning.stages and label in self._classes and held_out
        return [each.pixels for each in (held_out if learned else [*training, *held_out])]

    def _count(self) -> int:
        """Number of batches of the whole training."""
        batches = -(-len(self._normal) // _AT_ONCE)
        if self._classes:
            size, iterations = self._asked.classifier.batch_size, self._asked.classifier.iterations
            defects = sum(len(self._varied_defects(label)) for label in self._classes)
            batches += iterations * -(-defects // size)
            if self._asked.fine_tuning.stages:
                batches += iterations * -(-(defects + len(self._normal)) // size)
        return batches

    def _tell(self, *, last: bool = False) -> None:
        if last:
            self._batch = self._batches
        self._on_batch(Step(self._batch, self._batches, self._accuracy, self._loss))
        self._batch += 1

    def _told(self, accuracy: float | None, loss: float | None) -> None:
        self._accuracy = self._accuracy if accuracy is None else accuracy
        self._loss = self._loss if loss is None else loss
        self._tell()

    def _learned(self, extractor: Extractor) -> tuple[Normal, list[float]]:
        """What is normal, and scores of normal images by what was learned without them."""
        groups = self._trunk.groups
        seen = self._seen(extractor)
        parts = np.concatenate(
            [by_group(learned.squares(features), groups) for features, learned, _ in self._judged_apart(seen, extractor)]
        )
        factors = 1 / np.maximum(parts.mean((0, 1, 2), dtype=np.float64), 1e-12)
        by_direction = factors[directions_in(groups)]
        normal = fitted(seen.moments, seen.movements, groups).scaled(by_direction)
        if self._asked.anomaly.method == "gaussian":
            return normal, scores((parts * factors).sum(-1)).tolist()
        patches = chosen(normal, np.stack(seen.banked), self._asked.anomaly.patches, self._chance("bank"))
        patches = patches._replace(images=np.asarray(seen.sources)[patches.images])
        known: list[float] = []
        for features, learned, left in self._judged_apart(seen, extractor):
            others = patches.of(left)
            banked = with_bank(learned.scaled(by_direction), others if len(others.features) else patches)
            known += scores(banked.distances(features)).tolist()
        return with_bank(normal, patches), known

    def _seen(self, extractor: Extractor) -> _Seen:
        """Look at all normal images that are learned from."""
        images, shape = self._normal, self._trunk.shape
        alone = [Moments(shape) for _ in self._parts[NORMAL][0]] if self._alone else []
        seen = _Seen(Moments(shape), Movements(shape[0]), alone, [], [], [])
        each = min(_FAULTS_EACH, max(1, _MOST_FAULTS // len(images)))
        chance = self._chance("faults")
        learned: Normal | None = None
        for begin in range(0, len(images), _AT_ONCE):
            self._tell()
            batch, sources = images[begin : begin + _AT_ONCE], self._sources[begin : begin + _AT_ONCE]
            features = extractor.features(np.stack(batch))
            if begin * each < _MOST_FAULTS:
                before, after, covers = self._faulty(extractor, batch, features, each, chance)
                seen.movements.add(before, after, covers)
                if learned is not None:
                    self._measure(learned, features, before, after)
            seen.moments.add(features)
            for source, own in zip(sources, features, strict=True):
                if self._alone:
                    if seen.alone[source].images == 0:  # An example comes before its variations.
                        seen.originals.append(own)
                    seen.alone[source].add(own[np.newaxis])
                if self._asked.anomaly.method == "bank" and len(seen.banked) < _MOST_BANKED:
                    seen.banked.append(own)
                    seen.sources.append(source)
            number = begin // _AT_ONCE + 1
            if number & (number - 1) == 0:  # Learned so far, after 1, 2, 4, ... batches: to tell how well.
                first, learned = learned is None, fitted(seen.moments, seen.movements, self._trunk.groups)
                if first:
                    self._measure(learned, features, before, after)
        return seen

    def _judged_apart(self, seen: _Seen, extractor: Extractor) -> Iterator[tuple[Features, Normal, npt.NDArray[np.bool_]]]:
        """Features of normal images, what was learned without these, and which examples that was learned from."""
        asked, chance = self._asked.validation_set, self._chance("validation", NORMAL)
        groups = self._trunk.groups
        everything = np.ones(len(self._parts[NORMAL][0]), np.bool_)
        if not self._alone:
            learned = fitted(seen.moments, seen.movements, groups)
            images = [image for each in self._parts[NORMAL][1] for image in varied(each.pixels, asked.augmentation, chance)]
            for begin in range(0, len(images), _AT_ONCE):
                yield extractor.features(np.stack(images[begin : begin + _AT_ONCE])), learned, everything
            return
        averages = np.stack([own.mean((1, 2), dtype=np.float64) for own in seen.originals])
        for number, left_out in enumerate(alike(averages)[: asked.most_images]):
            moments, left = seen.moments, everything.copy()
            for other in left_out:
                moments = moments.without(seen.alone[other])
                left[other] = False
            features = seen.originals[number][np.newaxis]
            pixels = self._parts[NORMAL][0][number].pixels
            if variations := [*varied(pixels, asked.augmentation, chance)][1:]:
                features = np.concatenate([features, extractor.features(np.stack(variations))])
            yield features, fitted(moments, seen.movements, groups), left

    def _measure(self, learned: Normal, features: Features, before: Features, after: Features) -> None:
        """How well what was learned so far tells a batch: the share of drawn faults that raise a score, and the mean score."""
        self._loss = float(scores(learned.distances(features)).mean()) / len(learned.projection)
        self._accuracy = float((scores(learned.distances(after)) > scores(learned.distances(before))).mean())

    def _faulty(
        self,
        extractor: Extractor,
        batch: list[Pixels],
        features: Features,
        each: int,
        chance: np.random.Generator,
    ) -> tuple[Features, Features, npt.NDArray[np.float32]]:
        """Features of a batch before and after faults were drawn into its images, and how much of each place these cover."""
        places = [place for place in range(len(batch)) for _ in range(each)]
        drawn = [faults.drawn(batch[place], batch[int(chance.integers(len(batch)))], chance) for place in places]
        covers = np.stack([_on_grid(fault.cover, grid(self._form)) for fault in drawn])
        return features[places], extractor.features(np.stack([fault.pixels for fault in drawn])), covers

    def _scored(self, extractor: Extractor, normal: Normal, images: list[Pixels]) -> list[float]:
        found: list[float] = []
        for begin in range(0, len(images), _AT_ONCE):
            features = extractor.features(np.stack(images[begin : begin + _AT_ONCE]))
            found += [float(score) for score in scores(normal.distances(features))]
        return found

    def _varied_defects(self, label: str) -> list[Pixels]:
        chance = self._chance("augmentation", label)
        return [
            image
            for each in self._parts[label][0]
            for image in varied(each.pixels, self._asked.training_set.augmentation, chance)
        ]

    def _labelled(self, images: Mapping[str, list[Pixels]]) -> tuple[list[Pixels], npt.NDArray[np.int64]]:
        """Images with the numbers of their classes, in the order of the classes given."""
        labels = [number for number, found in enumerate(images.values()) for _ in found]
        return [image for found in images.values() for image in found], np.asarray(labels, np.int64)

    def _named(self, extractor: Extractor, normal: Normal, deep: bool) -> Naming:
        def samples(images: Mapping[str, list[Pixels]]) -> Labelled:
            pixels, labels = self._labelled(images)
            parts = []
            for begin in range(0, len(pixels), _AT_ONCE):
                batch = np.stack(pixels[begin : begin + _AT_ONCE])
                features = extractor.features(batch)
                found = pooled(features, normal.distances(features))
                parts.append(np.concatenate([found, extractor.averages(batch)], 1) if deep else found)
            return Labelled(np.concatenate(parts) if parts else np.zeros((0, 1), np.float32), labels)

        training = samples({label: self._varied_defects(label) for label in self._classes})
        held_out = samples({label: [each.pixels for each in self._parts[label][1]] for label in self._classes})
        found = naming.classifier(
            training,
            held_out,
            self._asked.classifier,
            self._asked.callbacks,
            len(self._classes),
            derived_seed(self._seed, "classifier"),
            self._told,
        )
        return replace(found, deep=deep)

    def _tuned(self) -> Weights:
        """The backbone's weights, its last stages having learned to tell the classes and what is normal apart."""
        training = {label: self._varied_defects(label) for label in self._classes} | {NORMAL: self._normal}
        held_out = {label: [each.pixels for each in self._parts[label][1]] for label in (*self._classes, NORMAL)}
        pixels, labels = self._labelled(training)
        held_out_pixels, held_out_labels = self._labelled(held_out)
        return naming.fine_tuned(
            self._trunk.weights,
            Labelled(np.stack(pixels), labels),
            Labelled(np.stack(held_out_pixels), held_out_labels),
            self._asked.classifier,
            self._asked.fine_tuning,
            self._asked.preprocessing,
            self._asked.callbacks,
            len(self._classes) + 1,
            derived_seed(self._seed, "fine-tuning"),
            self._told,
        )

    def _figures(self, known: list[float], defects: Mapping[str, list[float]], limit: float) -> dict[str, float]:
        bad = [score for found in defects.values() for score in found]
        right = sum(score <= limit for score in known) + sum(score > limit for score in bad)
        figures = {
            "held_out": float(len(known)),
            "false_rejects": sum(score > limit for score in known) / len(known),
            "accuracy": right / (len(known) + len(bad)),
            "score_median": float(np.median(known)),
            "score_largest": max(known),
        }
        if bad:
            figures["auroc"] = auroc(known, bad)
            figures["recall"] = float(np.mean([np.mean([score > limit for score in found]) for found in defects.values()]))
        if self._classes and self._accuracy is not None:
            figures["naming_accuracy"] = self._accuracy
        return figures

    def _manifest(self, content: bytes, limit: float, lineage: Lineage) -> Deployable:
        height, width = self._form.height, self._form.width
        outputs = [
            Tensor(name="score", datatype="FP32", shape=(-1,)),
            Tensor(name="map", datatype="FP32", shape=(-1, height, width)),
        ]
        if self._classes:
            outputs.append(Tensor(name="probabilities", datatype="FP32", shape=(-1, len(self._classes))))
        digests = "".join(f"{each.label}:{each.sha256}\n" for each in self._examples)
        known = {
            "data_fingerprint": hashlib.sha256(digests.encode()).hexdigest(),
            "samples": sum(len(training) for training, _ in self._parts.values()),
            "software": __version__,
        }
        return Deployable(
            name=self._name,
            brand=self._asked.brand,
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            inputs=(Tensor(name="image", datatype="UINT8", shape=(-1, height, width, 3)),),
            outputs=tuple(outputs),
            image=self._form,
            classes=self._classes,
            threshold=limit,
            lineage=lineage.model_copy(update=known),
        )


def require(asked: InspectionTraining, found: Mapping[str, int]) -> None:
    """Make sure that there are images enough.

    Args:
        asked: What they are for.
        found: Number of images of each label.

    Raises:
        InvalidSamples: there are not; says how many there are of what.
    """
    normal, least = found.get(NORMAL, 0), asked.gathering.least_images
    if normal < least:
        raise InvalidSamples(
            f"There are {normal} normal images of the brand {asked.brand!r}; training needs {least} or more. Have "
            f"detectors take some with 'cloudedge-edge detectors teach', or put files into {asked.brand}/{NORMAL} below the "
            "samples folder."
        )
    missing = [name for name in asked.classifier.classes if found.get(name, 0) < 2]
    if missing:
        there = ", ".join(f"{count} of {name!r}" for name, count in sorted(found.items())) or "none"
        raise InvalidSamples(
            f"There are fewer than 2 images of the defect {missing[0]!r} of the brand {asked.brand!r}; there are {there}. "
            "Label some, or take it out of the classifier's classes."
        )


def auroc(normal: npt.ArrayLike, defects: npt.ArrayLike) -> float:
    """Area under the ROC curve: how likely a defect's score is above a normal one's, equal ones counting half."""
    ranked = np.sort(np.asarray(normal, np.float64))
    values = np.asarray(defects, np.float64)
    below, upto = np.searchsorted(ranked, values, side="left"), np.searchsorted(ranked, values, side="right")
    return float((below + upto).mean() / 2 / len(ranked))


def _on_grid(cover: faults.Cover, places: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Share of each place that is covered."""
    rows, columns = places
    padded = np.zeros((rows * 8, columns * 8), np.float32)
    padded[: cover.shape[0], : cover.shape[1]] = cover
    shares: npt.NDArray[np.float32] = padded.reshape(rows, 8, columns, 8).mean((1, 3))
    return shares
