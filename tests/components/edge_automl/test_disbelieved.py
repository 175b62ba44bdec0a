"""What devices deliver is believed only as far as its files and the task bear it out; nobody else is kept from being ranked."""

from typing import Any

import pytest

from cloud.tracking import TrackingLog
from cloudedge.documents import order_id
from cloudedge.documents.tasks.edge_automl import Allowed
from cloudedge.store import DirectoryStore
from components.edge_automl.page.sections import report_of
from components.edge_automl.rank.step import rank_run
from components.edge_automl.records import DEPLOYABLE, SEARCH
from components.register.step import register_model
from components.report.step import report_run
from components.wait.step import wait_step
from pipelines.edge_automl.system import SYSTEM
from tests.cloud.searches.rows import kept
from tests.components.edge_automl.searches import SITES, Searches, claimed, delivery, retold, task


@pytest.fixture
def searches(store: DirectoryStore) -> Searches:
    """A run whose devices have delivered."""
    searches = Searches(store, task(allowed=Allowed(latency_ms=2.8)))
    searches.waited()
    return searches


def all_that_follows(searches: Searches) -> str:
    """The run goes on to its end; why the model of gate-1 is not taken."""
    ranking = rank_run(searches.run.id)
    assert ranking.devices.keys() == SITES.keys()
    assert ranking.best != "gate-1"
    assert register_model(searches.run.id) == "meters-1"
    report_run(searches.run.id)
    assert SYSTEM.summary(searches.run)["devices"]["gate-1"]["model"]["sha256"]
    assert ranking.devices["gate-1"].deployable is None
    return ranking.devices["gate-1"].fault


def became(searches: Searches) -> dict[str, list[str]]:
    """What MLflow is told of each device's trials."""
    found: dict[str, list[str]] = {}
    for record in TrackingLog(searches.store, searches.asked.id).read("rank").records:
        if record.child and record.edge:
            found.setdefault(record.edge, []).append(record.tags["cloudedge.trial"])
    return found


def test_a_model_that_keeps_other_limits_than_those_that_were_asked_for_is_not_taken(searches: Searches) -> None:
    costs = {"latency_ms": 1, "latency_bound_ms": 900, "memory_bytes": 1000, "origin": "measured"}
    claimed(searches, "gate-1", limits={"latency_ms": 1000}, costs=costs)

    assert all_that_follows(searches) == "gate-1 measured its model above its limit of latency."
    assert "chosen" not in became(searches)["gate-1"]
    assert "chosen" in became(searches)["gate-2"]


def test_a_model_whose_energy_is_limited_and_was_not_measured_is_not_taken(searches: Searches) -> None:
    costs = {"latency_ms": 1, "latency_bound_ms": 1, "memory_bytes": 1000, "origin": "measured"}
    claimed(searches, "gate-1", limits={"energy_joules": 1}, costs=costs)

    assert all_that_follows(searches).startswith("Energy is limited to 1 J, but what a network takes is not known")


@pytest.mark.parametrize("lacking", ["candidate", "costs", "accuracy"])
def test_a_model_of_which_its_device_says_too_little_is_not_taken(searches: Searches, lacking: str) -> None:
    claimed(searches, "gate-1", **{lacking: None})

    fault = "gate-1 does not say which network its model is, and what that reaches and costs."
    assert all_that_follows(searches) == fault


@pytest.mark.parametrize(
    "other",
    [
        {"name": "another"},
        {"classes": list("9876543210")},
        {"lineage": {"run": "another", "edge": "gate-1"}},
        {"lineage": {"run": "meters-1", "edge": "gate-2"}},
    ],
)
def test_a_model_that_is_described_otherwise_than_it_was_asked_for_is_not_taken(
    searches: Searches, other: dict[str, Any]
) -> None:
    retold(searches, "gate-1", lambda said: said.update(other), DEPLOYABLE)

    assert all_that_follows(searches) == "gate-1 describes a model of another name, form or origin than it was asked for."


def test_why_a_model_is_not_taken_is_said_once(searches: Searches) -> None:
    claimed(searches, "gate-1", candidate=None)
    all_that_follows(searches)

    page = report_of(searches.run).page()
    assert "<b>Its model is not taken. </b>gate-1 does not say" in page
    assert "not taken: gate-1 does not say" in page
    assert SYSTEM.summary(searches.run)["devices"]["gate-1"]["words"].startswith("Its model is not taken: gate-1 does not say")


def test_a_device_that_tells_of_another_ones_search_leaves_the_trace_as_it_is(store: DirectoryStore) -> None:
    searches = Searches(store)
    searches.delivered()
    others = order_id(searches.asked.id, SEARCH, "gate-2", 1)
    retold(searches, "gate-1", lambda said: said["row"].update(id=others, device="gate-2", best=None))

    wait_step(searches.run.id, SEARCH)
    rank_run(searches.run.id)

    rows = {row.id: row for row in kept(store)}
    assert {row.device for row in rows.values()} == SITES.keys() - {"gate-1"}
    assert rows[others].best is not None
    assert "What its search did cannot be read" in report_of(searches.run).page()


def test_a_device_that_limits_energy_and_measured_none_does_not_keep_the_others_from_being_ranked(searches: Searches) -> None:
    def without_energy(said: Any) -> None:
        said["limits"]["energy_joules"] = 1
        for trial in said["row"]["trials"]:
            trial["measured"] = trial["measured"] and {**trial["measured"], "energy_joules": None}

    retold(searches, "gate-1", without_energy)

    assert rank_run(searches.run.id).devices.keys() == SITES.keys()
    assert became(searches).keys() == SITES.keys()


def test_a_device_whose_manifest_was_tampered_with_does_not_keep_the_others_from_being_ranked(
    searches: Searches, capsys: pytest.CaptureFixture[str]
) -> None:
    searches.store.put(searches.run.manifest_key(delivery("gate-1")), b"{}")

    assert rank_run(searches.run.id).devices.keys() == SITES.keys() - {"gate-1"}
    assert "gate-1: what it delivered cannot be read" in capsys.readouterr().out
