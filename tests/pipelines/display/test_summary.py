"""What is said of a run in a line: the same figures while it goes on as at its end."""

import io
import json

import numpy
import pytest
from rich.console import Console

from cloud.runs.events import record
from cloud.tracking import TrackingLog
from cloudedge.documents import Fusion
from cloudedge.errors import InvalidSamples
from components.collaborative_training.page.findings import gather
from components.collaborative_training.page.headline import headline
from components.collaborative_training.pretrain.step import pretrain
from components.evaluate.step import evaluate_run
from pipelines.collaborative_training.demo.digits import originals
from pipelines.display import live
from pipelines.display.summary import overview
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


def test_where_no_cloud_sample_is_held_out_nobody_says_an_accuracy(
    cloud: Cloud, cloudedge: Cloudedge, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = originals()
    chosen = [index for label in range(10) for index in numpy.flatnonzero(labels == label)[:2]]
    few = cloud.root / "few.npz"
    numpy.savez(few, image=images.astype("uint8")[chosen, numpy.newaxis], label=labels[chosen])
    task = cloud.task.model_copy(update={"collaborate": False})

    monkeypatch.setattr(live, "REDRAW_SECONDS", 0)
    shown = io.StringIO()
    with live.RunDisplay(Console(file=shown), str) as display:
        display(cloud.run)
        pretrain(task, str(few))
        display(cloud.run)
    evaluate_run(task.id)

    said = capsys.readouterr().out
    assert "Pretraining on 20 samples, and none is held out to measure on." in said
    assert "none of the samples is held out, training loss" in said
    tracked = TrackingLog(cloud.store, task.id)
    told = [point.key for name, _ in tracked.versions() for one in tracked.read(name).records for point in one.metrics]
    assert set(told) == {"train_loss"}
    assert overview(cloud.run)["pretrained"] is None
    assert headline(gather(cloud.run)) == "Pretrained model: not measured, as the cloud holds out no samples."
    assert " s: none was held out." in shown.getvalue()
    assert "accuracy" not in said + cloudedge("events", task.id, "--home", cloud.root).out.replace("accuracy -", "")


def test_a_rule_that_measures_on_cloud_samples_is_refused_where_none_is_held_out(cloud: Cloud) -> None:
    images, labels = originals()
    numpy.savez(cloud.root / "few.npz", image=images.astype("uint8")[:2, numpy.newaxis], label=labels[:2])
    rule = cloud.task.collaboration.model_copy(update={"fusion": Fusion(rule="greedy")})
    task = cloud.task.model_copy(update={"collaboration": rule})

    with pytest.raises(
        InvalidSamples, match=r"too few samples of each class .* the rule 'greedy' measures on those\. Put more"
    ):
        pretrain(task, str(cloud.root / "few.npz"))
