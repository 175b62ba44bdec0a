"""The work of an order to deploy: from the cloud's files to what became of the model at each detector."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudedge.documents import Order, Phase, RemoteFile
from cloudedge.documents.deployable import Deployable
from cloudedge.documents.inspection import Bounds, Rollout
from cloudedge.documents.kinds.deploy import Deploy, Deployed
from cloudedge.errors import CloudedgeError, InvalidModel, NotFound, WorkFailed
from cloudedge.names import sha256_of
from edge.folders import Folders
from edge.kinds.deploy import work
from edge.messages import Job, Message
from tests.edge.line.site import BRAND, LineSite, a_model, services
from tests.edge.site import Site
from tests.waiting import until

AT_ONCE = Rollout(canaries=0)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[LineSite]:
    """A line whose service runs in this process, for the runner's state directory of the site."""
    line = LineSite(tmp_path)
    line.start()
    yield line
    line.close()


@pytest.fixture
def edge(tmp_path: Path, workers: tuple[Path, object]) -> Site:
    """An edge without samples."""
    return Site(tmp_path, workers[0])


def remote(path: Path) -> RemoteFile:
    return RemoteFile(url=path.as_uri(), sha256=sha256_of(path), size=path.stat().st_size)


def order_of(site: Site, rollout: Rollout = AT_ONCE, padding: int = 0, deployable: Deployable | None = None) -> Order:
    model, manifest = site.cloud / "model.onnx", site.cloud / "deployable.json"
    made = a_model(model, "one", padding)
    manifest.write_bytes((deployable or made).to_json())
    asked = Deploy(brand=BRAND, rollout=rollout, bounds=Bounds(watch_seconds=60))
    inputs = {"model": remote(model), "deployable": remote(manifest)}
    return site.order(1, work=asked, inputs=inputs, outputs={})


