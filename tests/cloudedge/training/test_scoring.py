"""Scores, against numbers worked out by hand."""

import math

import pytest
import torch

from cloudedge.data import Samples
from cloudedge.documents import Scores
from cloudedge.training import evaluate
from tests.cloudedge.training.problems import network, samples


def predicting(*classes: int) -> tuple[torch.nn.Module, torch.Tensor]:
    """A model, and inputs upon which it predicts these classes of three."""
    return torch.nn.Identity(), torch.nn.functional.one_hot(torch.tensor(classes, dtype=torch.int64), 3).float()


def test_accuracy_counts_samples_and_recall_counts_classes() -> None:
    model, inputs = predicting(0, 0, 0, 0, 1, 0)
    scores = evaluate(model, Samples(inputs, torch.tensor([0, 0, 0, 0, 1, 1])))
    right, wrong = -math.log(math.e / (math.e + 2)), -math.log(1 / (math.e + 2))
    assert (scores.samples, scores.accuracy, scores.recall) == (6, 5 / 6, (1 + 0.5) / 2)
    assert scores.loss == pytest.approx((5 * right + wrong) / 6)


def test_a_single_class_has_its_own_recall() -> None:
    model, inputs = predicting(2, 0, 2)
    assert evaluate(model, Samples(inputs, torch.tensor([2, 2, 2]))).recall == 2 / 3


def test_a_class_that_is_never_predicted_has_no_recall() -> None:
    model, inputs = predicting(0, 0)
    scores = evaluate(model, Samples(inputs, torch.tensor([2, 2])))
    assert (scores.accuracy, scores.recall) == (0, 0)


def test_no_samples_score_nothing() -> None:
    assert evaluate(network(), samples(0)) == Scores(samples=0, loss=0, accuracy=0, recall=0)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("cross-entropy", -math.log(math.e / (math.e + 2))),
        ("label-smoothing", -0.9 * math.log(math.e / (math.e + 2)) - 0.1 * (1 / 3 - math.log(math.e + 2))),
        ("focal", -((1 - math.e / (math.e + 2)) ** 2) * math.log(math.e / (math.e + 2))),
        ("mse", 0.0),
    ],
)
def test_each_loss_is_its_formula(loss: str, expected: float) -> None:
    model, inputs = predicting(1)
    assert evaluate(model, Samples(inputs, torch.tensor([1])), loss).loss == pytest.approx(expected, abs=1e-6)


def test_batches_do_not_change_the_scores_and_dropout_is_off() -> None:
    whole, parts = (evaluate(network(), samples(50), batch_size=size) for size in (512, 7))
    assert whole.accuracy == parts.accuracy
    assert whole.recall == parts.recall
    assert whole.loss == pytest.approx(parts.loss)


@pytest.mark.parametrize(("shape", "most"), [((1, 28, 28), 512), ((3, 128, 128), 10), ((3, 1000, 1000), 1)])
def test_of_large_images_fewer_are_computed_at_once_so_that_measuring_takes_no_more_memory_than_learning(
    shape: tuple[int, ...], most: int
) -> None:
    seen: list[int] = []

    class Counting(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            seen.append(len(inputs))
            return torch.zeros(len(inputs), 2)

    count = 2 * most + 1
    images = torch.zeros(1, *shape).expand(count, *shape)
    evaluate(Counting(), Samples(images, torch.zeros(count, dtype=torch.int64)))
    assert seen == [most, most, 1]
