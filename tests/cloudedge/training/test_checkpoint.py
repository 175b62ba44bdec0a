"""Training that is interrupted anywhere goes on to the very same model."""

import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from cloudedge.documents import EpochRecord
from cloudedge.errors import StoreFailed
from cloudedge.training import Outcome, Progress, evaluate, train, use_threads
from cloudedge.weights import read_header
from tests.cloudedge.training.problems import network, same, samples, settings, without_seconds

TRAINING, HELD_OUT = samples(30), samples(15, seed=1)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    use_threads(1)


class Kill(BaseException):
    """Ends training as a signal would: between two batches, with nothing tidied up."""


def killed_at(moments: list[int]) -> Any:
    """A watcher that kills at each of these batches, counted over all attempts."""
    left = iter(sorted(moments))
    state = {"next": next(left, None), "count": 0}

    def watch(step: Progress) -> None:
        state["count"] += 1  # type: ignore[operator]
        if state["count"] == state["next"]:
            state["next"] = next(left, None)
            raise Kill

    return watch


def until_done(checkpoint: Path, watch: Any, **changes: Any) -> Outcome:
    while True:
        try:
            return train(network(), TRAINING, HELD_OUT, settings(**changes), 7, checkpoint=checkpoint, on_batch=watch)
        except Kill:
            continue


@examples(max_examples=40)
@given(
    moments=st.lists(st.integers(1, 40), max_size=4, unique=True),
    optimizer=st.sampled_from(["sgd", "momentum", "adam", "adamw"]),
    target=st.sampled_from([0.0, 0.75, 1.0]),
    proximal=st.sampled_from([0.0, 0.1]),
)
def test_training_killed_anywhere_gives_the_same_bytes(
    moments: list[int], optimizer: str, target: float, proximal: float
) -> None:
    changes = {"optimizer": optimizer, "target_accuracy": target, "proximal": proximal, "weight_decay": 0.01}
    undisturbed = train(network(), TRAINING, HELD_OUT, settings(**changes), 7)
    with TemporaryDirectory() as folder:
        assert same(until_done(Path(folder) / "checkpoint", killed_at(moments), **changes), undisturbed)


def test_finished_epochs_are_not_trained_again(tmp_path: Path) -> None:
    told: list[int] = []

    def watch(step: Progress) -> None:
        told.append(step.epoch)
        if len(told) == 12:
            raise Kill

    outcome = until_done(tmp_path / "checkpoint", watch)
    assert len(outcome.history) == 5
    # Five calls an epoch; killed in the third, which is begun again.
    assert told == [1] * 5 + [2] * 5 + [3] * 2 + [3] * 5 + [4] * 5


def test_finished_training_gives_its_result_again_without_training(tmp_path: Path) -> None:
    for target in (0.0, 0.75, 1.0):
        first = until_done(tmp_path / str(target), None, target_accuracy=target)
        told: list[Progress] = []
        assert same(until_done(tmp_path / str(target), told.append, target_accuracy=target), first)
        assert told == []


def test_epochs_of_a_checkpoint_are_told_again_so_that_none_is_missed(tmp_path: Path) -> None:
    told: list[int] = []

    def watch(record: EpochRecord) -> None:
        told.append(record.epoch)
        if told == [0, 1, 2]:
            raise Kill

    for _ in range(2):
        try:
            train(network(), TRAINING, HELD_OUT, settings(), 7, checkpoint=tmp_path / "checkpoint", on_epoch=watch)
        except Kill:
            continue
    assert told == [0, 1, 2, 0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "changes", [{"learning_rate": 0.01}, {"optimizer": "adam"}, {"batch_size": 4}, {"target_accuracy": 0.99}]
)
def test_a_checkpoint_of_other_settings_is_not_used(changes: dict[str, Any], tmp_path: Path) -> None:
    until_done(tmp_path / "checkpoint", None)
    expected = train(network(), TRAINING, HELD_OUT, settings(**changes), 7)
    assert same(until_done(tmp_path / "checkpoint", None, **changes), expected)