class Worked:
    """Work in this process, and what it said."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.said: list[Message] = []

    def do(self, order: Order) -> Deployed:
        roots = (str(self.site.cloud),)
        job = Job(order=order, begun=False, state=str(self.site.state), samples=None, mirror_samples=False, file_roots=roots)
        assert isinstance(order.work, Deploy)
        work(job, order.work, self.said.append)
        result = json.loads(Folders(self.site.state).manifest(order.id).read_text())["result"]
        return Deployed.model_validate(result)


def test_a_model_goes_to_all_detectors_and_each_has_its_outcome(tmp_path: Path, line: LineSite) -> None:
    line.linked("a", "b")
    worked = Worked(Site(tmp_path))
    order = order_of(worked.site, padding=500_000)
    result = worked.do(order)
    assert result.sha256 == order.inputs["model"].sha256
    assert {name: outcome.state for name, outcome in result.detectors.items()} == {"a": "serving", "b": "serving"}
    assert result.detectors["a"].load_seconds == 0.5
    assert [message.phase for message in worked.said if message.phase] == [Phase.FETCHING, Phase.DEPLOYING]
    progress = [message.progress for message in worked.said if message.progress]
    size = order.inputs["model"].size
    assert [(stream.name, stream.done, stream.total) for stream in progress[-1]] == [
        ("load", 2, 2),
        ("transfer", 2 * size, 2 * size),
    ]
    points = [point for message in worked.said for point in message.points or ()]
    assert [point.sequence for point in points] == list(range(5))
    assert points[0].values["serving"] == 0
    assert points[-1].values["serving"] == 2


def test_one_of_two_is_a_result(tmp_path: Path, line: LineSite) -> None:
    line.linked("a", "b")
    line.detectors["b"].ends = "failed"
    worked = Worked(Site(tmp_path))
    result = worked.do(order_of(worked.site))
    assert (result.serving, result.detectors["b"].state) == (1, "failed")


def test_none_of_two_is_a_failure_with_the_reasons(tmp_path: Path, line: LineSite) -> None:
    line.linked("a")
    line.joined("b")
    line.detectors["a"].ends = "rolled-back"
    worked = Worked(Site(tmp_path))
    with pytest.raises(WorkFailed, match="No detector judges by the model") as error:
        worked.do(order_of(worked.site, Rollout(canaries=1, wait_seconds=0.1)))
    assert "a: rolled-back" in str(error.value)
    assert "b: skipped, it was rolled back at the canary a" in str(error.value)


def test_a_second_try_follows_the_same_deployment(tmp_path: Path, line: LineSite) -> None:
    (detector,) = line.linked("a")
    worked = Worked(Site(tmp_path))
    first = worked.do(order_of(worked.site))
    assert worked.do(order_of(worked.site)).detectors.keys() == first.detectors.keys()
    assert len(detector.deployed) == 1


def test_a_service_that_dies_meanwhile_is_waited_for(tmp_path: Path, line: LineSite) -> None:
    (detector,) = line.linked("a")
    detector.ends = "loading"
    worked, results = Worked(Site(tmp_path)), []
    order = order_of(worked.site)
    thread = threading.Thread(target=lambda: results.append(worked.do(order)))
    thread.start()
    until(lambda: detector.deployed)
    line.stop()
    detector.now(order.id, "serving")
    line.start()
    thread.join(60)
    assert [result.serving for result in results] == [1]


def test_where_no_line_is_that_is_said(tmp_path: Path) -> None:
    worked = Worked(Site(tmp_path))
    with pytest.raises(NotFound, match="There is no line"):
        worked.do(order_of(worked.site))


def test_a_manifest_of_another_model_is_refused(tmp_path: Path, line: LineSite) -> None:
    (detector,) = line.linked("a")
    worked = Worked(Site(tmp_path))
    other = a_model(tmp_path / "other.onnx", "other")
    with pytest.raises(InvalidModel, match="and the order brings"):
        worked.do(order_of(worked.site, deployable=other))
    threshold = a_model(tmp_path / "cloud" / "model.onnx", "one")
    wrong = threshold.model_copy(update={"inputs": threshold.outputs[:1], "image": None})
    with pytest.raises(CloudedgeError):
        worked.do(order_of(worked.site, deployable=wrong))
    assert detector.deployed == []


def test_a_runner_starts_its_lines_service_and_deploys(edge: Site) -> None:
    line = LineSite(edge.root)
    try:
        with edge.running():
            until(line.answers)
            line.linked("a")
            order = order_of(edge)
            edge.want(order)
            report = edge.finish(order)
            result = edge.manifest(order).result
            assert isinstance(result, Deployed)
            assert result.detectors["a"].state == "serving"
            assert report.share == 1
            assert [point.values["serving"] for point in edge.history(order)] == [0, 1, 1]
    finally:
        line.close()


def test_a_cancelled_order_stops_the_deployment(edge: Site) -> None:
    line = LineSite(edge.root)
    try:
        with edge.running():
            until(line.answers)
            line.linked("a")
            line.joined("b")
            order = order_of(edge)
            edge.want(order)
            until(lambda: (report := edge.report(order)) and report.gauges.get("serving") == 1)
            edge.want(order.model_copy(update={"state": "cancelled"}))
            edge.finish(order, Phase.CANCELLED)
            until(lambda: line.line.report().deployments[0].over)
            parts = line.line.report().deployments[0].detectors
            assert {name: part.outcome.state for name, part in parts.items() if part.outcome} == {
                "a": "serving",
                "b": "skipped",
            }
    finally:
        line.close()


def test_a_runner_that_is_killed_in_a_deployment_goes_on_with_it(edge: Site) -> None:
    line = LineSite(edge.root)
    try:
        with edge.running():
            until(line.answers)
            (detector,) = line.linked("a")
            detector.ends = "loading"
            order = order_of(edge)
            edge.want(order)
            until(lambda: detector.deployed)
        detector.now(order.id, "watching")
        with edge.running() as runner:
            edge.finish(order)
            assert detector.deployed == [order.id]
            os.kill(services(runner)[0].pid, signal.SIGKILL)
            until(lambda: not line.answers())
            until(line.answers, what="the service being started again")
    finally:
        line.close()
