"""A production line whose edge server is a KubeEdge node: its runner is a pod, its detector is on another machine."""

import json
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cloud.fleet.enrolment import runner_name
from cloudedge.documents.deployable import Deployable
from cloudedge.documents.inspection import Augmentation, Bounds, Gathering, InspectionTraining, Rollout, TrainingSet
from cloudedge.documents.kinds.deploy import Outcome
from cloudedge.documents.tasks.inspection_deployment import InspectionDeploymentTask
from cloudedge.documents.tasks.inspection_training import InspectionTrainingTask
from cloudedge.interpreter import python
from components.inspection_deployment.page import deployed_by
from components.inspection_training.records import gate_of
from tests.cloudedge.inspection.parts import SIZE, hole, normal
from tests.cluster.bench import Bench
from tests.cluster.edge_tier import EdgeSite, EdgeTier
from tests.cluster.network import run
from tests.cluster.site import NAMESPACE
from tests.edge.detector.station import Station
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

LINE, PORT = "line-1", 8470
DETECTOR, BRAND = "north", "plate"
FIRST, SECOND = "model-1", "model-2"


def training(name: str) -> InspectionTrainingTask:
    """A training that takes seconds; that for the second model sees twice as much."""
    varied = TrainingSet(augmentation=Augmentation(flip_horizontal=name == SECOND))
    gathering = Gathering(wait_seconds=1)
    asked = InspectionTraining(brand=BRAND, height=SIZE, width=SIZE, gathering=gathering, training_set=varied)
    return InspectionTrainingTask(name=name, id=name, line=LINE, training=asked)


def deployment(name: str, model: str) -> InspectionDeploymentTask:
    return InspectionDeploymentTask(
        name=name,
        id=name,
        line=LINE,
        brand=BRAND,
        model=model,
        rollout=Rollout(canaries=0),
        bounds=Bounds(watch_seconds=0),
    )


def draw_line(root: Path) -> Path:
    """What lies on the line's node, and the cloud's test set."""
    for kind, draw, count in (("normal", normal, 14), ("hole", hole, 4)):
        for number in range(count):
            for folder in (root / "edges" / LINE / BRAND,) if kind == "normal" else ():
                _save(draw(number), folder / kind / f"{number:02}.png")
            _save(draw(500 + number), root / "test" / BRAND / kind / f"{number:02}.png")
    return root


def _save(pixels: object, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)  # type: ignore[arg-type]


class Line:
    """The line, seen from its detector's machine, from its edge server and from the cloud."""

    def __init__(self, site: EdgeSite, bench: Bench, station: Station) -> None:
        self.site, self.bench, self.station = site, bench, station

    def edge(self, *arguments: str) -> str:
        """What the site engineer's tool says in the edge server's pod."""
        return self.site.inside(LINE, "cloudedge-edge", *arguments, "--state", "/state")

    def detector(self, *arguments: str) -> str:
        """What the detector's own tool says on its machine."""
        return run(*self.bench.inside, *python("edge.detector.cli", *arguments, "--state", self.station.state))

    def serves(self) -> bool:
        """Whether the line's service is at work."""
        with suppress(AssertionError):  # The container may be starting.
            return "at work\n" in self.edge("line", "show").replace("not at work", "")
        return False

    def here(self) -> bool:
        """Whether the edge server knows the detector as being here."""
        return bool(self.seen()["connected"])

    def seen(self) -> dict[str, Any]:
        """The detector, as the edge server knows it."""
        (found,) = json.loads(self.edge("detectors", "list", "--json"))
        return dict(found)

    def judging(self) -> str:
        """The model by which the newest part was judged."""
        return str(self.station.verdicts()[-1]["model"])

    def parts(self) -> int:
        """How many were inspected."""
        return len(self.station.verdicts())

    def goes_on(self) -> None:
        """Wait until some more parts were inspected."""
        before = self.parts()
        until(lambda: self.parts() > before + 20, what="more parts")

    def outcome(self, task: InspectionDeploymentTask) -> Outcome:
        """What became of a deployment, as the cloud knows."""
        deployed = deployed_by(self.site.run(task))
        assert deployed is not None
        return deployed.detectors[DETECTOR]


