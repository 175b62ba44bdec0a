"""A whole training, from images to the ONNX file."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from cloudedge.deployable.session import Session, judge
from cloudedge.documents.deployable import ImageForm, Lineage
from cloudedge.documents.inspection import (
    AnomalyModel,
    Augmentation,
    Callbacks,
    Classifier,
    FineTuning,
    InspectionTraining,
    Preprocessing,
    TrainingSet,
    ValidationSet,
)
from cloudedge.errors import InvalidModel, InvalidSamples
from cloudedge.inspection import backbone
from cloudedge.inspection.models import Extractor, Trunk
from cloudedge.inspection.training import Example, Step, Trained, auroc, train
from cloudedge.weights import save
from tests.cloudedge.inspection.parts import SIZE, Pixels, examples, hole, normal, smear, weights

NORMAL = 12


def asked(**changes: Any) -> InspectionTraining:
    return InspectionTraining(**{"brand": "plate", "height": SIZE, "width": SIZE, **changes})


@cache
def trained(method: str = "gaussian") -> Trained:
    settings = asked(anomaly=AnomalyModel.model_validate({"method": method, "patches": 200}))
    return train(examples("normal", NORMAL), settings, weights(), name="plate", seed=1, lineage=Lineage(run="run-1"))


@cache
def with_names() -> Trained:
    images = [*examples("normal", NORMAL), *examples("hole", 6), *examples("smear", 6)]
    settings = asked(classifier=Classifier(classes=("smear", "hole")))
    return train(images, settings, weights(), name="plate", seed=1, lineage=Lineage())


def opened(found: Trained, folder: Path) -> Session:
    (folder / "model.onnx").write_bytes(found.model)
    session = Session(folder / "model.onnx", found.deployable)
    session.warm_up()
    return session


@pytest.mark.parametrize("method", ["gaussian", "bank"])
def test_parts_with_faults_are_told_from_new_normal_ones(tmp_path: Path, method: str) -> None:
    session = opened(trained(method), tmp_path)
    good = [judge(session, normal(500 + number)) for number in range(10)]
    bad = [judge(session, draw(100 + number)) for number in range(5) for draw in (hole, smear)]
    assert auroc([found.score or 0 for found in good], [found.score or 0 for found in bad]) > 0.95
    assert sum(found.reject for found in good) <= 2
    assert sum(found.reject for found in bad) >= 8


@pytest.mark.parametrize("method", ["gaussian", "bank"])
def test_the_map_is_hottest_where_the_fault_is(tmp_path: Path, method: str) -> None:
    session = opened(trained(method), tmp_path)
    for number in range(3):
        image = normal(700 + number)
        image[40:52, 12:24] = 255
        heat = judge(session, image).map
        assert heat is not None
        assert heat.shape == (SIZE, SIZE)
        y, x = np.unravel_index(heat.argmax(), heat.shape)
        assert 34 <= y <= 58
        assert 6 <= x <= 30


@pytest.mark.parametrize("method", ["gaussian", "bank"])
def test_new_crops_are_rarely_rejected_although_those_learned_from_overlap(tmp_path: Path, method: str) -> None:
    size, chance = 96, np.random.default_rng(0)
    photograph = Image.fromarray(data.brick())  # type: ignore[no-untyped-call]
    whole = np.asarray(photograph.resize((2 * size, 2 * size), Image.Resampling.BOX))

    def crop(half: int) -> Pixels:
        """As wide as a half: sixteen of them show each place some eight times."""
        top, left = int(chance.integers(0, size + 1)), half * size
        seen = np.repeat(whole[top : top + size, left : left + size, np.newaxis], 3, 2)
        return seen + chance.integers(0, 4, (size, size, 1)).astype(np.uint8)

    found = train(
        [Example(image, "normal", hashlib.sha256(image.tobytes()).hexdigest()) for image in (crop(0) for _ in range(16))],
        asked(height=size, width=size, anomaly=AnomalyModel.model_validate({"method": method, "patches": 500})),
        weights(), name="brick", seed=1, lineage=Lineage(),
    )  # fmt: skip
    session = opened(found, tmp_path)
    assert np.mean([judge(session, crop(1)).reject for _ in range(30)]) <= 0.1
    scratched = [crop(1) for _ in range(10)]
    for image in scratched:
        image[40:44, 20:70] = 250
    assert np.mean([judge(session, image).reject for image in scratched]) >= 0.8


def test_few_normal_images_are_all_learned_from_and_each_is_judged_without_itself() -> None:
    assert trained().deployable.lineage.samples == NORMAL
    assert trained().figures["held_out"] == NORMAL
    settings = asked(validation_set=ValidationSet(augmentation=Augmentation(brightness=0.3, copies=1)))
    varied = train(examples("normal", NORMAL), settings, weights(), name="plate", seed=1, lineage=Lineage())
    assert varied.figures["held_out"] == 2 * NORMAL
    assert varied.threshold > trained().threshold


def test_of_many_normal_images_some_are_held_out() -> None:
    found = train(examples("normal", 72), asked(), weights(), name="plate", seed=1, lineage=Lineage())
    assert (found.deployable.lineage.samples, found.figures["held_out"]) == (54, 18)


def test_the_same_images_in_any_order_give_the_same_bytes_and_other_seeds_others() -> None:
    again = train(examples("normal", NORMAL)[::-1], asked(), weights(), name="plate", seed=1, lineage=Lineage(run="run-1"))
    assert again == trained()
    other = train(examples("normal", NORMAL), asked(), weights(), name="plate", seed=2, lineage=Lineage(run="run-1"))
    assert other.model != again.model


def test_a_batch_is_judged_as_its_images_are_one_by_one(tmp_path: Path) -> None:
    session = opened(trained(), tmp_path)
    images = np.stack([hole(number) for number in range(5)])
    together = session.infer({"image": images})
    alone = [session.infer({"image": image[np.newaxis]}) for image in images]
    assert np.allclose(together["score"], [found["score"][0] for found in alone], rtol=1e-4)
    assert np.allclose(together["map"], np.concatenate([found["map"] for found in alone]), rtol=1e-3, atol=1e-4)


def test_defects_are_named(tmp_path: Path) -> None:
    session = opened(with_names(), tmp_path)
    assert with_names().deployable.classes == ("smear", "hole")
    assert [judge(session, hole(200 + number)).defect for number in range(4)] == ["hole"] * 4
    assert [judge(session, smear(200 + number)).defect for number in range(4)] == ["smear"] * 4
    assert judge(session, normal(800)).defect == ""
    assert with_names().figures["recall"] == 1
    assert with_names().figures["auroc"] == 1


def test_the_backbone_learns_where_asked_and_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    images = [*examples("normal", NORMAL), *examples("hole", 4), *examples("smear", 4)]
    settings = asked(classifier=Classifier(classes=("hole", "smear"), iterations=3), fine_tuning=FineTuning(stages=3))
    first, second = (train(images, settings, weights(), name="plate", seed=1, lineage=Lineage()) for _ in range(2))
    assert first == second
    session = opened(first, tmp_path)
    assert judge(session, hole(300)).reject
    assert len(first.model) > len(with_names().model)  # All stages are in it.


def test_progress_accuracy_and_loss_are_told_at_the_start_of_each_batch_and_never_go_back() -> None:
    steps: list[Step] = []
    images = [*examples("normal", NORMAL), *examples("hole", 4)]
    settings = asked(classifier=Classifier(classes=("hole",), iterations=4, batch_size=2))
    train(images, settings, weights(), name="plate", seed=1, lineage=Lineage(), on_batch=steps.append)
    assert [step.batch for step in steps] == list(range(steps[0].batches + 1))
    assert {step.batches for step in steps} == {steps[-1].batch}
    assert (steps[0].accuracy, steps[0].loss) == (None, None)
    assert all(step.accuracy is not None and step.loss is not None for step in steps[1:])


def test_a_training_that_stops_early_says_that_it_is_done() -> None:
    steps: list[Step] = []
    images = [*examples("normal", NORMAL), *examples("hole", 4), *examples("smear", 4)]
    settings = asked(
        classifier=Classifier(classes=("hole", "smear"), iterations=1000, learning_rate=1e-9),
        callbacks=Callbacks(stop_after=2, slow_down_after=1),
    )
    train(images, settings, weights(), name="plate", seed=1, lineage=Lineage(), on_batch=steps.append)
    assert len(steps) < 100
    assert steps[-1].batch == steps[-1].batches >= 1000
    assert [step.batch for step in steps] == sorted({step.batch for step in steps})


def test_too_few_normal_images_and_a_class_without_images_are_refused_with_the_numbers() -> None:
    with pytest.raises(InvalidSamples, match="There are 7 normal images of the brand 'plate'; training needs 8 or more"):
        train(examples("normal", 7), asked(), weights(), name="plate", seed=1, lineage=Lineage())
    settings = asked(classifier=Classifier(classes=("hole",)))
    with pytest.raises(InvalidSamples, match="fewer than 2 images of the defect 'hole' .*; there are 9 of 'normal'"):
        train(examples("normal", 9), settings, weights(), name="plate", seed=1, lineage=Lineage())


def test_images_are_varied_as_asked() -> None:
    steps: list[Step] = []
    varied = TrainingSet(
        augmentation=Augmentation(flip_horizontal=True, rotate_degrees=10, shift=0.1, brightness=0.2, copies=2)
    )
    train(
        examples("normal", NORMAL), asked(training_set=varied), weights(), name="plate", seed=1, lineage=Lineage(),
        on_batch=steps.append,
    )  # fmt: skip
    assert steps[-1].batches == NORMAL * 4 / 4  # Mirrored and twice varied, four a batch.


@pytest.mark.parametrize("size", [(64, 64), (70, 97)])
@pytest.mark.parametrize("colour", ["rgb", "gray"])
def test_the_graph_computes_what_the_network_does(size: tuple[int, int], colour: str) -> None:
    values = backbone.read(weights())
    preprocessing = Preprocessing.model_validate({"colour": colour})
    trunk = Trunk(ImageForm(height=size[0], width=size[1]), preprocessing, values, (3,))
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    if colour == "gray":
        planes = (planes * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    mean, std = (torch.tensor(each)[:, None, None] for each in (preprocessing.mean, preprocessing.std))
    with torch.no_grad():
        network = backbone.built(values).eval()
        wanted = network.before((planes - mean) / std, 4), network((planes - mean) / std).mean((2, 3))
    extractor = Extractor(trunk, 1, deep=True)
    assert np.allclose(extractor.features(images), wanted[0].numpy(), atol=1e-3)
    assert np.allclose(extractor.averages(images), wanted[1].numpy(), atol=1e-3)


def test_weights_that_are_not_the_backbones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save({"_conv_stem.weight": torch.zeros(3)}, path)
    with pytest.raises(InvalidModel, match="is another model than expected"):
        backbone.check_backbone(path)
    state = {name: torch.from_numpy(values.copy()) for name, values in backbone.read(weights()).items()}
    state["_bn0.bias"][0] = torch.nan
    save(state, path)
    with pytest.raises(InvalidModel, match="holds NaN or infinity"):
        backbone.check_backbone(path)
