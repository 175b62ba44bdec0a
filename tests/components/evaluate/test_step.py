"""Evaluation: the edges judge the fused model, and the regression gate goes by what they say."""

import io
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cloud.tracking import TrackingLog
from cloudedge.documents import Evaluated, LeftOut, Order
from cloudedge.errors import InvalidModel, InvalidSamples, NotFound, QuorumMissed
from cloudedge.places import shown_path
from components.collaborative_training.page.findings import gather
from components.collaborative_training.page.sections import report_of
from components.collaborative_training.pretrain.step import pretrain
from components.evaluate.step import evaluate_run
from components.register.step import register_model
from pipelines.display.outcome import print_outcome
from pipelines.laptop.home import Home
from tests.components.cloud import Cloud, content, manifest, scores
from tests.digits import EDGES
from tests.waiting import until


def judged(cloud: Cloud, answers: dict[str, tuple[float, float, int]], test_data: str = "") -> Any:
    """Evaluate while the edges answer: accuracy of the pretrained and of the fused model, and the samples measured on."""
    found: list[Any] = []
    at_work = threading.Thread(target=lambda: found.append(evaluate_run(cloud.task.id, test_data)))
    at_work.start()
    for edge, answer in answers.items():
        until(lambda edge=edge: [order.work.kind for order in cloud.orders(edge)] == ["evaluate"])  # type: ignore[misc]
        cloud.judge(edge, *answer)
    at_work.join()
    (evaluation,) = found
    return evaluation


