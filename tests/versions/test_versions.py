"""What earlier versions wrote is read by this one, and what a later edge says is understood as far as it goes.

The folder of each version holds what it left of a run that was stopped in its second round: documents of the cloud, the inbox
and the ledger of an edge at work.
"""

import json
import sqlite3
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.inboxes import DirectoryInboxes
from cloud.orders.figures import Figures
from cloud.orders.watch import Watched
from cloud.runs.run import Run
from cloud.runs.step_records import DispatchRecord, IssuedOrder, PretrainingRecord, RunState, WaitRecord
from cloud.settings import Settings
from cloud.step import Step
from cloud.tracking import TrackingLog
from cloudedge.documents import Event, FusionRecord, Inbox, Manifest, Order, Phase, Report, TrainingTask, parse
from cloudedge.documents.base import Part
from cloudedge.documents.order import OrderName
from cloudedge.store import DirectoryStore
from edge.runner.inbox import understood
from edge.runner.ledger import Ledger, Upload
from tests.strategies import JSON_VALUES

VERSIONS = sorted(path for path in Path(__file__).parent.iterdir() if (path / "task.json").exists())
DOCUMENTS: dict[str, type[Part]] = {
    "dispatch": DispatchRecord,
    "event": Event,
    "fusion": FusionRecord,
    "inbox": Inbox,
    "manifest": Manifest,
    "order": Order,
    "pretrained": PretrainingRecord,
    "report-done": Report,
    "report-training": Report,
    "state": RunState,
    "task": TrainingTask,
    "wait": WaitRecord,
}
TOLD = ["manifest", "report-done", "report-training"]

FIRST = Path(__file__).parent / "0.1.0"
RESHAPED = ["dispatch", "inbox", "manifest", "order", "report-done", "report-training", "wait"]
"""What had another shape in the first version: each has a test of its own."""

OF_WORK = ["kind", "model", "model_file_name", "data", "training", "recollection", "seed"]
"""Fields of an order in the first version that tell what to do."""
OF_TRAINING = ["base_sha256", "samples", "label_histogram", "data_fingerprint", "files_passed_over", "target_met"]
"""Fields of a manifest in the first version that tell what came of training, but for the scores and the epochs."""
OF_PROGRESS = ["epoch", "epochs", "batch", "batches", "loss", "history", "samples", "recollections"]
"""Fields of a report in the first version that tell of training."""