@pytest.fixture(scope="module")
def line(edge_tier: EdgeTier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A line with two models for its detector, which has joined and has none yet."""
    folder = tmp_path_factory.mktemp("line")
    samples = draw_line(folder / "samples")
    site = EdgeSite(tmp_path_factory.mktemp("site"), edge_tier)
    bench = Bench(folder, site.node_of(LINE))
    with ExitStack() as stack:
        stack.enter_context(site.edges(samples, (LINE,), "--line", str(PORT)))
        stack.callback(bench.stop)
        bench.start()
        source = {"kind": "folder", "path": str(samples / "edges" / LINE / BRAND / "normal"), "mode": "loop"}
        settings = {"source": source, "encoder": {"kind": "timer", "per_second": 20}, "brand": ""}
        line = Line(site, bench, Station(folder, settings, bench.inside))
        site.cli("data", "put", "plate-test", str(samples / "test"))
        trainings = [site.pipeline(task, test_data="plate-test") for task in map(training, (FIRST, SECOND))]
        until(line.serves, 60, "the line's service")
        line.detector("join", line.edge("detectors", "add", DETECTOR, "--host", bench.node).strip())
        stack.enter_context(line.station.process())
        until(line.here, 60, "the detector")
        line.edge("detectors", "brand", DETECTOR, BRAND)
        for pipeline in trainings:
            site.finish(pipeline)
        yield line


def trained(line: Line, name: str) -> Deployable:
    """What a training came to; its gate let it pass."""
    record = gate_of(line.site.run(training(name)))
    assert record is not None
    assert record.passed
    return record.deployable


def reached(host: str) -> list[bool]:
    """Which of the line's ports answer at an address of the node."""
    answers = []
    for port in range(PORT, PORT + 3):
        try:
            socket.create_connection((host, port), timeout=3).close()
            answers.append(True)
        except OSError:
            answers.append(False)
    return answers


def test_detectors_and_people_reach_the_line_by_ports_of_its_node(edge_tier: EdgeTier, line: Line) -> None:
    node = edge_tier.network.node(1)
    page = json.loads(line.edge("line", "show", "--json"))["page_url"]

    assert line.edge("detectors", "add", "another").startswith(f"{node}:{PORT + 1}/another/")
    assert page.startswith(f"http://{node}:{PORT + 2}/?key=")
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with browser.open(page, timeout=30) as answer:
        assert answer.status == 200


def test_a_deployment_comes_through_the_inbox_to_the_detector(line: Line) -> None:
    task = deployment("deploy-1", FIRST)

    line.site.finish(line.site.pipeline(task))

    assert line.outcome(task).state == "serving"
    until(lambda: line.judging() == trained(line, FIRST).sha256, what="parts that are judged by it")


def test_a_deployment_outlives_the_death_of_edgecore_and_needs_no_cloud(line: Line) -> None:
    site, bench, node = line.site, line.bench, line.site.node_of(LINE)
    first, second = (trained(line, name).sha256 for name in (FIRST, SECOND))
    assert first != second
    task = deployment("deploy-2", SECOND)
    bench.pull_after(trained(line, SECOND).size // 2)
    pipeline = site.pipeline(task)
    site.until(lambda: bench.nothing_comes, pipeline, "the middle of the transfer")

    node.kill_edgecore()
    until(lambda: "the inbox has died" in site.log(LINE), 120, "the end of the runner")
    node.cut()
    until(line.serves, 60, "the line's service, again")
    line.goes_on()
    assert line.judging() == first

    bench.plug_in()
    until(lambda: line.judging() == second, 120, "parts that are judged by the new model")
    assert pipeline.poll() is None
    node.heal()
    site.finish(pipeline)
    assert line.outcome(task).state == "serving"


def test_a_transfer_goes_on_where_it_was_when_a_pulled_cable_is_back(line: Line) -> None:
    site, bench = line.site, line.bench
    task = deployment("deploy-3", FIRST)
    before, size = bench.received, trained(line, FIRST).size
    bench.pull_after(size // 2)
    pipeline = site.pipeline(task)
    site.until(lambda: bench.nothing_comes, pipeline, "the middle of the transfer")

    bench.pull()
    until(lambda: "cannot be reached" in line.detector("status"), 120, "the detector's word that nobody answers")
    until(lambda: not line.here(), 120, "the edge server's word that the detector is away")
    line.edge("detectors", "brand", DETECTOR, "another")
    line.goes_on()
    bench.plug_in()

    site.finish(pipeline)
    assert line.outcome(task).state == "serving"
    until(lambda: line.seen()["in_step"], 60, "all that was asked of it meanwhile")
    assert line.seen()["status"]["brand"] == "another"
    # All of it again would be half as much more.
    assert bench.received - before < 1.4 * size


def test_without_a_line_no_port_of_the_node_is_open(edge_tier: EdgeTier, line: Line) -> None:
    node = edge_tier.network.node(1)
    assert reached(node) == [True, True, True]

    line.site.enroll(LINE)
    line.site.kubectl("rollout", "status", f"deployment/{runner_name(LINE)}", "-n", NAMESPACE, "--timeout=120s")

    until(line.serves, 60, "the line's service, which was told to be before")
    assert reached(node) == [False, False, False]
