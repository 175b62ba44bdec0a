"""The work of an order to deploy: from the cloud's files to what became of the model at each detector."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudedge.documents import Order, Phase, Point, RemoteFile
from cloudedge.documents.deployable import Deployable
from cloudedge.documents.inspection import Bounds, Rollout
from cloudedge.documents.kinds.deploy import Deploy, Deployed
from cloudedge.errors import CloudedgeError, InvalidInput, InvalidModel, NotFound, StoreFailed, WorkFailed
from cloudedge.names import sha256_of
from edge.folders import Folders
from edge.kinds.deploy import work
from edge.line.settings import open_line, read_settings
from edge.messages import Job, Message
from tests.edge.line.site import BRAND, LineSite, a_model, free_ports, services
from tests.edge.site import Site
from tests.waiting import PATIENCE, until

AT_ONCE = Rollout(canaries=0)
SHARES = ("transfer/a", "load/a", "transfer/b", "load/b")


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


def order_of(
    site: Site,
    rollout: Rollout = AT_ONCE,
    padding: int = 0,
    deployable: Deployable | None = None,
    bounds: Bounds | None = None,
) -> Order:
    model, manifest = site.cloud / "model.onnx", site.cloud / "deployable.json"
    made = a_model(model, "one", padding)
    manifest.write_bytes((deployable or made).to_json())
    asked = Deploy(brand=BRAND, rollout=rollout, bounds=bounds or Bounds(watch_seconds=60))
    inputs = {"model": remote(model), "deployable": remote(manifest)}
    return site.order(1, work=asked, inputs=inputs, outputs={})


class Worked:
    """Work in this process, and what it said."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.said: list[Message] = []

    @property
    def points(self) -> tuple[Point, ...]:
        return tuple(point for message in self.said for point in message.points or ())

    def do(self, order: Order, told: tuple[Point, ...] = ()) -> Deployed:
        where: dict[str, Any] = {"state": str(self.site.state), "file_roots": (str(self.site.cloud),)}
        job = Job(order=order, begun=bool(told), points=told, samples=None, mirror_samples=False, **where)
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
        ("watch", 2, 2),
        ("load", 2, 2),
        ("transfer", 2 * size, 2 * size),
    ]
    points = worked.points
    assert [point.sequence for point in points] == list(range(len(points)))
    assert points[0].values == {"serving": 0, "detectors": 2, **dict.fromkeys(SHARES, 0)}
    assert points[-1].values["serving"] == 2
    series = {name: [point.values[name] for point in points if name in point.values] for name in SHARES}
    assert all(found == sorted(found) and found[-1] == 1 for found in series.values())


def test_the_result_waits_for_the_end_of_the_watch(tmp_path: Path, line: LineSite) -> None:
    detectors = line.linked("a", "b")
    for detector in detectors:
        detector.ends = "watching"
    worked, results = Worked(Site(tmp_path)), []
    order = order_of(worked.site)
    thread = threading.Thread(target=lambda: results.append(worked.do(order)))
    thread.start()
    until(lambda: any(message.gauges and message.gauges["serving"] == 2 for message in worked.said))
    detectors[0].now(order.id, "serving", images=50, reject_rate=0.02)
    until(lambda: any(message.progress and message.progress[0].done == 1 for message in worked.said))
    assert thread.is_alive()
    detectors[1].now(order.id, "rolled-back", "it rejected 9 of 10 parts", images=10, reject_rate=0.9)
    thread.join(PATIENCE)
    (result,) = results
    assert result.serving == 1
    assert {name: (found.state, found.images) for name, found in result.detectors.items()} == {
        "a": ("serving", 50),
        "b": ("rolled-back", 10),
    }
    assert [message.gauges["serving"] for message in worked.said if message.gauges][-1] == 1
    assert worked.points[-1].values["serving"] == 1


def test_on_a_line_that_stands_the_result_says_that_nothing_was_judged(tmp_path: Path, line: LineSite) -> None:
    (detector,) = line.linked("a")
    detector.ends = "watching"
    worked = Worked(Site(tmp_path))
    result = worked.do(order_of(worked.site, Rollout(canaries=0, wait_seconds=0.2), bounds=Bounds(watch_seconds=0.1)))
    assert result.detectors["a"].state == "serving"
    assert result.detectors["a"].reason.startswith("still watched: no image was judged within")


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


def test_an_edge_server_that_answers_by_no_models_says_at_once_all_that_has_to_be_done(tmp_path: Path) -> None:
    site = Site(tmp_path)
    order = order_of(site)
    assert isinstance(order.work, Deploy)
    to_server = order.model_copy(update={"work": order.work.model_copy(update={"detectors": ("server",)})})
    folders = Folders(site.state)
    command = rf"cloudedge-edge line open --state {site.state} --listen %s--models HOST:PORT HOST:PORT\.$"
    worked = Worked(site)
    with pytest.raises(InvalidInput, match=f"there is no line here.*{command % 'HOST:PORT '}"):
        worked.do(to_server)
    open_line(folders, "127.0.0.1:7443", join="127.0.0.1:9000")
    addresses = "127.0.0.1:7443 --join 127.0.0.1:9000 --page 127.0.0.1:7445 "
    with pytest.raises(InvalidInput, match=f"opened without ports for models.*{command % addresses}"):
        worked.do(to_server)
    assert not worked.said  # Nothing was fetched.


def test_a_service_that_does_not_answer_by_models_yet_is_waited_for(tmp_path: Path, line: LineSite) -> None:
    site = Site(tmp_path)
    folders = Folders(site.state)
    http, grpc = (f"127.0.0.1:{port}" for port in free_ports(2))
    path = tmp_path / "one.onnx"
    model = a_model(path)
    settings = read_settings(folders)
    open_line(folders, settings.listen, settings.join, settings.page, (http, grpc))
    with pytest.raises(StoreFailed, match="starts anew"):
        line.line.deploy("one", BRAND, model, path, ["server"])


def test_a_second_try_follows_the_same_deployment(tmp_path: Path, line: LineSite) -> None:
    (detector,) = line.linked("a")
    worked = Worked(Site(tmp_path))
    first = worked.do(order_of(worked.site))
    told = worked.points
    assert worked.do(order_of(worked.site), told).detectors.keys() == first.detectors.keys()
    assert len(detector.deployed) == 1
    assert worked.points == told


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
    thread.join(PATIENCE)
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
            points = edge.history(order)
            assert (points[0].values["serving"], points[-1].values["serving"]) == (0, 1)
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
        detector.now(order.id, "serving")
        with edge.running() as runner:
            edge.finish(order)
            points = edge.history(order)
            assert [point.sequence for point in points] == list(range(len(points)))
            assert (points[0].values["load/a"], points[-1].values["load/a"]) == (0, 1)
            assert detector.deployed == [order.id]
            (killed,) = services(runner)
            os.kill(killed.pid, signal.SIGKILL)
            until(lambda: [process for process in services(runner) if process.pid != killed.pid])
            until(line.answers, what="the service being started again")
    finally:
        line.close()
