"""Ranking what devices found: their files decide, whatever they say."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloud.runs.run import Run
from cloud.runs.step_records import Delivery
from cloud.searches import trace
from cloud.tracking import TrackingLog
from cloudedge.documents import Evaluated, Manifest, OutputFile, Scores, order_id, parse
from cloudedge.documents.automl import Costs, Limits
from cloudedge.documents.manifest import MAX_MANIFEST_BYTES
from cloudedge.errors import NotFound
from cloudedge.store import DirectoryStore
from components.edge_automl.page.sections import report_of
from components.edge_automl.rank.step import figures_of, rank_run
from components.edge_automl.records import DONE, MODEL, SEARCH, ranking_of, search_of
from components.edge_automl.registration import registration_of
from components.edge_automl.steps import STEPS
from components.register.step import register_model
from tests.components.edge_automl.searches import BARREN, SITES, Searches, task

Change = Callable[[Manifest], Manifest]


@pytest.fixture
def searches(store: DirectoryStore) -> Searches:
    """A run whose devices have delivered."""
    searches = Searches(store)
    searches.waited()
    return searches


def delivery(name: str) -> Delivery:
    return Delivery(edge=name, step=SEARCH, attempt=1)


def alter(run: Run, name: str, change: Change) -> None:
    """Have a device say something else."""
    key = run.manifest_key(delivery(name))
    run.store.put(key, change(parse(Manifest, run.store.get(key, MAX_MANIFEST_BYTES), key)).to_json())


def retell(run: Run, name: str, **changes: Any) -> None:
    """Have a device say something else of what its search did."""
    content = search_of(run, delivery(name)).model_copy(update=changes).to_json()
    run.store.put(run.output_key(delivery(name), DONE), content)
    file = OutputFile(file="search.json", sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    alter(run, name, lambda found: found.model_copy(update={"outputs": {**found.outputs, DONE: file}}))


def saying(**changes: Any) -> Change:
    def change(manifest: Manifest) -> Manifest:
        return manifest.model_copy(update={"result": manifest.result.model_copy(update=changes)})

    return change


def test_the_most_accurate_model_is_the_best_one_and_of_equals_the_fastest(searches: Searches) -> None:
    alter(searches.run, "gate-10", saying(accuracy=0.9))
    for name in ("gate-1", "gate-2"):
        alter(searches.run, name, saying(accuracy=0.95))
    ranking = rank_run(searches.run.id)
    costs = {name: device.result.costs for name, device in ranking.devices.items()}
    assert all(costs.values())
    fastest = min(("gate-1", "gate-2"), key=lambda name: found.latency_bound_ms if (found := costs[name]) else 0.0)
    assert ranking.best == fastest
    assert {device.fault for device in ranking.devices.values()} == {""}
    assert ranking_of(searches.run) == ranking == rank_run(searches.run.id)
    assert figures_of(ranking)["accuracy/gate-10"] == 0.9
    assert {row.device for row in trace.rows(searches.store)} == set(SITES)


def test_a_model_that_is_not_what_its_device_says_is_not_taken(searches: Searches) -> None:
    run = searches.run
    key = run.output_key(delivery("gate-1"), MODEL)
    run.store.put(key, run.store.get(key, 2**20)[:-1] + b"x")
    alter(run, "gate-2", saying(sha256="1" * 64))
    ranking = rank_run(run.id)
    assert ranking.best == "gate-10"
    assert "is not the file that its manifest is about" in ranking.devices["gate-1"].fault
    assert "describes another model than it found" in ranking.devices["gate-2"].fault
    assert ranking.devices["gate-1"].deployable is ranking.devices["gate-2"].deployable is None


def test_a_model_that_breaks_a_limit_by_its_devices_own_word_is_not_taken(searches: Searches) -> None:
    alter(searches.run, "gate-1", saying(accuracy=1.0, limits=Limits(latency_ms=1e-9)))
    ranking = rank_run(searches.run.id)
    assert ranking.best != "gate-1"
    assert "measured its model above its limit of latency" in ranking.devices["gate-1"].fault


def test_what_is_no_search_is_passed_over_and_what_cannot_be_read_is_not_kept(searches: Searches) -> None:
    run = searches.run
    nothing = Scores(samples=1, loss=0, accuracy=1, recall=1)
    alter(run, "gate-1", lambda found: found.model_copy(update={"result": Evaluated(scores={"m": nothing})}))
    run.store.put(run.output_key(delivery("gate-2"), DONE), b"{}")
    ranking = rank_run(run.id)
    assert ranking.devices.keys() == {"gate-2", "gate-10"}
    assert {row.device for row in trace.rows(run.store)} == {"gate-1", "gate-10"}


def test_a_search_that_is_said_to_be_another_orders_is_not_kept(searches: Searches) -> None:
    run = searches.run
    row = search_of(run, delivery("gate-1")).row
    assert row
    others = order_id(run.id, SEARCH, "gate-2", 1)
    retell(run, "gate-1", row=row.model_copy(update={"id": others, "device": "gate-2", "best": None}))
    rank_run(run.id)
    kept = {row.id: row for row in trace.rows(run.store)}
    assert {row.device for row in kept.values()} == {"gate-2", "gate-10"}
    assert kept[others].best is not None
    assert "What its search did cannot be read" in report_of(run).page()


def test_a_model_that_keeps_wider_limits_than_were_asked_for_is_not_taken(searches: Searches) -> None:
    costs = Costs(latency_ms=1, latency_bound_ms=900, memory_bytes=1000, origin="measured")
    alter(searches.run, "gate-1", saying(limits=Limits(latency_ms=1000), costs=costs))
    device = rank_run(searches.run.id).devices["gate-1"]
    assert device.deployable is None
    assert "measured its model above its limit of latency" in device.fault


def test_a_device_that_limits_energy_and_measured_none_keeps_no_other_from_being_ranked(searches: Searches) -> None:
    record = search_of(searches.run, delivery("gate-1"))
    assert record.row
    unmetered = (
        trial.model_copy(update={"measured": trial.measured and trial.measured.model_copy(update={"energy_joules": None})})
        for trial in record.row.trials
    )
    limits = record.limits.model_copy(update={"energy_joules": 1.0})
    retell(searches.run, "gate-1", limits=limits, row=record.row.model_copy(update={"trials": tuple(unmetered)}))
    assert rank_run(searches.run.id).devices.keys() == SITES.keys()
    records = TrackingLog(searches.store, searches.run.id).read("rank").records
    assert {record.edge for record in records if record.child} == SITES.keys()


def test_a_device_whose_manifest_was_tampered_with_keeps_no_other_from_being_ranked(
    searches: Searches, capsys: pytest.CaptureFixture[str]
) -> None:
    searches.store.put(searches.run.manifest_key(delivery("gate-1")), b"{}")
    assert rank_run(searches.run.id).devices.keys() == SITES.keys() - {"gate-1"}
    assert "gate-1: what it delivered cannot be read" in capsys.readouterr().out


def test_where_no_device_has_a_model_nothing_is_registered_and_the_run_goes_on(tmp_path: Path, searches: Searches) -> None:
    barren = Searches(searches.store, task(id="barren", allowed=task().allowed), {"gate-1": BARREN})
    barren.waited()
    ranking = rank_run("barren")
    result = ranking.devices["gate-1"].result
    assert (ranking.best, result.by) == ("", "nobody")
    assert register_model("barren") == ""
    with pytest.raises(NotFound, match="No device of run barren has found a model"):
        STEPS.offer(barren.run, tmp_path)


def test_a_model_that_is_right_too_seldom_is_not_registered(tmp_path: Path, searches: Searches) -> None:
    for name in SITES:
        alter(searches.run, name, saying(accuracy=0.1))
    rank_run(searches.run.id)
    assert register_model(searches.run.id) == ""
    offered = STEPS.offer(searches.run, tmp_path)
    assert not offered.passed
    assert offered.verdict.startswith("The model is right in 10.0% of the held-out samples, no more often than chance.")
    asked = Searches(searches.store, task(id="asked", least_accuracy=0.999))
    asked.waited()
    rank_run("asked")
    assert register_model("asked") == ""
    assert "below 99.9%" in STEPS.offer(asked.run, tmp_path).verdict


def test_each_devices_model_is_offered_by_its_digest_and_without_one_the_best(tmp_path: Path, searches: Searches) -> None:
    ranking = rank_run(searches.run.id)
    assert STEPS.offer(searches.run, tmp_path).deployable == ranking.devices[ranking.best].deployable
    for name, device in ranking.devices.items():
        offered = STEPS.offer(searches.run, tmp_path, device.result.sha256)
        assert offered.deployable == device.deployable
        assert offered.deployable.lineage.edge == name
    with pytest.raises(NotFound, match="has found the model 000000000000"):
        STEPS.offer(searches.run, tmp_path, "0" * 64)


def test_mlflow_is_told_of_each_trial_and_each_devices_model(searches: Searches) -> None:
    ranking = rank_run(searches.run.id)
    log = TrackingLog(searches.store, searches.run.id)
    batches = {name: log.read(name) for name, _ in log.versions() if name.startswith("rank")}
    assert batches.keys() == {"rank", *(f"rank-{name}" for name in SITES if name != ranking.best)}
    children = [record for record in batches["rank"].records if record.child]
    assert len({record.child for record in children}) == len(children)
    for name in SITES:
        became = [record.tags["cloudedge.trial"] for record in children if record.edge == name]
        assert became.count("chosen") == 1
        assert len(became) == ranking.devices[name].result.trained
    for name, batch in batches.items():
        if name != "rank":
            assert batch.registration is not None
            assert batch.registration.aliases == (f"on-{name.removeprefix('rank-')}",)
    best = registration_of(searches.run, ranking, ranking.best)
    assert best.aliases == ("champion", f"on-{ranking.best}")
    assert best.sha256 == ranking.devices[ranking.best].result.sha256
    assert "cloudedge.latency_bound_ms" in best.tags
    costs = ranking.devices[ranking.best].result.costs
    assert costs is not None
    assert best.tags["cloudedge.memory_bytes"] == str(costs.memory_bytes)


def test_a_run_that_nobody_has_delivered_to_is_not_ranked(searches: Searches) -> None:
    early = Searches(searches.store, task(id="early"))
    early.dispatched()
    with pytest.raises(NotFound, match="No device of run early has delivered yet"):
        rank_run("early")
