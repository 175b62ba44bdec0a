"""Ranking what devices found: their files decide, whatever they say."""

from pathlib import Path

import pytest

from cloud.tracking import TrackingLog
from cloudedge.documents import Evaluated, Scores
from cloudedge.errors import NotFound
from cloudedge.store import DirectoryStore
from components.edge_automl.page.findings import gather
from components.edge_automl.rank.step import figures_of, rank_run
from components.edge_automl.records import DONE, MODEL, ranking_of
from components.edge_automl.registration import registration_of
from components.edge_automl.steps import STEPS
from components.register.step import register_model
from tests.components.edge_automl.searches import BARREN, SITES, Searches, claimed, delivery, task


@pytest.fixture
def searches(store: DirectoryStore) -> Searches:
    """A run whose devices have delivered."""
    searches = Searches(store)
    searches.waited()
    return searches


def test_the_most_accurate_model_is_the_best_one_and_of_equals_the_fastest(searches: Searches) -> None:
    claimed(searches, "gate-10", accuracy=0.9)
    for name in ("gate-1", "gate-2"):
        claimed(searches, name, accuracy=0.95)
    ranking = rank_run(searches.run.id)
    costs = {name: device.result.costs for name, device in ranking.devices.items()}
    assert all(costs.values())
    fastest = min(("gate-1", "gate-2"), key=lambda name: found.latency_bound_ms if (found := costs[name]) else 0.0)
    assert ranking.best == fastest
    assert {device.fault for device in ranking.devices.values()} == {""}
    assert ranking_of(searches.run) == ranking == rank_run(searches.run.id)
    assert figures_of(ranking)["accuracy/gate-10"] == 0.9


def test_a_model_that_is_not_what_its_device_says_is_not_taken(searches: Searches) -> None:
    run = searches.run
    key = run.output_key(delivery("gate-1"), MODEL)
    run.store.put(key, run.store.get(key, 2**20)[:-1] + b"x")
    claimed(searches, "gate-2", sha256="1" * 64)
    ranking = rank_run(run.id)
    assert ranking.best == "gate-10"
    assert "is not the file that its manifest is about" in ranking.devices["gate-1"].fault
    assert "describes another model than it found" in ranking.devices["gate-2"].fault
    assert ranking.devices["gate-1"].deployable is ranking.devices["gate-2"].deployable is None


def test_a_model_that_breaks_a_limit_by_its_devices_own_word_is_not_taken(searches: Searches) -> None:
    claimed(searches, "gate-1", accuracy=1.0, limits={"latency_ms": 1e-9})
    ranking = rank_run(searches.run.id)
    assert ranking.best != "gate-1"
    assert "measured its model above its limit of latency" in ranking.devices["gate-1"].fault


def test_what_is_no_search_is_passed_over_and_a_search_that_cannot_be_read_is_said_to_be_so(
    searches: Searches, capsys: pytest.CaptureFixture[str]
) -> None:
    run = searches.run
    nothing = Scores(samples=1, loss=0, accuracy=1, recall=1)
    key = run.manifest_key(delivery("gate-1"))
    run.store.put(
        key, run.manifest(delivery("gate-1")).model_copy(update={"result": Evaluated(scores={"m": nothing})}).to_json()
    )
    run.store.put(run.output_key(delivery("gate-2"), DONE), b"{}")
    assert rank_run(run.id).devices.keys() == {"gate-2", "gate-10"}
    assert "gate-2: What its search did cannot be read" in capsys.readouterr().out


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
        claimed(searches, name, accuracy=0.1)
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
    best = registration_of(searches.run, ranking, ranking.best, gather(searches.run))
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
