"""Registration: where the model comes from is said, and a model that the gate refused is not registered."""

import re

import pytest

from cloud.runs.events import events
from cloud.runs.step_records import Evaluation
from cloud.settings import Settings
from cloud.tracking import Ancestor, TrackingLog
from cloudedge.documents import Fusion
from cloudedge.errors import NotFound
from components.collaborative_training.description import description
from components.collaborative_training.page.findings import gather
from components.collaborative_training.page.headline import sentences
from components.evaluate.step import evaluate_run
from components.register.step import register_model
from tests.components.cloud import Cloud, content
from tests.components.evaluate.test_step import judged
from tests.digits import EDGES, digits_task


def test_the_registration_names_all_ancestors(cloud: Cloud) -> None:
    cloud.pretrained(quorum=2, fusion=Fusion(base_weight=0.2)).dispatched()
    cloud.deliver("edge-1", samples=10, data_fingerprint="abc0" * 16)
    cloud.deliver("edge-2", samples=30)
    cloud.waited()
    cloud.round(1, [])
    judged(cloud, dict.fromkeys(EDGES[:2], (0.5, 0.6, 20)))  # The quorum; whoever answers after it may find its order closed.

    assert register_model(cloud.task.id) == "tiny-digits"

    registration = TrackingLog(cloud.store, cloud.task.id).read("register").registration
    pretraining, fusion = cloud.run.pretraining(), cloud.run.fusion(1)
    assert registration is not None
    assert pretraining is not None
    assert fusion is not None
    assert (registration.model_key, registration.sha256) == (cloud.run.fused_key(1), fusion.sha256)
    assert registration.aliases == ("champion",)
    assert registration.classes == cloud.task.data.classes
    assert registration.input_shape == (1, 8, 8)
    assert registration.tags == {
        "cloudedge.rounds": "1",
        "cloudedge.rule": "samples",
        "cloudedge.accuracy_on_edges": "0.6000",
    }
    assert [(a.role, a.edge, a.round, a.sha256, a.weight, a.samples) for a in registration.ancestors] == [
        ("pretrained", None, 0, pretraining.sha256, None, pretraining.samples),
        ("base", None, 0, pretraining.sha256, 0.2, None),
        ("edge", "edge-1", 1, fusion.contributions[0].sha256, pytest.approx(0.2), 10),
        ("edge", "edge-2", 1, fusion.contributions[1].sha256, pytest.approx(0.6), 30),
    ]
    assert registration.ancestors[0].data_fingerprint == pretraining.data_fingerprint
    assert registration.ancestors[2].data_fingerprint == "abc0" * 16
    assert cells(registration.description)["edge-2"] == ["1", "0.600", "30", "", fusion.contributions[1].sha256[:12]]
    assert "fused by the rule `samples`, 1 round, in run `digits`." in registration.description


def test_where_no_mlflow_is_named_the_run_says_that_nothing_is_registered(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.pretrained(collaborate=False)
    evaluate_run(cloud.task.id)
    monkeypatch.setattr(Settings, "tells_mlflow", False)

    assert register_model(cloud.task.id) == ""

    assert "Nothing is registered, as no MLflow is named: neither by CLOUDEDGE_TRACKING_URI" in capsys.readouterr().out
    assert "Nothing is registered, as no MLflow is named" in " ".join(sentences(gather(cloud.run)))
    assert not [event for _, event in events(cloud.store, cloud.task.id) if event.action == "registered"]


def test_of_many_edges_the_page_names_some_and_the_lineage_all() -> None:
    edges = [Ancestor(role="edge", edge=f"edge-{n}", round=1, sha256="a" * 64, weight=1e-4, samples=9) for n in range(10_000)]
    evaluation = Evaluation(rounds=1, sha256="b" * 64, size=1)

    text = description("digits", digits_task(), evaluation, edges)

    assert len(cells(text)) == 20
    assert "And 9980 more edges." in text
    assert len(text) < 3000


def cells(markdown: str) -> dict[str, list[str]]:
    """A table's rows by their first cell, without titles and marks."""
    lines = [re.sub("&emsp;|`", "", line) for line in markdown.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {row[0]: row[1:] for row in rows[2:]}


def test_a_model_that_the_gate_refused_is_not_registered(cloud: Cloud) -> None:
    cloud.pretrained().round(1, EDGES)
    judged(cloud, dict.fromkeys(EDGES, (0.5, 0.4, 20)))

    assert register_model(cloud.task.id) == ""

    assert "register" not in dict(TrackingLog(cloud.store, cloud.task.id).versions())
    assert "refused" in [event.action for _, event in events(cloud.store, cloud.task.id)]


def test_without_collaboration_the_pretrained_model_is_registered(cloud: Cloud) -> None:
    cloud.task = cloud.task.model_copy(update={"collaborate": False})
    cloud.pretrained()
    evaluate_run(cloud.task.id)

    assert register_model(cloud.task.id) == "tiny-digits"

    registration = TrackingLog(cloud.store, cloud.task.id).read("register").registration
    assert registration is not None
    assert registration.model_key == cloud.run.pretrained_key
    assert registration.tags == {"cloudedge.rounds": "0", "cloudedge.rule": "none"}
    assert [ancestor.role for ancestor in registration.ancestors] == ["pretrained"]


@pytest.mark.parametrize(
    ("name", "file", "registered"),
    [
        ("Worn bearings", "model.safetensors", "worn-bearings"),
        ("Worn bearings", "bearings.safetensors", "bearings"),
        ("Lager / Halle: 3", "model.safetensors", "lager-halle-3"),
        ("軸受 1", "model.safetensors", "digits"),
        ("...", "model.safetensors", "digits"),
    ],
)
def test_a_model_has_the_name_of_its_file_or_else_of_its_task(cloud: Cloud, name: str, file: str, registered: str) -> None:
    cloud.task = cloud.task.model_copy(update={"collaborate": False, "name": name, "model_file_name": file})
    cloud.pretrained()
    evaluate_run(cloud.task.id)

    assert register_model(cloud.task.id) == registered


def test_repeated_it_says_the_same(cloud: Cloud) -> None:
    cloud.pretrained().round(1, EDGES)
    judged(cloud, dict.fromkeys(EDGES, (0.5, 0.6, 20)))
    register_model(cloud.task.id)
    before = content(cloud.store, cloud.run.key("tracking"))

    register_model(cloud.task.id)

    assert content(cloud.store, cloud.run.key("tracking")) == before


def test_a_run_that_was_not_evaluated_is_refused(cloud: Cloud) -> None:
    cloud.pretrained()

    with pytest.raises(NotFound, match="was not evaluated yet"):
        register_model(cloud.task.id)