@pytest.mark.parametrize(
    ("version", "name"),
    [(version, name) for version in VERSIONS for name in DOCUMENTS if version != FIRST or name not in RESHAPED],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_document_of_an_earlier_version_is_read_with_all_that_it_says(version: Path, name: str) -> None:
    said = said_in(version, name)
    assert said_by(said, as_read(name, said))


def test_an_order_of_the_first_version_is_one_whose_work_is_to_train() -> None:
    said = said_in(FIRST, "order")
    assert_the_same_order(said, as_read("order", said))


def test_an_order_to_evaluate_of_the_first_version_is_one_whose_work_is_to_evaluate() -> None:
    said = said_in(FIRST, "order")
    said |= {"kind": "evaluate", "inputs": {"pretrained": said["inputs"]["base"], "fused": said["inputs"]["base"]}}
    said["result"] = None

    found = as_read("order", said)

    assert (found["step"], found["inputs"], found["outputs"]) == ("2", said["inputs"], {})
    assert said_by({name: said[name] for name in ("kind", "model", "data", "training", "seed")}, found["work"])


def test_an_inbox_of_the_first_version_has_the_same_orders() -> None:
    said = said_in(FIRST, "inbox")
    found = as_read("inbox", said)
    assert (found["edge"], found["generation"]) == (said["edge"], said["generation"])
    for former, order in zip(said["orders"], found["orders"], strict=True):
        assert_the_same_order(former, order)


def test_a_runner_understands_an_inbox_of_the_first_version() -> None:
    wanted = understood((FIRST / "inbox.json").read_bytes(), "inbox.json")
    assert wanted.orders == parse(Inbox, (FIRST / "inbox.json").read_bytes(), "inbox", stored=True).orders
    assert (wanted.refused, wanted.unreadable) == ((), ())


def assert_the_same_order(said: dict[str, Any], found: dict[str, Any]) -> None:
    """All of it, the number of its round as the name of its step."""
    elsewhere = ["round", "result", *OF_WORK]
    assert said_by({name: value for name, value in said.items() if name not in elsewhere}, found)
    assert (said["round"], found["step"]) == (2, "2")
    assert said_by({name: said[name] for name in OF_WORK}, found["work"])
    assert found["outputs"] == {"model": said["result"]}


def test_a_manifest_of_the_first_version_is_one_whose_result_is_of_training() -> None:
    said = said_in(FIRST, "manifest")
    found = as_read("manifest", said)
    assert {name: found[name] for name in ("order", "edge", "seconds", "runner_version")} == {
        name: said[name] for name in ("order", "edge", "seconds", "runner_version")
    }
    (model,) = found["outputs"].values()
    assert list(found["outputs"]) == ["model"]
    assert (model["sha256"], model["size"]) == (said["model_sha256"], said["model_size"])
    result = found["result"]
    assert (result["kind"], result["recollections"]) == ("train", said["recollections"])
    assert said_by({name: said[name] for name in OF_TRAINING}, result)
    assert (found["history"], found["points"], result["epochs"]) == (points_in(said), 3, 2)
    assert result["scores"] == {"base": said["scores"]["base"], "model": said["scores"]["result"]}
    # Of which order it is says the id.
    assert said["order"] == f"{said['run']}.{said['round']}.{said['edge']}.{said['attempt']}"


def test_a_manifest_of_the_first_version_without_a_model_is_one_whose_result_is_of_measuring() -> None:
    said = said_in(FIRST, "manifest")
    scores = {"pretrained": said["scores"]["base"], "fused": said["scores"]["result"]}
    said |= {"model_sha256": None, "model_size": None, "base_sha256": None, "samples": 0, "history": [], "scores": scores}

    found = as_read("manifest", said)

    assert (found["outputs"], found["result"]["kind"], found["result"]["scores"]) == ({}, "evaluate", scores)
    assert found["result"]["data_fingerprint"] == said["data_fingerprint"]


def test_who_delivered_in_the_first_version_did_so_in_the_step_that_has_the_rounds_number() -> None:
    said = said_in(FIRST, "wait") | {"late": {"edge-9": 1}}
    found = as_read("wait", said)
    assert said_by({name: said[name] for name in ("schema_version", "missing", "seconds")}, found)
    assert found["delivered"] == [
        {"edge": one["edge"], "step": str(one["round"]), "attempt": one["attempt"]} for one in said["delivered"]
    ]
    assert found["late"] == {"edge-9": "1"}


def test_what_was_dispatched_in_the_first_version_is_of_the_step_that_has_the_rounds_number() -> None:
    said = said_in(FIRST, "dispatch") | {"late": {"edge-9": 1}}
    found = as_read("dispatch", said)
    assert said_by({name: said[name] for name in ("schema_version", "edges", "models")}, found)
    for former, order in zip(said["orders"], found["orders"], strict=True):
        assert order == {
            **{name: former[name] for name in ("id", "edge", "attempt", "issued_at")},
            "step": str(former["round"]),
            "absence": "",
        }
    assert found["late"] == {"edge-9": "1"}


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
def test_a_runner_goes_on_with_the_ledger_of_an_earlier_version(version: Path, tmp_path: Path) -> None:
    ledger = Ledger(ledger_of(version, tmp_path))
    done, at_work = ledger.entries(latest=2)
    order = parse(Order, (version / "order.json").read_bytes(), "order", stored=True)
    report = parse(Report, (version / "report-training.json").read_bytes(), "report")
    assert (at_work.order, at_work.phase, at_work.points) == (order, Phase.TRAINING, report.points)
    assert (at_work.gauges, ledger.incarnation()) == (report.gauges, report.incarnation)
    manifest = parse(Manifest, (version / "manifest.json").read_bytes(), "manifest")
    assert (done.order.id, done.phase, done.points) == (manifest.order, Phase.DONE, manifest.history)
    assert [(model.order_id, model.sha256) for model in ledger.models()] == [(manifest.order, manifest.outputs["model"].sha256)]
    assert [entry.order.id for entry in ledger.entries()] == [at_work.order.id]


def test_what_the_first_versions_runner_goes_on_to_write_is_taken_over_until_its_successor_runs_alone(tmp_path: Path) -> None:
    path = ledger_of(FIRST, tmp_path)
    order, record = said_in(FIRST, "order")["id"], said_in(FIRST, "report-done")["history"][2]
    assert Ledger(path).points(order, 9)[-1].sequence == 1
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO epochs VALUES (?, 2, ?)", (order, json.dumps(record)))
    database.close()

    ledger = Ledger(path)
    ledger.put_away_epochs()

    assert [point.sequence for point in Ledger(path).points(order, 9)] == [0, 1, 2]
    assert Ledger(path).points(order, 9)[-1].values["accuracy"] == record["scores"]["accuracy"]


def test_what_the_first_versions_runner_was_about_to_send_is_sent_under_the_name_that_it_has_now(tmp_path: Path) -> None:
    path, order = ledger_of(FIRST, tmp_path), said_in(FIRST, "order")["id"]
    with sqlite3.connect(path) as database:
        waiting = [
            (order, "result", "/state/digits.safetensors", 2, "away"),
            (order, "manifest", "/state/manifest.json", 0, None),
        ]
        statement = "INSERT INTO uploads (order_id, name, path, tries, trouble) VALUES (?, ?, ?, ?, ?)"
        database.executemany(statement, waiting)
    database.close()
    expected = [
        Upload(order, "model", Path("/state/digits.safetensors"), 2, "away"),
        Upload(order, "manifest", Path("/state/manifest.json"), 0, None),
    ]
    assert Ledger(path).uploads() == expected
    assert Ledger(path).uploads() == expected, "once it is of this version, it stays as it is"


def test_a_manifest_for_a_cloud_of_the_first_version_is_as_that_wrote_it() -> None:
    content = json.loads((FIRST / "manifest.json").read_bytes())
    order = json.loads((FIRST / "order.json").read_bytes()) | {"round": content["round"], "id": content["order"]}
    manifest = parse(Manifest, json.dumps(content), "manifest")
    issued = parse(Order, json.dumps(order), "order", stored=True)

    assert_the_same_but_for_rounding(json.loads(manifest.to_json_for(issued)), content)
    assert parse(Manifest, manifest.to_json_for(issued.model_copy(update={"schema_version": 2})), "manifest") == manifest


@pytest.mark.parametrize("name", ["report-done", "report-training"])
def test_a_report_of_the_first_version_tells_of_streams_gauges_and_points(name: str) -> None:
    said = said_in(FIRST, name)
    found = as_read(name, said)
    assert said_by({key: value for key, value in said.items() if key not in OF_PROGRESS}, found)
    assert found["progress"] == [{"name": "epochs", "done": said["epoch"], "total": said["epochs"], "unit": "epochs"}]
    assert found["gauges"] == {"samples": said["samples"], "recollections": said["recollections"]}
    assert found["points"] == points_in(said)


def test_within_an_epoch_a_report_of_the_first_version_tells_of_batches() -> None:
    said = said_in(FIRST, "report-training") | {"epoch": 2, "epochs": 5, "batch": 3, "batches": 8, "loss": 0.25}
    report = parse(Report, json.dumps(said), "report")
    assert report.words() == "training, 1 of 5 epochs, 3 of 8 batches"
    assert report.share == (1 + 3 / 8) / 5
    assert report.gauges["loss"] == 0.25


@pytest.mark.parametrize("name", ["report-done", "report-training"])
@pytest.mark.parametrize("within", [{}, {"epoch": 2, "epochs": 5, "batch": 3, "batches": 8, "loss": 0.25}])
def test_a_report_for_a_cloud_of_the_first_version_is_as_that_wrote_it(name: str, within: dict[str, Any]) -> None:
    said = said_in(FIRST, name) | within
    report = parse(Report, json.dumps(said), "report")
    gauges = {**report.gauges, "held_out": 61.0}
    issued = parse(Order, (FIRST / "order.json").read_bytes(), "order", stored=True)

    written = report.model_copy(update={"gauges": gauges}).to_json_for(issued)

    assert_the_same_but_for_rounding(json.loads(written), said)


def test_what_an_edge_of_the_first_version_says_reaches_mlflow(tmp_path: Path) -> None:
    report = parse(Report, (FIRST / "report-training.json").read_bytes(), "report")
    manifest = parse(Manifest, (FIRST / "manifest.json").read_bytes(), "manifest")
    waited_for = {said.order: IssuedOrder.model_validate(issued(said)) for said in (report, manifest)}
    settings = Settings(store=tmp_path.as_uri(), inboxes=tmp_path.as_uri(), scratch=tmp_path)
    work = Step("wait", settings, DirectoryStore(tmp_path), DirectoryInboxes(tmp_path), Run(DirectoryStore(tmp_path), "demo"))

    Figures(work, "1").keep(
        [Watched(waited_for[report.order], report=report), Watched(waited_for[manifest.order], manifest=manifest)]
    )

    log = TrackingLog(work.store, "demo")
    told = [{(point.key, point.step, point.value) for point in one.metrics} for one in log.read("wait-000001-000000").records]
    assert told == [values_in(said_in(FIRST, "report-training")), values_in(said_in(FIRST, "manifest"))]


def test_which_attempts_a_run_of_the_first_version_fused_the_record_of_its_wait_says(tmp_path: Path) -> None:
    run = Run(DirectoryStore(tmp_path), "demo")
    waited = json.loads((FIRST / "wait.json").read_bytes())
    for delivery in waited["delivered"]:
        delivery["attempt"] = 3
    run.store.put(run.round_key(1, "wait.json"), json.dumps(waited).encode())
    run.store.put(run.round_key(1, "fusion.json"), (FIRST / "fusion.json").read_bytes())

    record = run.fusion(1)

    assert record is not None
    assert {c.attempt for c in record.contributions} == {3}


@given(st.data())
def test_what_a_later_edge_says_beside_the_fields_that_are_known_is_passed_over(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(TOLD))
    known = parse(DOCUMENTS[name], (VERSIONS[-1] / f"{name}.json").read_bytes(), name)
    later = known.model_dump(mode="json")
    for part in parts_of(later):
        part.update(data.draw(st.dictionaries(st.sampled_from(["streams", "of a later version", ""]), JSON_VALUES, max_size=2)))
    assert parse(DOCUMENTS[name], json.dumps(later), name) == known


def said_in(version: Path, name: str) -> dict[str, Any]:
    """What a document of a version says."""
    found: dict[str, Any] = json.loads((version / f"{name}.json").read_bytes())
    return found


def as_read(name: str, said: dict[str, Any]) -> dict[str, Any]:
    """The same as this version has it."""
    return parse(DOCUMENTS[name], json.dumps(said), name, stored=True).model_dump(mode="json")


def points_in(said: dict[str, Any]) -> list[dict[str, Any]]:
    """The points that the epochs of the first version are."""
    seconds = list(accumulate(epoch["seconds"] for epoch in said["history"]))
    return [
        {
            "sequence": epoch["epoch"],
            "seconds": at,
            "values": {name: value for name, value in values_of(epoch).items() if value is not None},
        }
        for epoch, at in zip(said["history"], seconds, strict=True)
    ]


def values_of(epoch: dict[str, Any]) -> dict[str, float | None]:
    scores = {name: epoch["scores"][name] for name in ("accuracy", "recall", "loss")}
    return {**scores, "train_loss": epoch["train_loss"]}


def values_in(said: dict[str, Any]) -> set[tuple[str, int, float]]:
    """Key, step and value of each metric point that the epochs of the first version are."""
    epochs = said["history"]
    return {(name, epoch["epoch"], value) for epoch in epochs for name, value in values_of(epoch).items() if value is not None}


def issued(said: Report | Manifest) -> dict[str, Any]:
    name = OrderName.parse(said.order)
    return {"id": said.order, "edge": name.edge, "step": name.step, "attempt": 1, "issued_at": "2026-11-27T09:18:44Z"}


def assert_the_same_but_for_rounding(found: dict[str, Any], said: dict[str, Any]) -> None:
    """The seconds of an epoch are what lies between two points."""
    seconds = [[epoch.pop("seconds") for epoch in document["history"]] for document in (found, said)]
    assert seconds[0] == pytest.approx(seconds[1])
    assert found == said


def ledger_of(version: Path, folder: Path) -> Path:
    """The ledger that a version left."""
    path = folder / "ledger.db"
    with sqlite3.connect(path) as database:
        database.executescript((version / "ledger.sql").read_text())
    database.close()
    return path


def said_by(said: Any, found: Any) -> bool:
    """Whether all that was said is found, beside what an earlier version did not say."""
    if isinstance(said, dict):
        return all(key in found and said_by(value, found[key]) for key, value in said.items())
    if isinstance(said, list):
        return len(said) == len(found) and all(map(said_by, said, found))
    return bool(said == found)


def parts_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The document and what it is made of, but no objects whose keys are names."""
    result = document.get("result", {})
    points = document.get("history", document["points"])
    named = [*document.get("outputs", {}).values(), *result.get("scores", {}).values()]
    return [document, *([result] if result else []), *points, *document.get("progress", []), *named]
