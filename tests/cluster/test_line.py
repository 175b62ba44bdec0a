"""Lines on KubeEdge nodes: what detectors and people reach, and what becomes of deployments when links and processes fail."""

import json
import socket
import urllib.request
from collections.abc import Iterator

import pytest

from cloud.fleet.enrolment import runner_name
from tests.cluster.edge_tier import EdgeSite, EdgeTier
from tests.cluster.line import DETECTOR, FIRST, LINE, PORT, SECOND, TEST_DATA, Line, a_line, deployment, training
from tests.cluster.site import NAMESPACE, PATIENCE
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def line(edge_tier: EdgeTier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A line with two models that passed their gates."""
    site = EdgeSite(tmp_path_factory.mktemp("site"), edge_tier)
    with a_line(site, tmp_path_factory.mktemp("line")) as line:
        for pipeline in [site.pipeline(task, test_data=TEST_DATA) for task in map(training, (FIRST, SECOND))]:
            site.finish(pipeline)
        yield line


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
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor())
    with browser.open(page, timeout=30) as answer:
        assert answer.status == 200


def test_a_deployment_comes_through_the_inbox_to_the_detector(line: Line) -> None:
    task = deployment("deploy-1", FIRST)

    line.site.finish(line.site.pipeline(task))

    assert line.outcome(task).state == "serving"
    until(lambda: line.judging() == line.trained(FIRST).sha256, what="parts that are judged by it")


def test_a_deployment_outlives_the_death_of_its_runner_and_of_edgecore_and_needs_no_cloud(line: Line) -> None:
    site, bench, node = line.site, line.bench, line.site.node_of(LINE)
    first, second = (line.trained(name).sha256 for name in (FIRST, SECOND))
    assert first != second
    task = deployment("deploy-2", SECOND)
    bench.pull_after(line.trained(SECOND).size // 2)
    pipeline = site.pipeline(task)
    site.until(lambda: bench.nothing_comes, pipeline, "the middle of the transfer")

    site.kill(LINE)
    node.kill_edgecore()
    node.cut()
    until(line.serves, PATIENCE, "the line's service, again")
    line.goes_on()
    assert line.judging() == first

    bench.plug_in()
    until(lambda: line.judging() == second, PATIENCE, "parts that are judged by the new model")
    assert pipeline.poll() is None
    node.heal()
    site.finish(pipeline)
    assert line.outcome(task).state == "serving"


def test_a_transfer_goes_on_where_it_was_when_a_pulled_cable_is_back(line: Line) -> None:
    site, bench = line.site, line.bench
    task = deployment("deploy-3", FIRST)
    size = line.trained(FIRST).size
    bench.pull_after(size // 2)
    pipeline = site.pipeline(task)
    site.until(lambda: bench.nothing_comes, pipeline, "the middle of the transfer")

    bench.pull()
    until(lambda: "cannot be reached" in line.detector("status"), PATIENCE, "the detector's word that nobody answers")
    until(lambda: not line.here(), PATIENCE, "the edge server's word that the detector is away")
    line.edge("detectors", "brand", DETECTOR, "another")
    line.goes_on()
    (part,) = (line.station.state / "link" / "models").glob("*.part")
    before, kept = bench.received, part.stat().st_size
    bench.plug_in()

    site.finish(pipeline)
    assert line.outcome(task).state == "serving"
    until(lambda: line.seen()["in_step"], PATIENCE, "all that was asked of it meanwhile")
    assert line.seen()["status"]["brand"] == "another"
    assert bench.received - before < size - kept // 2, "not all of it again"


def test_without_a_line_no_port_of_the_node_is_open(edge_tier: EdgeTier, line: Line) -> None:
    node = edge_tier.network.node(1)
    assert reached(node) == [True, True, True]

    line.site.enroll(LINE)
    line.site.kubectl("rollout", "status", f"deployment/{runner_name(LINE)}", "-n", NAMESPACE, "--timeout=120s")

    until(line.serves, PATIENCE, "the line's service, which was told to be before")
    assert reached(node) == [False, False, False]
