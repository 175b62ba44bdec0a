import ast
import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from cloud.fusion import rules
from cloud.fusion.rule import rule_names
from cloudedge.errors import InvalidInput
from tests.cloud.fusion.fusing import Model, delivered, fused, numbers, tensor

PARAMETERS = {"given": {"weights": {f"edge-{i}": i + 1 for i in range(7)}}}
"""What rules need that cannot do without."""


def score_of_first(path: Path) -> float:
    """As if a model were the better the nearer its first number is to 0."""
    return -abs(float(load_file(path)["w"][0]))


def test_the_rules_that_the_documents_name_are_there() -> None:
    averaging = {"samples", "uniform", "accuracy", "given", "greedy", "krum"}
    others = {"median", "trimmed-mean", "fedavgm", "fedadam", "fedyogi"}
    assert set(rule_names()) >= averaging | others


@pytest.mark.parametrize("rule", rule_names())
def test_every_rule_cites_its_source_on_top(rule: str) -> None:
    module = importlib.import_module(f"{rules.__name__}.{rule.replace('-', '_')}")
    source = ast.get_docstring(ast.parse(Path(str(module.__file__)).read_text()))
    assert re.search(r"\b(19|20)\d\d\b", source or "")


@pytest.mark.parametrize("rule", rule_names())
def test_every_rule_leaves_models_that_learned_nothing_as_they_are(tmp_path: Path, rule: str) -> None:
    base: Model = {"w": np.random.default_rng(0).normal(size=100).astype(np.float32), "n": tensor(3, np.int64)}
    found = fused(tmp_path, base, delivered(tmp_path, [base] * 7), rule, PARAMETERS.get(rule), score=score_of_first)
    np.testing.assert_allclose(found.model["w"], base["w"], rtol=1e-5)
    assert found.model["n"] == 3


@pytest.mark.parametrize("rule", rule_names())
def test_every_rule_gives_the_same_bytes_again_in_whatever_order(tmp_path: Path, rule: str) -> None:
    generator = np.random.default_rng(1)
    models: list[Model] = [
        {"w": generator.normal(size=1000).astype(np.float32), "b": generator.normal(size=3).astype(np.float16)}
        for _ in range(7)
    ]
    contributions = delivered(tmp_path, models, samples=range(1, 8), accuracy=[0.1 * i for i in range(1, 8)])
    one, other = (
        fused(tmp_path, models[0], some, rule, PARAMETERS.get(rule), base_weight=0.25, score=score_of_first)
        for some in (contributions, contributions[::-1])
    )
    assert one.content == other.content
    assert one.outcome.weights == other.outcome.weights[::-1]


def test_an_unknown_rule_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no fusion rule 'sample'. There are: accuracy, fedadam, .*, uniform."):
        fused(tmp_path, numbers(0), delivered(tmp_path, [numbers(1)]), "sample")


@pytest.mark.parametrize(
    ("rule", "parameters", "reason"),
    [
        ("samples", {"trim": 1}, "trim: no such field"),
        ("given", {}, "weights: missing"),
        ("given", {"weights": {"edge-0": -1}}, "weights.edge-0: found -1"),
        ("given", {"weights": {"edge-1": 1}}, "no weight for edge-0"),
        ("given", {"weights": {"edge-0": 0}}, "weight 0 for every edge that takes part: give one of edge-0"),
        ("trimmed-mean", {"trim": 0.5}, "trim: found 0.5; give less than 0.5"),
        ("trimmed-mean", {"trim": 0.4}, "leaves out 1 of 1 models at either end"),
        ("krum", {"malicious": -1}, "malicious: found -1"),
        ("krum", {"malicious": 1}, "needs 5 models to withstand 1 malicious ones; 1 came"),
        ("fedadam", {"learning_rate": 0}, "learning_rate: found 0"),
        ("greedy", {}, "tries candidates on held-out samples, and there are none here"),
    ],
)
def test_what_a_rule_cannot_use_is_named_with_the_remedy(
    tmp_path: Path, rule: str, parameters: dict[str, object], reason: str
) -> None:
    with pytest.raises(InvalidInput, match=reason):
        fused(tmp_path, numbers(0), delivered(tmp_path, [numbers(1)]), rule, parameters)
    assert not (tmp_path / "fused.safetensors").exists()


def test_a_new_file_is_a_new_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "first_only.py").write_text(
        "from cloud.fusion.rule import Averaging, NoSetting\n"
        "RULE = Averaging(lambda candidates, _: [1.0] + [0.0] * (len(candidates.contributions) - 1), NoSetting)\n"
    )
    monkeypatch.setattr(rules, "__path__", [*rules.__path__, str(tmp_path)])
    assert "first-only" in rule_names()
    found = fused(tmp_path, numbers(0), delivered(tmp_path, [numbers(1), numbers(2)]), "first-only")
    assert found.model["w"].tolist() == [1]


def test_weights_by_samples_need_a_sample(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="every edge reported 0. Use the rule 'uniform'"):
        fused(tmp_path, numbers(0), delivered(tmp_path, [numbers(1)], samples=[0]))


def test_uniform_gives_all_the_same_weight(tmp_path: Path) -> None:
    found = fused(tmp_path, numbers(0), delivered(tmp_path, [numbers(2), numbers(6)], samples=[100, 0]), "uniform")
    assert found.model["w"].tolist() == [4]


def test_accuracy_weighs_by_what_each_edge_measured(tmp_path: Path) -> None:
    models = [numbers(4), numbers(8), numbers(100)]
    found = fused(tmp_path, numbers(0), delivered(tmp_path, models, accuracy=[0.75, 0.25, 0]), "accuracy")
    assert found.model["w"].tolist() == [5]
    assert list(found.outcome.weights) == [0.75, 0.25, 0]


