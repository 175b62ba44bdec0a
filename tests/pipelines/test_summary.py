"""What is said of a run in a line: the same figures while it goes on as at its end."""

import json

from components.evaluate.step import evaluate_run
from components.shared.events import record
from pipelines.summary import overview
from tests.components.cloud import Cloud
from tests.components.evaluate.test_step import judged
from tests.digits import EDGES
from tests.terminal import Cloudedge


def test_accuracies_are_those_at_the_edges_from_the_first_round_on(cloud: Cloud) -> None:
    cloud.pretrained(rounds=2)
    assert (overview(cloud.run)["pretrained"], overview(cloud.run)["fused"]) == (None, None)
    cloud.round(1, EDGES)
    assert (overview(cloud.run)["pretrained"], overview(cloud.run)["fused"]) == (0.4, None)
    cloud.round(2, EDGES)
    assert (overview(cloud.run)["pretrained"], overview(cloud.run)["fused"]) == (0.4, 0.4)
    judged(cloud, dict.fromkeys(EDGES, (0.5, 0.6, 20)))
    assert (overview(cloud.run)["pretrained"], overview(cloud.run)["fused"]) == (0.5, 0.6)


def test_without_edges_the_pretrained_models_accuracy_is_the_clouds(cloud: Cloud) -> None:
    cloud.task = cloud.task.model_copy(update={"collaborate": False})
    cloud.pretrained()
    evaluate_run(cloud.task.id)
    pretraining = cloud.run.pretraining()
    assert pretraining is not None
    assert overview(cloud.run)["pretrained"] == pretraining.history[-1].scores.accuracy


def test_a_run_that_goes_on_tells_when_it_was_last_seen(home: Cloud, cloudedge: Cloudedge) -> None:
    (row,) = json.loads(cloudedge("tasks", "list", "--home", home.root, "--json").out)
    assert row["state"] == "running"
    assert row["seen"] >= row["since"]


def test_the_operation_log_is_words_and_no_code(home: Cloud, cloudedge: Cloudedge) -> None:
    record(home.store, home.task.id, "somebody", "tried", gate={"pretrained": 0.5, "fused": 0.75}, edges=[], rounds=[1, 2])
    said = cloudedge("events", home.task.id, "--home", home.root).out.splitlines()[-1]
    assert said.endswith("tried       gate pretrained 0.500, fused 0.750, edges none, rounds 1, 2")
