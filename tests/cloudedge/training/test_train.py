"""Training: what it learns, when it ends, what it tells."""

import copy
import math
import subprocess
import sys

import pytest
import torch

from cloudedge.data import Samples
from cloudedge.documents import EpochRecord
from cloudedge.errors import InvalidSamples, WorkFailed
from cloudedge.training import Progress, evaluate, train, use_threads
from tests.cloudedge.training.problems import network, same, same_state, samples, settings

TRAINING, HELD_OUT = samples(60), samples(30, seed=1)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    use_threads(1)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
@pytest.mark.parametrize("loss", ["cross-entropy", "label-smoothing", "focal", "mse"])
def test_every_optimizer_learns_with_every_loss(optimizer: str, loss: str) -> None:
    rate = {"sgd": 0.5, "momentum": 0.1, "adam": 0.01, "adamw": 0.01}[optimizer]
    outcome = train(
        network(width=32, dropout=0),
        samples(200),
        samples(200, seed=1),
        settings(optimizer=optimizer, loss=loss, epochs=15, learning_rate=rate),
        seed=0,
    )
    assert outcome.history[-1].scores.accuracy >= 0.75 > outcome.history[0].scores.accuracy
    assert outcome.history[-1].scores.loss < outcome.history[0].scores.loss


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    one, again, other = (train(network(), TRAINING, HELD_OUT, settings(), seed) for seed in (1, 1, 2))
    assert same(one, again)
    assert not same_state(one.state, other.state)


def test_training_neither_reads_nor_disturbs_the_global_random_state() -> None:
    torch.manual_seed(1)
    one = train(network(), TRAINING, HELD_OUT, settings(), seed=0)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    assert same(one, train(network(), TRAINING, HELD_OUT, settings(), seed=0))


def test_the_history_begins_with_the_model_before_training() -> None:
    outcome = train(network(), TRAINING, HELD_OUT, settings(epochs=3), seed=0)
    assert [record.epoch for record in outcome.history] == [0, 1, 2, 3]
    assert outcome.history[0].train_loss is None
    assert outcome.history[0].scores == evaluate(network(), HELD_OUT)
    assert all(record.train_loss is not None for record in outcome.history[1:])
    assert outcome.target_met


def test_without_a_target_the_last_model_is_the_result() -> None:
    model = network()
    outcome = train(model, TRAINING, HELD_OUT, settings(), seed=0)
    assert same_state(outcome.state, model.state_dict())


def test_training_ends_with_the_model_that_reaches_the_target() -> None:
    states: list[dict[str, torch.Tensor]] = []

    model = network()

    def keep(record: EpochRecord) -> None:
        states.append(copy.deepcopy(model.state_dict()))

    outcome = train(model, TRAINING, HELD_OUT, settings(epochs=50, target_accuracy=0.8), seed=0, on_epoch=keep)
    accuracies = [record.scores.accuracy for record in outcome.history]
    assert 1 < len(accuracies) < 50
    assert all(accuracy < 0.8 for accuracy in accuracies[:-1])
    assert accuracies[-1] >= 0.8
    assert outcome.target_met
    assert same_state(outcome.state, states[-1])


def test_a_model_that_is_good_enough_already_is_not_trained() -> None:
    model = network()
    outcome = train(model, TRAINING, HELD_OUT, settings(target_accuracy=0.01), seed=0)
    assert len(outcome.history) == 1
    assert same_state(outcome.state, network().state_dict())
    assert outcome.target_met


@pytest.mark.parametrize("rate", [0.01, 1.5])
def test_below_target_the_best_model_is_the_result(rate: float) -> None:
    states: list[dict[str, torch.Tensor]] = []

    model = network()

    def keep(record: EpochRecord) -> None:
        states.append(copy.deepcopy(model.state_dict()))

    outcome = train(
        model, TRAINING, HELD_OUT, settings(epochs=8, learning_rate=rate, target_accuracy=1.0), seed=0, on_epoch=keep
    )
    assert not outcome.target_met
    scores = [(record.scores.accuracy, -record.scores.loss) for record in outcome.history]
    assert same_state(outcome.state, states[scores.index(max(scores))])


def test_without_held_out_samples_no_target_is_met_and_the_last_model_is_the_result() -> None:
    model = network()
    outcome = train(model, TRAINING, samples(0), settings(target_accuracy=0.1), seed=0)
    assert not outcome.target_met
    assert len(outcome.history) == 5
    assert same_state(outcome.state, model.state_dict())


def test_an_epoch_takes_every_sample_once_in_an_order_of_its_own() -> None:
    seen: list[torch.Tensor] = []
    model = network(dropout=0)
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()) if module.training else None)
    train(model, TRAINING, samples(0), settings(epochs=2, batch_size=16), seed=0)
    assert [len(batch) for batch in seen] == [16, 16, 16, 12] * 2
    first, second = torch.cat(seen[:4]), torch.cat(seen[4:])
    assert not torch.equal(first, second)
    for epoch in (first, second):
        assert sorted(map(tuple, epoch.tolist())) == sorted(map(tuple, TRAINING.inputs.tolist()))


