"""A line with real detectors, which inspect while all of it goes on; and the edge server as a place to deploy to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloudedge.documents.inspection import Bounds, Rollout
from cloudedge.documents.line import SERVER
from cloudedge.errors import InvalidInput
from edge.detector.detector import Detector
from edge.detector.link import Link, join
from edge.line.history import History
from tests.edge.detector.station import BRAND, Station, judging
from tests.edge.line.site import LineSite, a_model
from tests.waiting import PATIENCE, until

AT_ONCE = Rollout(canaries=0)


@contextmanager
def at_work(site: LineSite, name: str) -> Iterator[Detector]:
    """A detector that inspects and is here."""
    station = Station(site.root / name, {"encoder": {"kind": "timer", "per_second": 20}, "brand": ""})
    station.root.mkdir(exist_ok=True)
    if not (station.state / "link").exists():
        join(site.line.add(name), station.state / "link")
    with station.at_work() as detector:
        link = Link(detector, station.state / "link")
        link.start()
        try:
            yield detector
        finally:
            link.close()


def outcomes(site: LineSite, name: str) -> dict[str, str]:
    until(lambda: site.line.deployment(name).over, what="the end of the deployment")
    parts = site.line.deployment(name).detectors
    return {detector: part.outcome.state for detector, part in parts.items() if part.outcome is not None}


def test_a_detector_judges_by_what_was_deployed_and_its_rejects_come_back(site: LineSite) -> None:
    first, strict = site.root / "first.onnx", site.root / "strict.onnx"
    with at_work(site, "north") as detector:
        until(lambda: site.is_here("north"))
        site.line.brand("north", BRAND)
        site.line.deploy("one", BRAND, judging(first, 1000.0), first, (), AT_ONCE, Bounds(watch_seconds=0))
        assert outcomes(site, "one") == {"north": "serving"}
        until(lambda: detector.status().images > 3 and detector.status().model)
        bounds = Bounds(watch_seconds=600, least_images=5, reject_rate=0.5)
        canary = Rollout(canaries=1, canary_seconds=600)
        site.line.deploy("two", BRAND, judging(strict, -1.0), strict, (), canary, bounds)  # It rejects all.
        assert outcomes(site, "two") == {"north": "rolled-back"}
        outcome = site.line.deployment("two").detectors["north"].outcome
        assert outcome is not None
        assert outcome.reject_rate == 1
        current = detector.models.current(BRAND)
        assert current is not None
        assert current.deployable.sha256 == site.line.deployment("one").sha256
        assert site.line.gather(BRAND, ["north"], PATIENCE) == {}
    history = History(site.folders.line_history)
    rejects = history.rejects("north")
    assert rejects
    assert {record.model for _, record, _ in rejects} == {site.line.deployment("two").sha256}
    assert history.recorded(BRAND)
    history.close()


def test_a_detector_that_was_off_goes_on_with_its_model_and_gets_the_next(site: LineSite) -> None:
    first, second = site.root / "first.onnx", site.root / "second.onnx"
    with at_work(site, "north"):
        site.line.brand("north", BRAND)
        site.line.deploy("one", BRAND, judging(first, 1000.0), first, (), AT_ONCE, Bounds(watch_seconds=0))
        assert outcomes(site, "one") == {"north": "serving"}
    site.line.deploy("two", BRAND, judging(second, 2000.0), second, (), AT_ONCE, Bounds(watch_seconds=0))
    with at_work(site, "north") as detector:
        assert outcomes(site, "two") == {"north": "serving"}
        assert {state.id: state.phase for state in detector.status().deployments} == {"one": "serving", "two": "serving"}


def test_the_edge_server_itself_answers_by_a_model_that_is_deployed_to_it(tmp_path: Path) -> None:
    site = LineSite(tmp_path, models=True)
    service = site.start()
    try:
        local = service.local
        assert local is not None
        for name in ("one", "two"):
            path = tmp_path / "models" / f"{name}.onnx"
            site.line.deploy(name, BRAND, a_model(path, name), path, [SERVER], AT_ONCE)
            assert outcomes(site, name) == {SERVER: "serving"}
        current = local.models.current(BRAND)
        assert current is not None
        assert current.deployable.sha256 == site.line.deployment("two").sha256
        site.line.rollback(SERVER, BRAND)
        until(
            lambda: (current := local.models.current(BRAND)) and current.deployable.sha256 == site.line.deployment("one").sha256
        )
        site.stop()
        again = site.start()
        assert again.local is not None
        until(lambda: site.line.report())
        current = again.local.models.current(BRAND)
        assert current is not None
        assert current.deployable.sha256 == site.line.deployment("one").sha256
    finally:
        site.close()


def test_an_edge_server_that_answers_by_no_models_gets_none(site: LineSite) -> None:
    path = site.root / "one.onnx"
    with pytest.raises(InvalidInput, match="--models"):
        site.line.deploy("one", BRAND, a_model(path), path, [SERVER], AT_ONCE)
