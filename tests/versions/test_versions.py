"""What earlier versions wrote is read by this one, and what a later edge says is understood as far as it goes.

The folder of each version holds what it left of a run that was stopped in its second round: documents of the cloud, the inbox
and the ledger of an edge at work.
"""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.runs.records import DispatchRecord, PretrainingRecord, RunState, WaitRecord
from cloudedge.documents import Event, FusionRecord, Inbox, Manifest, Order, Phase, Report, Task, parse
from cloudedge.documents.base import Part
from edge.runner.ledger import Ledger
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
    "task": Task,
    "wait": WaitRecord,
}
TOLD = ["manifest", "report-done", "report-training"]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_of_an_earlier_version_is_read_with_all_that_it_says(version: Path, name: str) -> None:
    content = (version / f"{name}.json").read_bytes()
    found = parse(DOCUMENTS[name], content, name, stored=True).model_dump(mode="json")
    assert said_by(json.loads(content), found)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
def test_a_runner_goes_on_with_the_ledger_of_an_earlier_version(version: Path, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as database:
        database.executescript((version / "ledger.sql").read_text())
    database.close()
    ledger = Ledger(path)
    done, at_work = ledger.entries(latest=2)
    order = parse(Order, (version / "order.json").read_bytes(), "order", stored=True)
    report = parse(Report, (version / "report-training.json").read_bytes(), "report")
    assert (at_work.order, at_work.phase, at_work.history) == (order, Phase.TRAINING, report.history)
    assert (at_work.samples, ledger.incarnation()) == (report.samples, report.incarnation)
    manifest = parse(Manifest, (version / "manifest.json").read_bytes(), "manifest")
    assert (done.order.id, done.phase, done.history) == (manifest.order, Phase.DONE, manifest.history)
    assert [(model.order_id, model.sha256) for model in ledger.models()] == [(manifest.order, manifest.model_sha256)]
    assert [entry.order.id for entry in ledger.entries()] == [at_work.order.id]


@given(st.data())
def test_what_a_later_edge_says_beside_the_fields_that_are_known_is_passed_over(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(TOLD))
    content = (VERSIONS[-1] / f"{name}.json").read_bytes()
    known = parse(DOCUMENTS[name], content, name)
    later = json.loads(content)
    for part in parts_of(later):
        part.update(data.draw(st.dictionaries(st.sampled_from(["streams", "of a later version", ""]), JSON_VALUES, max_size=2)))
    assert parse(DOCUMENTS[name], json.dumps(later), name) == known


def said_by(said: Any, found: Any) -> bool:
    """Whether all that was said is found, beside what an earlier version did not say."""
    if isinstance(said, dict):
        return all(key in found and said_by(value, found[key]) for key, value in said.items())
    if isinstance(said, list):
        return len(said) == len(found) and all(map(said_by, said, found))
    return bool(said == found)


def parts_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The document and what it is made of, but no objects whose keys are names."""
    history = document["history"]
    scores = document.get("scores", {}).values()
    return [document, *history, *(epoch["scores"] for epoch in history), *scores]
