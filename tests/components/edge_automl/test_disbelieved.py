"""What devices deliver is believed only as far as its files and the task bear it out; nobody else is kept from being ranked."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from cloud.runs.step_records import Delivery
from cloud.searches import trace
from cloud.tracking import TrackingLog
from cloudedge.documents import order_id
from cloudedge.documents.tasks.edge_automl import Allowed
from cloudedge.store import DirectoryStore
from components.edge_automl.page.sections import report_of
from components.edge_automl.rank.step import rank_run
from components.edge_automl.records import DONE, SEARCH
from tests.components.edge_automl.searches import SITES, Searches, task


def retold(searches: Searches, edge: str, change: Callable[[Any], object]) -> None:
    """An edge says something else of its search than what happened, and its manifest has the digest of that."""
    run, order = searches.run, Delivery(edge=edge, step=SEARCH, attempt=1)
    said = json.loads(searches.store.get(run.output_key(order, DONE), 1 << 24))
    change(said)
    content = json.dumps(said).encode()
    searches.store.put(run.output_key(order, DONE), content)
    manifest = json.loads(searches.store.get(run.manifest_key(order), 1 << 24))
    manifest["outputs"][DONE] |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    searches.store.put(run.manifest_key(order), json.dumps(manifest).encode())


def claimed(searches: Searches, edge: str, **result: Any) -> None:
    """An edge says something else of its result."""
    key = searches.run.manifest_key(Delivery(edge=edge, step=SEARCH, attempt=1))
    manifest = json.loads(searches.store.get(key, 1 << 24))
    manifest["result"] |= result
    searches.store.put(key, json.dumps(manifest).encode())


def children(searches: Searches) -> set[str | None]:
    log = TrackingLog(searches.store, searches.asked.id)
    records = [record for name, _ in log.versions() for record in log.read(name).records]
    return {record.edge for record in records if record.child}


def test_a_model_that_keeps_other_limits_than_those_that_were_asked_for_is_not_taken(store: DirectoryStore) -> None:
    searches = Searches(store, task(allowed=Allowed(latency_ms=2.8)))
    searches.waited()
    costs = {"latency_ms": 1, "latency_bound_ms": 900, "memory_bytes": 1000, "origin": "measured"}
    claimed(searches, "gate-1", limits={"latency_ms": 1000}, costs=costs)

    device = rank_run(searches.run.id).devices["gate-1"]

    assert device.deployable is None
    assert device.fault == "Its model is not taken: gate-1 measured its model above its limit of latency."


def test_an_edge_that_tells_of_another_edges_search_leaves_the_trace_as_it_is_and_the_others_to_be_ranked(
    store: DirectoryStore,
) -> None:
    searches = Searches(store)
    searches.waited()
    others = order_id(searches.asked.id, SEARCH, "gate-2", 1)
    retold(searches, "gate-1", lambda said: said["row"].update(id=others, device="gate-2", best=None))

    rank_run(searches.run.id)

    kept = {row.id: row for row in trace.rows(store)}
    assert {row.device for row in kept.values()} == SITES.keys() - {"gate-1"}
    assert kept[others].best is not None
    assert "What its search did cannot be read" in report_of(searches.run).page()


def test_an_edge_that_limits_energy_and_measured_none_does_not_keep_the_others_from_being_ranked(
    store: DirectoryStore,
) -> None:
    searches = Searches(store)
    searches.waited()

    def without_energy(said: Any) -> None:
        said["limits"]["energy_joules"] = 1
        for trial in said["row"]["trials"]:
            trial["measured"] = trial["measured"] and {**trial["measured"], "energy_joules": None}

    retold(searches, "gate-1", without_energy)

    assert rank_run(searches.run.id).devices.keys() == SITES.keys()
    assert children(searches) == set(SITES)


def test_an_edge_whose_manifest_was_tampered_with_does_not_keep_the_others_from_being_ranked(
    store: DirectoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    searches = Searches(store)
    searches.waited()
    store.put(searches.run.manifest_key(Delivery(edge="gate-1", step=SEARCH, attempt=1)), b"{}")

    assert rank_run(searches.run.id).devices.keys() == SITES.keys() - {"gate-1"}
    assert "gate-1: what it delivered cannot be read" in capsys.readouterr().out