def test_a_sample_left_over_joins_the_batch_before_so_that_batch_normalisation_can_take_it() -> None:
    progress: list[Progress] = []
    model = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 3))
    train(model, samples(17), HELD_OUT, settings(epochs=1, batch_size=8), seed=0, on_batch=progress.append)
    assert [(step.batch, step.batches) for step in progress] == [(0, 2), (1, 2), (2, 2)]


def test_progress_is_told_as_each_epoch_begins_and_after_each_batch() -> None:
    told: list[Progress] = []
    outcome = train(network(), samples(20), HELD_OUT, settings(epochs=2), seed=0, extra_epochs=1, on_batch=told.append)
    assert [step[:4] for step in told] == [(epoch, 3, batch, 3) for epoch in (1, 2, 3) for batch in (0, 1, 2, 3)]
    assert all((step.loss is None) == (step.batch == 0) for step in told)
    losses = [step.loss for step in told if step.epoch == 1 and step.loss is not None]
    assert outcome.history[1].train_loss == pytest.approx((8 * losses[0] + 8 * losses[1] + 4 * losses[2]) / 20)


def test_watching_does_not_change_what_is_learned() -> None:
    watched = train(network(), TRAINING, HELD_OUT, settings(), seed=0, on_batch=lambda step: None, on_epoch=lambda record: None)
    assert same(watched, train(network(), TRAINING, HELD_OUT, settings(), seed=0))


def test_what_a_watcher_raises_ends_training() -> None:
    def stop(step: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(network(), TRAINING, HELD_OUT, settings(), seed=0, on_batch=stop)


def test_the_proximal_term_pulls_towards_the_received_model() -> None:
    received = network().state_dict()

    def distance(proximal: float) -> float:
        state = train(network(), TRAINING, HELD_OUT, settings(optimizer="sgd", proximal=proximal), seed=0).state
        return math.sqrt(sum(float((state[name] - received[name]).square().sum()) for name in received))

    assert distance(0) > 1.5 * distance(1) > 1.5 * distance(10)


def test_the_proximal_term_is_half_the_factor_times_the_squared_distance() -> None:
    model = network(dropout=0)
    expected = copy.deepcopy(model)
    received = [parameter.detach().clone() for parameter in expected.parameters()]
    batch = Samples(TRAINING.inputs[:8], TRAINING.labels[:8])
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(expected(batch.inputs), batch.labels)
        for parameter, start in zip(expected.parameters(), received, strict=True):
            loss = loss + 3.0 / 2 * (parameter - start).square().sum()
        gradients = torch.autograd.grad(loss, list(expected.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(expected.parameters(), gradients, strict=True):
                parameter.sub_(gradient, alpha=0.05)
    state = train(model, batch, HELD_OUT, settings(optimizer="sgd", proximal=3.0, epochs=3), seed=0).state
    for name, parameter in expected.state_dict().items():
        torch.testing.assert_close(state[name], parameter)


def test_frozen_parameters_stay_as_they_are() -> None:
    model = network()
    next(model.parameters()).requires_grad_(False)
    outcome = train(model, TRAINING, HELD_OUT, settings(weight_decay=0.1, proximal=0.1), seed=0)
    changed = [name for name, tensor in network().state_dict().items() if not torch.equal(tensor, outcome.state[name])]
    assert changed == ["hidden_1.bias", "output.weight", "output.bias"]


def test_training_that_diverges_fails_with_epoch_and_learning_rate() -> None:
    with pytest.raises(
        WorkFailed, match=r"diverged in epoch \d+: the loss is .* at the learning rate 100\.0\. Choose a smaller"
    ):
        train(network(), TRAINING, HELD_OUT, settings(learning_rate=100, loss="mse", epochs=100), seed=0)


def test_a_model_that_does_not_fit_the_samples_fails_with_the_reason() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(7, 3))
    with pytest.raises(WorkFailed, match=r"broke in epoch 1, batch 1: .*shapes"):
        train(model, TRAINING, samples(0), settings(), seed=0)


def test_training_on_nothing_is_refused() -> None:
    with pytest.raises(InvalidSamples, match="no samples to train on"):
        train(network(), samples(0), HELD_OUT, settings(), seed=0)


def test_a_child_process_trains_without_importing_the_compiler() -> None:
    """It takes seconds on a small processor, and an edge starts a process for every order."""
    code = (
        "import sys\n"
        "from cloudedge.training import train, use_threads\n"
        "from tests.cloudedge.training.problems import network, samples, settings\n"
        "use_threads(1)\n"
        "train(network(), samples(20), samples(10), settings(epochs=1), 0)\n"
        "print([name for name in ('torch._dynamo', 'torch._inductor') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
