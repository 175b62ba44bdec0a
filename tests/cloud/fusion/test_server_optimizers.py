from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from cloudedge.errors import InvalidModel
from tests.cloud.fusion.fusing import Model, delivered, fused, numbers, tensor

OPTIMIZERS = ("fedavgm", "fedadam", "fedyogi")


def test_momentum_gathers_from_round_to_round(tmp_path: Path) -> None:
    parameters = {"momentum": 0.5, "learning_rate": 1}
    contributions = delivered(tmp_path, [numbers(2), numbers(4)])
    first = fused(tmp_path, numbers(1), contributions, "fedavgm", parameters, next_state=tmp_path / "1")
    # The average is 3, so the change and the speed are 2.
    assert first.model["w"].tolist() == [3]
    one, two = tmp_path / "1", tmp_path / "2"
    second = fused(tmp_path, first.model, delivered(tmp_path, [numbers(4)]), "fedavgm", parameters, state=one, next_state=two)
    # The change is 1, the speed 0.5 * 2 + 1 = 2.
    assert second.model["w"].tolist() == [5]
    assert load_file(two)["momentum.w"].tolist() == [2]


@pytest.mark.parametrize(("rule", "square"), [("fedadam", 0.5 * 0.25 + 0.5 * 4), ("fedyogi", 0.25 + 0.5 * 4)])
def test_an_adaptive_step_is_the_papers(tmp_path: Path, rule: str, square: float) -> None:
    parameters = {"beta_1": 0.5, "beta_2": 0.5, "learning_rate": 0.1, "adaptivity": 0.5}
    found = fused(tmp_path, numbers(1), delivered(tmp_path, [numbers(3)]), rule, parameters, next_state=tmp_path / "state")
    # The change is 2: the mean change 0.5 * 0 + 0.5 * 2 = 1, the mean square begins at adaptivity squared.
    assert found.model["w"][0] == pytest.approx(1 + 0.1 * 1 / (np.sqrt(square) + 0.5), rel=1e-6)
    state = load_file(tmp_path / "state")
    assert state["momentum.w"].tolist() == [1]
    assert state["variance.w"].tolist() == [square]


def test_yogi_lets_the_mean_square_fall_slowly(tmp_path: Path) -> None:
    parameters = {"beta_2": 0.9, "adaptivity": 1}
    fused(tmp_path, numbers(0), delivered(tmp_path, [numbers(0.5)]), "fedyogi", parameters, next_state=tmp_path / "state")
    assert load_file(tmp_path / "state")["variance.w"][0] == pytest.approx(1 - 0.1 * 0.25, rel=1e-6)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_normalisation_statistics_are_averaged_never_optimized(tmp_path: Path, rule: str) -> None:
    base = {"bn.running_var": tensor([1]), "bn.num_batches_tracked": tensor(5, np.int64), "w": tensor([0])}
    model = {"bn.running_var": tensor([0.25]), "bn.num_batches_tracked": tensor(9, np.int64), "w": tensor([1])}
    found = fused(
        tmp_path, base, delivered(tmp_path, [model, model]), rule, {"learning_rate": 50}, next_state=tmp_path / "state"
    )
    assert found.model["bn.running_var"].tolist() == [0.25]
    assert found.model["bn.num_batches_tracked"] == 9
    assert found.model["w"][0] > 1
    assert {name.partition(".")[2] for name in load_file(tmp_path / "state")} == {"w"}


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_the_average_is_by_samples_and_the_base_models_weight_shortens_the_step(tmp_path: Path, rule: str) -> None:
    contributions = delivered(tmp_path, [numbers(0), numbers(4)], samples=[1, 3])
    found = fused(tmp_path, numbers(1), contributions, rule, base_weight=0.2)
    assert found.outcome.base_weight == 0.2
    assert found.outcome.weights == pytest.approx((0.2, 0.6))


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_state_and_model_are_the_same_bytes_again(tmp_path: Path, rule: str) -> None:
    generator = np.random.default_rng(5)
    models: list[Model] = [
        {
            "w": generator.normal(size=300_000).astype(np.float32),
            "h": generator.normal(size=9).astype(np.float16),
            "d": generator.normal(size=9),
        }
        for _ in range(3)
    ]
    contributions = delivered(tmp_path, models)

    def two_rounds(name: str) -> tuple[bytes, bytes]:
        first, second = tmp_path / f"{name}-1", tmp_path / f"{name}-2"
        base = fused(tmp_path, models[0], contributions, rule, next_state=first).model
        last = fused(tmp_path, base, contributions, rule, state=first, next_state=second)
        return last.content, second.read_bytes()

    assert two_rounds("one") == two_rounds("other")


def test_the_state_of_another_model_is_refused(tmp_path: Path) -> None:
    fused(tmp_path, numbers(0, 0), delivered(tmp_path, [numbers(1, 1)]), "fedavgm", next_state=tmp_path / "state")
    with pytest.raises(InvalidModel, match="The optimizer's state state is another model"):
        fused(tmp_path, numbers(0), delivered(tmp_path, [numbers(1)]), "fedavgm", state=tmp_path / "state")


def test_an_optimizer_that_runs_away_is_stopped_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="NaN or infinity"):
        fused(
            tmp_path,
            numbers(0),
            delivered(tmp_path, [numbers(3e38)]),
            "fedavgm",
            {"learning_rate": 100},
            next_state=tmp_path / "state",
        )
    assert not (tmp_path / "state").exists()
    assert not (tmp_path / "fused.safetensors").exists()


def test_other_rules_write_no_state(tmp_path: Path) -> None:
    fused(tmp_path, numbers(0), delivered(tmp_path, [numbers(1)]), "samples", next_state=tmp_path / "state")
    assert not (tmp_path / "state").exists()
