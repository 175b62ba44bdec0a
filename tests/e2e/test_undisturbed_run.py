"""A whole run, as a person sees it afterwards: the summary, the log, the report, MLflow, and nothing left at work."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from cloud.runs.events import events
from cloudedge import weights
from cloudedge.names import sha256_of
from tests.cloud.tracking.told import WARNINGS_OF_MLFLOW
from tests.components.cloud import content
from tests.digits import EDGES
from tests.docs.pages import ROOT
from tests.e2e.conftest import Finished
from tests.terminal import Cloudedge, cloudedge

__all__ = ["cloudedge"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500), pytest.mark.filterwarnings(*WARNINGS_OF_MLFLOW)]

STEPS = ["pretrain", *(f"{step}-{number}" for number in (1, 2) for step in ("dispatch", "wait", "fuse"))]
STEPS += ["evaluate", "register", "report"]


def test_the_summary_holds_the_model_its_accuracies_and_the_seconds_of_each_step(flat: Finished) -> None:
    summary = flat.summary

    assert (summary["id"], summary["state"], summary["rounds"]) == ("digits", "finished", 2)
    model = Path(summary["model"]["path"])
    assert (sha256_of(model), model.stat().st_size) == (summary["model"]["sha256"], summary["model"]["size"])
    weights.check(model, weights.layout(model))
    assert sorted(summary["seconds"]) == sorted(STEPS)
    on_edges, on_test = summary["accuracy"]["on_edges"], summary["accuracy"]["on_test"]
    assert set(on_edges["edges"]) == set(on_test["edges_alone"]) == set(EDGES)
    assert set(on_test["pretrained"]) == set(on_test["fused"]) == {"all", "clean", "others"}
    assert on_test["rounds"] == [on_test["pretrained"]["all"], on_test["rounds"][1], on_test["fused"]["all"]]


def test_a_run_consists_of_the_objects_that_are_documented(flat: Finished) -> None:
    page = (ROOT / "docs" / "how-it-works.md").read_text()
    listed = page.partition("```text\nruns/<run>/\n")[2].partition("```")[0]
    documented = {line.split()[0]: re.sub(r"<[a-z]+>", "[a-z0-9-]+", line.split()[0]) for line in listed.splitlines()}
    prefix = flat.laptop.run.key("")
    keys = [entry.key.removeprefix(prefix) for entry in flat.laptop.store.list(flat.laptop.run.key())]

    assert [key for key in keys if not any(re.match(pattern, key) for pattern in documented.values())] == []
    absent = {name for name, pattern in documented.items() if not any(re.match(pattern, key) for key in keys)}
    assert absent == {"cancelled.json", "kubeflow.json", "rounds/<k>/optimizer.safetensors"}


def test_collaboration_bought_something(flat: Finished) -> None:
    accuracy = flat.summary["accuracy"]

    assert flat.summary["gate_passed"]
    assert accuracy["on_edges"]["fused"] > accuracy["on_edges"]["pretrained"] + 0.1
    assert accuracy["on_test"]["fused"]["all"] > accuracy["on_test"]["pretrained"]["all"] + 0.1


def test_the_log_tells_every_operation_once_and_in_order(flat: Finished) -> None:
    actions = [event.action for _, event in events(flat.laptop.store, "digits") if event.action != "step-done"]

    rounds = ["dispatched", "waited", "fused"]
    assert actions == ["created", "pretrained", *rounds, *rounds, "dispatched", "waited", "evaluated", "registered", "finished"]


def test_every_edge_delivered_in_its_first_attempt_and_has_nothing_left_to_do(flat: Finished) -> None:
    for number in (1, 2):
        record = flat.laptop.run.waited(str(number))
        assert record is not None
        assert [(one.edge, one.attempt) for one in record.delivered] == [(edge, 1) for edge in EDGES]
    assert [flat.laptop.home.inboxes.read(edge).orders for edge in EDGES] == [()] * 3


def test_the_folders_of_the_model_at_the_edge_are_there(flat: Finished) -> None:
    for edge in EDGES:
        state = flat.laptop.home.edge_state(edge)
        for number in (1, 2):
            order = flat.laptop.run.order(str(number), edge)
            assert order is not None
            assert order.id == f"digits.{number}.{edge}.1"
            assert (state / "received" / order.id / "tiny-digits.safetensors").is_file()
            trained = state / "trained" / order.id / "tiny-digits.safetensors"
            delivered = flat.laptop.run.output_key(order, "model")
            assert trained.read_bytes() == flat.laptop.store.get(delivered, 1 << 20)


def test_nothing_is_left_but_what_the_home_is_for(flat: Finished) -> None:
    home = flat.laptop.home.folder

    assert list((flat.laptop.folder / "tmp").iterdir()) == []
    assert list((home / "pipelines").iterdir()) == []
    assert list((home / "scratch" / "digits").iterdir()) == []
    assert list(home.rglob(".part-*")) == []


def test_the_same_command_again_shows_the_same_and_changes_nothing(flat: Finished) -> None:
    before = content(flat.laptop.store, "runs")

    again = flat.laptop.run_task("--flat").end().summary

    assert again == flat.summary
    assert content(flat.laptop.store, "runs") == before


def test_commands_find_the_finished_run(flat: Finished, cloudedge: Cloudedge) -> None:
    home = ("--home", flat.laptop.home.folder)

    shown = cloudedge("tasks", "show", "digits", *home, "--json").json
    assert {key: shown[key] for key in flat.summary} == flat.summary
    assert " finished " in cloudedge("tasks", "list", *home).out
    assert cloudedge("tasks", "cancel", "digits", *home).code == 4
    assert cloudedge("tasks", "reap", *home).out == "There is nothing to close.\n"
    page = Path(cloudedge("report", "digits", *home).out.strip()).read_text()
    assert page.startswith("<!doctype html>")
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_mlflow_has_the_run_its_edges_and_each_figure_once(flat: Finished) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(flat.laptop.home.tracking_uri)
    experiment = client.get_experiment_by_name("cloudedge")
    assert experiment is not None
    (parent,) = client.search_runs([experiment.experiment_id])
    assert (parent.info.run_name, parent.info.status) == ("digits", "FINISHED")
    assert parent.data.params["collaboration.fusion.rule"] == "samples"
    beside = client.get_experiment_by_name("cloudedge-epochs")
    assert beside is not None
    children = {run.info.run_name: run for run in client.search_runs([beside.experiment_id])}
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    pretraining = children.pop("digits/pretraining")
    assert {point.step for point in client.get_metric_history(pretraining.info.run_id, "accuracy")} == {0, 1, 2, 3}
    assert sorted(children) == [f"digits/{edge}" for edge in EDGES]
    for run in children.values():
        assert run.info.status == "FINISHED"
        history = client.get_metric_history(run.info.run_id, "accuracy")
        assert Counter(point.step for point in history) == Counter(range(2 * 41))
        by_round = client.get_metric_history(run.info.run_id, "round/trained_accuracy")
        assert Counter(point.step for point in by_round) == Counter([1, 2])
    assert "Gate passed. Registered as tiny-digits. Run finished." in parent.data.tags["mlflow.note.content"]
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["report.html"]
    on_edges = client.get_metric_history(parent.info.run_id, "accuracy_on_edges")
    assert Counter(point.step for point in on_edges) == Counter([0, 1, 2])


def test_the_registered_model_knows_where_it_comes_from(flat: Finished) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(flat.laptop.home.tracking_uri)
    version = client.get_model_version_by_alias("tiny-digits", "champion")
    assert version.tags["cloudedge.run"] == "digits"
    assert version.tags["cloudedge.sha256"] == flat.summary["model"]["sha256"]
    assert version.tags["cloudedge.edges"] == ", ".join(EDGES)
    (lineage,) = (flat.laptop.home.folder / "mlflow-artifacts").rglob("lineage.json")
    found = json.loads(lineage.read_text())
    assert [(ancestor["role"], ancestor["edge"]) for ancestor in found["ancestors"]] == [
        ("pretrained", None),
        ("base", None),
        *(("edge", edge) for edge in EDGES),
    ]
    assert sha256_of(lineage.parent / "model.safetensors") == flat.summary["model"]["sha256"]