def test_accuracies_of_zero_give_no_weights(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="every edge reported 0"):
        fused(tmp_path, numbers(0), delivered(tmp_path, [numbers(1)], accuracy=[0]), "accuracy")


def test_given_weights_count_by_proportion_and_absent_edges_do_not_matter(tmp_path: Path) -> None:
    parameters = {"weights": {"edge-0": 1, "edge-1": 3, "edge-of-another-round": 5}}
    found = fused(tmp_path, numbers(0), delivered(tmp_path, [numbers(4), numbers(8)]), "given", parameters)
    assert found.model["w"].tolist() == [7]
    assert list(found.outcome.weights) == [0.25, 0.75]


@pytest.mark.parametrize(
    ("accuracy", "weights"), [([0.75, 0.25, None], [0.5, 1 / 6, 1 / 3]), ([None, None, None], [1 / 3, 1 / 3, 1 / 3])]
)
def test_accuracy_takes_a_model_that_nobody_could_measure_for_an_average_one(
    tmp_path: Path, accuracy: list[float | None], weights: list[float]
) -> None:
    found = fused(tmp_path, numbers(0), delivered(tmp_path, [numbers(1)] * 3, accuracy=accuracy), "accuracy")
    assert found.outcome.weights == pytest.approx(weights)


def test_greedy_takes_the_models_that_do_not_lower_accuracy(tmp_path: Path) -> None:
    # Tried by their own accuracy: 2 is nearer to 0 than the base 9; (2 - 1) / 2 too; with 30 it would become worse.
    models = [numbers(30), numbers(-1), numbers(2)]
    contributions = delivered(tmp_path, models, accuracy=[0.7, 0.8, 0.9])
    found = fused(tmp_path, numbers(9), contributions, "greedy", score=score_of_first)
    assert found.model["w"].tolist() == [0.5]
    assert list(found.outcome.weights) == [0, 0.5, 0.5]


def test_greedy_keeps_the_base_model_when_nobody_is_better(tmp_path: Path) -> None:
    found = fused(tmp_path, numbers(1), delivered(tmp_path, [numbers(5), numbers(-7)]), "greedy", score=score_of_first)
    assert found.model["w"].tolist() == [1]
    assert found.outcome.base_weight == 1
    assert list(found.outcome.weights) == [0, 0]
    assert found.outcome.notes == ("No model is better than the base model by the rule 'greedy': it stays as it is.",)


def test_greedy_leaves_no_candidate_behind(tmp_path: Path) -> None:
    contributions = delivered(tmp_path, [numbers(5), numbers(2)])
    before = set(tmp_path.iterdir())
    fused(tmp_path, numbers(9), contributions, "greedy", score=score_of_first)
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"base.safetensors", "fused.safetensors"}


@pytest.mark.parametrize(("values", "median"), [([9, 1, 2], 2), ([9, 1, 2, 4], 3), ([5], 5), ([1e30, 1, 2, 3, -1e30], 2)])
def test_the_median_is_taken_of_each_number(tmp_path: Path, values: list[float], median: float) -> None:
    models = [numbers(value, -value) for value in values]
    found = fused(tmp_path, numbers(0, 0), delivered(tmp_path, models), "median")
    assert found.model["w"].tolist() == [median, -median]
    assert list(found.outcome.weights) == [1] * len(values)


def test_a_robust_rule_mixes_with_the_base_model_by_its_weight(tmp_path: Path) -> None:
    found = fused(tmp_path, numbers(0), delivered(tmp_path, [numbers(i) for i in (4, 5, 99)]), "median", base_weight=0.2)
    assert found.model["w"].tolist() == [4]


def test_a_robust_rule_takes_integers_from_the_model_with_most_samples(tmp_path: Path) -> None:
    models = [{"w": tensor([0]), "n": tensor(number, np.int64)} for number in (10, 20, 30)]
    found = fused(tmp_path, models[0], delivered(tmp_path, models, samples=[1, 9, 2]), "median")
    assert found.model["n"] == 20


@pytest.mark.parametrize(("trim", "mean"), [(0, 25), (0.1, 22 / 3), (0.2, 22 / 3), (0.21, 8), (0.4, 8)])
def test_the_trimmed_mean_leaves_out_both_ends(tmp_path: Path, trim: float, mean: float) -> None:
    models = [numbers(value) for value in (100, 8, 4, 3, 10)]
    found = fused(tmp_path, numbers(0), delivered(tmp_path, models), "trimmed-mean", {"trim": trim})
    assert found.model["w"][0] == pytest.approx(mean, rel=1e-6)


def test_krum_takes_the_model_in_the_midst_of_the_others(tmp_path: Path) -> None:
    models = [numbers(1.0, 0), numbers(1.2, 0), numbers(0.9, 0), numbers(1.05, 0), numbers(500, -500)]
    found = fused(tmp_path, numbers(0, 0), delivered(tmp_path, models), "krum", {"malicious": 1})
    assert list(found.outcome.weights) == [1, 0, 0, 0, 0]
    assert found.model["w"].tolist() == [1, 0]


def test_krum_measures_over_all_tensors_and_blocks(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    near = [{"a": generator.normal(size=700_000).astype(np.float32), "b": tensor([0, 0])} for _ in range(4)]
    # Nearest by the large tensor, far away by the small one.
    liar = {"a": np.zeros(700_000, np.float32), "b": tensor([1e4, 0])}
    found = fused(tmp_path, near[0], delivered(tmp_path, [liar, *near]), "krum", {"malicious": 1})
    assert found.outcome.weights[0] == 0
    assert sum(found.outcome.weights) == 1
