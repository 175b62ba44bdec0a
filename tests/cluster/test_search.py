"""A search for a model on a KubeEdge node: within what its pod may take, and no network twice, though the pod dies in it."""

from pathlib import Path

import pytest

from cloud.orders.points import points_of_step
from cloudedge.documents.automl import DeviceDescription
from components.edge_automl.records import SEARCH
from edge.folders import Folders
from tests.cloud.searches.rows import kept
from tests.cluster.edge_tier import EdgeSite, EdgeTier
from tests.cluster.searching import EPOCHS, found, search
from tests.digits import EDGES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

EDGE = EDGES[0]
TRIALS = 5


def test_a_search_goes_on_after_its_pods_death_and_trains_no_network_twice(
    edge_tier: EdgeTier, samples: Path, tmp_path: Path
) -> None:
    site, task = EdgeSite(tmp_path, edge_tier), search("search", EDGE, trials=TRIALS)
    with site.edges(samples, (EDGE,), "--cpu", "1500m", "--memory", "1536Mi"):
        # No meta model knows of a device that takes so much, so that Optuna leads, by what it was told before.
        Folders(site.state(EDGE)).description.write_bytes(DeviceDescription(idle_watts=400, busy_watts=500).to_json())
        pipeline = site.pipeline(task)
        run = site.run(task)
        site.until(lambda: len(points_of_step(run, SEARCH).get(EDGE, ())) > EPOCHS + 1, pipeline, "the second network")
        site.kill(EDGE)
        before = points_of_step(run, SEARCH)[EDGE]
        site.finish(pipeline)
    result, record = found(run)

    assert result.by == "tpe"
    assert record.row is not None
    trials = record.row.trials
    assert len({trial.candidate for trial in trials}) == len(trials) >= TRIALS
    assert [row.id for row in kept(run.store)] == [record.row.id]
    points = points_of_step(run, SEARCH)[EDGE]
    assert [point.sequence for point in points] == list(range(TRIALS * (EPOCHS + 1)))
    assert EPOCHS + 1 < len(before) < len(points)
    assert tuple(points[: len(before)]) == tuple(before)
    trained = [trial for trial in trials if trial.accuracy is not None]
    for number, trial in enumerate(trained, start=1):
        # What a network took is measured, and no other training would take as long to the last digit.
        mine = [point for point in points if point.values["trial"] == number]
        assert len(mine) == EPOCHS + 1
        assert mine[-1].seconds == pytest.approx(sum(each.seconds for each in trained[:number])), trial

    assert result.processor is not None
    assert result.processor.cores == 1.5
    resources = record.state.resources
    assert 0 <= resources.free_nodes_cpu <= 1.5
    assert 0 < resources.free_memory_cpu <= 1536 * 2**20
