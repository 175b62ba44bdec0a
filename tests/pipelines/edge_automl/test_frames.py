"""What searches on devices measured, as DataFrames."""

from pathlib import Path

import pytest

from cloudedge.documents.tasks.edge_automl import Allowed
from cloudedge.errors import NotFound
from cloudedge.store import DirectoryStore
from pipelines.edge_automl.frames import AutomlFrames
from tests.components.edge_automl.searches import BARREN, SITES, Searches, task

FRAMES = AutomlFrames()


@pytest.fixture
def searches(tmp_path: Path) -> Searches:
    sites = {**SITES, "gate-3": BARREN}
    return Searches(DirectoryStore(tmp_path), task(allowed=Allowed(latency_ms=2.8)), sites, missing={"gate-9": "disk full"})


def test_accuracy_is_that_of_each_devices_model_the_best_first(searches: Searches) -> None:
    frame = FRAMES.accuracy(searches.ended())

    assert frame["fused"].round(3).to_dict() == {"gate-1": 0.925, "gate-10": 0.905, "gate-2": 0.9}
    assert [*frame.index] == ["gate-1", "gate-10", "gate-2"]
    assert frame.index.name == "environment"


def test_each_trial_is_a_row_with_what_became_of_it(searches: Searches) -> None:
    frame = FRAMES.trials(searches.ended())

    assert frame.index.names == ["edge", "trial"]
    assert {edge for edge, _ in frame.index} == {"gate-1", "gate-2", "gate-10"}
    first = frame.loc["gate-1", 1]
    assert (first["layers"], first["filters"], first["kernel"], first["growing"]) == (2, 64, 3, False)
    assert first["outcome"] == "refused: latency 1.02 times its limit"
    assert first["measured bound ms"] > 2.8 > first["predicted bound ms"]
    assert frame["chosen"].groupby("edge").sum().to_dict() == {"gate-1": 1, "gate-2": 1, "gate-10": 1}
    screened = frame[frame["outcome"].str.startswith("screened out")]
    assert len(screened) > 0
    assert screened["accuracy"].isna().all()
    assert (screened["predicted bound ms"] > 2.8).all()


def test_each_device_is_a_row_those_without_a_model_among_them(searches: Searches) -> None:
    frame = FRAMES.edges(searches.ended())

    assert [edge for edge, _ in frame.index] == ["gate-1", "gate-2", "gate-3", "gate-9", "gate-10"]
    assert frame.loc[("gate-3", 1), "screened out"] == 200
    assert frame.loc[("gate-9", 1), "left out"] == "disk full"
    assert frame.loc[("gate-1", 1), "refused"] == 1


def test_points_are_those_of_each_devices_history(searches: Searches) -> None:
    frame = FRAMES.epochs(searches.ended())

    assert frame.index.names == ["edge", "round", "epoch"]
    assert frame.groupby("edge").size().to_dict() == {"gate-1": 15, "gate-2": 15, "gate-10": 15}
    assert {"trial", "accuracy", "seconds"} <= {*frame.columns}


def test_before_any_device_has_delivered_there_are_none(searches: Searches) -> None:
    searches.dispatched()

    for frame in (FRAMES.accuracy, FRAMES.edges, FRAMES.trials):
        with pytest.raises(NotFound, match="no device has delivered"):
            frame(searches.run)
    assert FRAMES.epochs(searches.run).empty
    with pytest.raises(NotFound, match="has no confusion matrix: edge-automl measures none"):
        FRAMES.confusion(searches.run)