def test_a_checkpoint_of_another_seed_or_another_received_model_is_not_used(tmp_path: Path) -> None:
    until_done(tmp_path / "checkpoint", None)
    for model, seed in ((0, 8), (1, 7)):
        expected = train(network(model), TRAINING, HELD_OUT, settings(), seed)
        found = train(network(model), TRAINING, HELD_OUT, settings(), seed, checkpoint=tmp_path / "checkpoint")
        assert same(found, expected)


@examples(max_examples=20)
@given(place=st.floats(0, 1), garbage=st.binary(max_size=10))
def test_a_checkpoint_that_is_cut_off_is_not_used(place: float, garbage: bytes) -> None:
    expected = train(network(), TRAINING, HELD_OUT, settings(), 7)
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        until_done(checkpoint, None)
        content = checkpoint.read_bytes()
        checkpoint.write_bytes(content[: int(place * (len(content) - 20))] + garbage)
        assert same(until_done(checkpoint, None), expected)


def test_a_checkpoint_is_safetensors(tmp_path: Path) -> None:
    until_done(tmp_path / "checkpoint", None, optimizer="adam", target_accuracy=1.0)
    names = read_header(tmp_path / "checkpoint").tensors
    parameters = network().state_dict()
    assert set(names) == {"history"} | {
        f"{part}.{name}"
        for part in ("model", "best", "optimizer.mean", "optimizer.square", "optimizer.steps")
        for name in parameters
    }


def test_a_checkpoint_that_cannot_be_written_ends_training_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFailed, match="checkpoint"):
        until_done(tmp_path / "file" / "checkpoint", None)


def test_training_goes_on_with_further_samples_where_it_ended(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    wanted = settings(target_accuracy=1.0)
    first = train(network(), TRAINING, HELD_OUT, wanted, 7, checkpoint=checkpoint)
    kept = copy.deepcopy(first.state)
    told: list[int] = []
    more, more_held_out = samples(60, seed=5), samples(25, seed=6)
    second = train(
        network(),
        more,
        more_held_out,
        wanted,
        7,
        checkpoint=checkpoint,
        extra_epochs=4,
        on_batch=lambda step: told.append(step.epoch),
    )
    assert without_seconds(second.history)[:5] == without_seconds(first.history)
    assert [record.epoch for record in second.history] == list(range(9))
    assert set(told) == {5, 6, 7, 8}
    best = max(record.scores.accuracy for record in second.history[5:])
    model = network()
    model.load_state_dict(kept)
    model_before = evaluate(model, more_held_out).accuracy
    model.load_state_dict(second.state)
    # The earlier best competes on the new held-out samples, not with its score on the old ones.
    assert evaluate(model, more_held_out).accuracy == max(best, model_before)


@examples(max_examples=15)
@given(moments=st.lists(st.integers(1, 30), max_size=3, unique=True))
def test_going_on_with_further_samples_may_be_killed_anywhere_too(moments: list[int]) -> None:
    wanted = settings(target_accuracy=1.0)
    more, more_held_out = samples(40, seed=5), samples(25, seed=6)

    def both(checkpoint: Path, watch: Any) -> Outcome:
        train(network(), TRAINING, HELD_OUT, wanted, 7, checkpoint=checkpoint)
        while True:
            try:
                return train(network(), more, more_held_out, wanted, 7, checkpoint=checkpoint, extra_epochs=4, on_batch=watch)
            except Kill:
                continue

    with TemporaryDirectory() as folder:
        undisturbed = both(Path(folder) / "one", None)
        assert same(both(Path(folder) / "two", killed_at(moments)), undisturbed)


def test_a_single_batch_normalised_model_resumes_with_its_statistics(tmp_path: Path) -> None:
    def make() -> torch.nn.Module:
        model = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 3))
        with torch.no_grad():
            for number, parameter in enumerate(model.parameters()):
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape) / (number + 1))
        return model

    watch = killed_at([7])
    expected = train(make(), TRAINING, HELD_OUT, settings(), 7)
    with pytest.raises(Kill):
        train(make(), TRAINING, HELD_OUT, settings(), 7, checkpoint=tmp_path / "checkpoint", on_batch=watch)
    assert same(train(make(), TRAINING, HELD_OUT, settings(), 7, checkpoint=tmp_path / "checkpoint"), expected)