class Judging:
    """An evaluation at work; called with an edge, it gives that edge's order."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._found: list[Any] = []
        self._at_work = threading.Thread(target=lambda: self._found.append(evaluate_run(cloud.task.id)))
        self._at_work.start()
        for edge in cloud.task.collaboration.edges:
            until(lambda edge=edge: [order.work.kind for order in cloud.orders(edge)] == ["evaluate"])  # type: ignore[misc]

    def __call__(self, edge: str) -> Order:
        return self._cloud.orders(edge)[0]

    def end(self) -> Any:
        """The evaluation, once it is done."""
        self._at_work.join()
        return self._found[0]


def test_the_gate_weighs_each_edge_by_its_held_out_samples(cloud: Cloud) -> None:
    cloud.pretrained().round(1, EDGES)
    cloud.round(2, EDGES)

    evaluation = judged(cloud, {"edge-1": (0.5, 0.9, 10), "edge-2": (0.5, 0.6, 20), "edge-3": (0.5, 0.5, 70)})

    record = cloud.run.fusion(2)
    assert record is not None
    assert (evaluation.rounds, evaluation.sha256, evaluation.size) == (2, record.sha256, record.size)
    assert evaluation.gate.pretrained == pytest.approx(0.5)
    assert evaluation.gate.fused == pytest.approx(0.1 * 0.9 + 0.2 * 0.6 + 0.7 * 0.5)
    assert (evaluation.gate.samples, evaluation.gate.passed) == (100, True)
    assert cloud.run.evaluation() == evaluation
    assert cloud.open_orders() == []


def test_each_edge_gets_both_models_and_no_place_for_a_result(cloud: Cloud) -> None:
    cloud.pretrained(round_deadline_seconds=0.5).round(1, EDGES)
    with pytest.raises(QuorumMissed):
        evaluate_run(cloud.task.id)

    order = cloud.run.order("evaluate", "edge-1")
    pretraining, fusion = cloud.run.pretraining(), cloud.run.fusion(1)
    assert order is not None
    assert pretraining is not None
    assert fusion is not None
    assert (order.id, order.work.kind, order.outputs) == ("digits.evaluate.edge-1.1", "evaluate", {})
    assert {name: file.sha256 for name, file in order.inputs.items()} == {
        "pretrained": pretraining.sha256,
        "fused": fusion.sha256,
    }


def test_a_worse_model_does_not_pass(cloud: Cloud) -> None:
    cloud.pretrained().round(1, EDGES)

    evaluation = judged(cloud, dict.fromkeys(EDGES, (0.5, 0.49, 20)))

    assert not evaluation.gate.passed
    (told,) = TrackingLog(cloud.store, cloud.task.id).read("evaluate").records
    assert told.tags == {"cloudedge.gate": "refused", "cloudedge.sha256": evaluation.sha256}


def test_an_equally_good_model_passes(cloud: Cloud) -> None:
    cloud.pretrained().round(1, EDGES)

    assert judged(cloud, dict.fromkeys(EDGES, (0.5, 0.5, 20))).gate.passed


def test_an_edge_without_a_held_out_sample_has_answered_and_is_named_and_the_others_judge(cloud: Cloud) -> None:
    cloud.pretrained(quorum=3).round(1, EDGES)

    evaluation = judged(cloud, {"edge-1": (0.5, 0.9, 10), "edge-2": (0.4, 0.6, 10), "edge-3": (0, 0, 0)})

    gate = evaluation.gate
    assert (gate.pretrained, gate.fused, gate.samples, gate.passed) == (pytest.approx(0.45), pytest.approx(0.75), 20, True)
    assert list(gate.edges) == ["edge-1", "edge-2"]
    assert gate.left_out == (LeftOut(edge="edge-3", reason="it has no held-out sample"),)


def test_nobody_to_judge_is_no_reason_to_pass_and_no_model_is_registered(cloud: Cloud) -> None:
    cloud.pretrained(edges=("edge-1",)).round(1, ["edge-1"])

    gate = judged(cloud, {"edge-1": (0, 0, 0)}).gate

    assert (gate.samples, gate.passed, gate.pretrained, gate.fused) == (0, False, None, None)
    assert "no edge has a held-out sample" in gate.verdict
    assert register_model(cloud.task.id) == ""
    (told,) = TrackingLog(cloud.store, cloud.task.id).read("evaluate").records
    assert "accuracy_on_edges" not in {point.key for point in told.metrics}


def test_an_edge_that_measured_the_models_on_different_samples_does_not_judge(cloud: Cloud) -> None:
    cloud.pretrained(edges=("edge-1", "edge-2")).round(1, ["edge-1", "edge-2"])
    order_of = Judging(cloud)
    cloud.judge("edge-1", 0.5, 0.6)
    order = order_of("edge-2")
    uneven = {"pretrained": scores(1.0, 2**53 - 1), "fused": scores(0.0, 1)}
    cloud.store.put(cloud.run.manifest_key(order), manifest(order, Evaluated(scores=uneven)).to_json())

    gate = order_of.end().gate

    assert (gate.pretrained, gate.fused, list(gate.edges)) == (0.5, 0.6, ["edge-1"])
    assert [one.reason for one in gate.left_out] == ["it measured the two models on different samples"]


def test_an_answer_about_other_models_does_not_count(cloud: Cloud) -> None:
    cloud.pretrained(edges=("edge-1", "edge-2")).round(1, ["edge-1", "edge-2"])
    order_of = Judging(cloud)
    cloud.judge("edge-1", 0.5, 0.6)
    order = order_of("edge-2")
    other = Evaluated(scores={"another": scores(0.1)})
    cloud.store.put(cloud.run.manifest_key(order), manifest(order, other).to_json())

    gate = order_of.end().gate

    assert list(gate.edges) == ["edge-1"]
    assert [one.edge for one in gate.left_out] == ["edge-2"]


def test_every_model_is_measured_on_every_environment(cloud: Cloud, digits: Path) -> None:
    cloud.pretrained().round(1, EDGES)

    evaluation = judged(cloud, dict.fromkeys(EDGES, (0.5, 0.5, 20)), str(digits / "test"))

    assert [(model.name, model.round, model.trained_in) for model in evaluation.models] == [
        *((edge, None, 1) for edge in EDGES),
        ("pretrained", 0, None),
        ("fused-1", 1, None),
    ]
    for model in evaluation.models:
        assert set(model.scores) == {"clean", "others", "all"}
        both = (model.scores["clean"].accuracy + model.scores["others"].accuracy) / 2
        assert model.scores["all"].accuracy == pytest.approx(both)
    assert sum(map(sum, evaluation.confusion)) == 200
    right = sum(row[index] for index, row in enumerate(evaluation.confusion))
    assert right / 200 == pytest.approx(evaluation.models[-1].scores["all"].accuracy)


def test_of_each_edge_the_first_model_is_measured_and_one_of_round_1_is_what_it_reaches_alone(
    cloud: Cloud, digits: Path
) -> None:
    first, second, late = EDGES
    cloud.pretrained(quorum=2).round(1, [first, second])
    cloud.round(2, EDGES)
    order = cloud.run.order("2", first)
    assert order is not None
    cloud.store.delete(cloud.run.output_key(order, "model"))

    evaluation = judged(cloud, dict.fromkeys(EDGES, (0.5, 0.5, 20)), str(digits / "test"))

    assert {model.name: model.trained_in for model in evaluation.firsts()} == {first: 1, second: 1, late: 2}
    assert [model.name for model in evaluation.alone()] == [first, second]


@pytest.mark.parametrize("name", ["Süd", "(a)", "环境", "Su\u0308d", "[red]", "50 %", "a:b", "x\ny", "\x1b[31mred", "é" * 100])
def test_an_environment_may_be_called_as_its_folder_can_be(cloud: Cloud, digits: Path, tmp_path: Path, name: str) -> None:
    cloud.task = cloud.task.model_copy(update={"collaborate": False})
    cloud.pretrained()
    test_data = tmp_path / "test"
    shutil.copytree(digits / "test" / "clean", test_data / name)
    shutil.copytree(digits / "test" / "others", test_data / "others")

    evaluation = evaluate_run(cloud.task.id, str(test_data))

    environment = shown_path(name)
    assert set(evaluation.models[0].scores) == {environment, "others", "all"}
    # Told by this name; it is made to fit where MLflow is told.
    (told,) = TrackingLog(cloud.store, cloud.task.id).read("evaluate").records
    assert f"test_accuracy/{environment}" in {point.key for point in told.metrics}
    shown = environment[:20]
    assert shown in report_of(gather(cloud.run)).page()
    screen = io.StringIO()
    print_outcome(Console(file=screen, width=200), cloud.run, Home(tmp_path), tmp_path / "task.json", "again")
    assert shown in screen.getvalue()


def test_repeated_it_asks_nobody_and_changes_nothing(cloud: Cloud) -> None:
    cloud.pretrained().round(1, EDGES)
    evaluation = judged(cloud, dict.fromkeys(EDGES, (0.5, 0.6, 20)))
    places = [cloud.run.key(place) for place in ("rounds", "steps", "tracking")]
    before = content(cloud.store, *places)

    assert evaluate_run(cloud.task.id) == evaluation
    assert content(cloud.store, *places) == before


def test_without_collaboration_there_is_no_gate_and_nobody_is_asked(cloud: Cloud, digits: Path) -> None:
    cloud.task = cloud.task.model_copy(update={"collaborate": False})
    cloud.pretrained()

    evaluation = evaluate_run(cloud.task.id, str(digits / "test"))

    pretraining = cloud.run.pretraining()
    assert pretraining is not None
    assert (evaluation.gate, evaluation.rounds, evaluation.sha256) == (None, 0, pretraining.sha256)
    assert [model.name for model in evaluation.models] == ["pretrained"]
    assert cloud.open_orders() == []


def test_a_model_that_was_altered_in_the_store_is_not_measured(cloud: Cloud, digits: Path) -> None:
    pretrain(cloud.task.model_copy(update={"collaborate": False}), str(cloud.cloud_data))
    with cloud.store.local(cloud.run.pretrained_key) as path:
        original = path.read_bytes()
    cloud.store.put(cloud.run.pretrained_key, original[:-1] + b"\x3f")

    with pytest.raises(InvalidModel, match="Put the recorded file back and run the same task again"):
        evaluate_run(cloud.task.id, str(digits / "test"))


def test_a_missing_test_folder_is_said(cloud: Cloud) -> None:
    cloud.task = cloud.task.model_copy(update={"collaborate": False})
    cloud.pretrained()

    with pytest.raises(InvalidSamples, match="There is no test data at /nowhere"):
        evaluate_run(cloud.task.id, "/nowhere")


def test_a_run_without_a_model_is_refused(cloud: Cloud) -> None:
    with pytest.raises(NotFound, match="/nowhere"):
        pretrain(cloud.task, "/nowhere")
    with pytest.raises(NotFound, match="has no model to evaluate"):
        evaluate_run(cloud.task.id)
