"""The orders of a line as a queue: from the cloud's steps through a real runner to the line's detectors."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from cloudedge.documents import Manifest, Order, Phase, Report, parse
from cloudedge.documents.inspection import Rollout
from cloudedge.documents.kinds.deploy import Deployed
from cloudedge.errors import QuorumMissed
from components.begin.step import begin_run
from components.dispatch.step import dispatch_step
from components.inspection_deployment.release.step import release_model
from components.wait.step import wait_step
from edge.cli import main as edge
from tests.components.inspection.line import LINE, Plant, deployment_task
from tests.components.inspection.test_release import judged
from tests.edge.line.site import LineSite, Standin
from tests.edge.site import RunnerProcess, Site, fork_server
from tests.terminal import called
from tests.waiting import until


class Queue:
    """A plant whose line has a real runner, and one detector that does what the test says."""

    def __init__(self, plant: Plant, workers: Path, server: int) -> None:
        self.plant = plant
        self.server = server
        self.line = LineSite(plant.root)
        self._site = Site(plant.root, workers)

    @contextmanager
    def running(self) -> Iterator[RunnerProcess]:
        """The line's runner, which is killed in the end."""
        runner = self._site.start("--inbox", str(self.plant.inboxes.root / LINE), "--files-root", str(self.plant.store.root))
        try:
            until(self.line.answers, 60, "the line's service")
            yield runner
        finally:
            runner.kill()

    def detector(self, ends: str) -> Standin:
        """A detector at which deployments stand like this at first."""
        (found,) = self.line.linked("camera")
        found.ends = ends
        return found

    def deploy(self, name: str) -> Order:
        """Have the model deployed in a run of this name."""
        task = deployment_task(id=name, rollout=Rollout(canaries=0))
        begin_run(task)
        release_model(name)
        dispatch_step(name, "deploy")
        return self.plant.order(task)

    def phase(self, order: Order) -> Phase | None:
        path = self._reported(order, "reports", ".json")
        return parse(Report, path.read_bytes(), str(path)).phase if path.exists() else None

    def result(self, order: Order) -> Deployed:
        path = self._reported(order, "results", "") / "manifest.json"
        result = parse(Manifest, path.read_bytes(), str(path)).result
        assert isinstance(result, Deployed)
        return result

    def work(self) -> list[psutil.Process]:
        return psutil.Process(self.server).children()

    def status(self) -> dict[str, tuple[str, str]]:
        """What the site engineer sees of the runner: phase and error of each order."""
        told = json.loads(called("status", "--state", self.line.folders.state, "--json", program=edge).out)
        return {order["id"]: (order["phase"], order["error"] or "") for order in told["orders"]}

    def _reported(self, order: Order, folder: str, ending: str) -> Path:
        step = self.plant.store.root / "runs" / order.run / "steps" / order.step
        return step / folder / f"{order.edge}-{order.attempt}{ending}"


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A fork server: its socket and the id of its process."""
    socket = tmp_path_factory.mktemp("workers") / "workers.sock"
    with fork_server(socket) as server:
        yield socket, server.pid


@pytest.fixture
def queue(plant: Plant, tmp_path: Path, workers: tuple[Path, int]) -> Iterator[Queue]:
    judged(plant, tmp_path)
    queue = Queue(plant, *workers)
    try:
        yield queue
    finally:
        queue.line.close()


def test_two_orders_are_done_in_their_order_each_once_though_the_runner_is_killed_amid_the_first(queue: Queue) -> None:
    with queue.running():
        detector = queue.detector("loading")
        first, second = queue.deploy("first"), queue.deploy("second")
        until(lambda: detector.deployed)
    assert queue.phase(second) in (None, Phase.ACCEPTED)
    detector.ends = "serving"
    with queue.running():
        until(lambda: queue.line.is_here("camera"))
        assert queue.phase(second) in (None, Phase.ACCEPTED)
        detector.now(first.id, "serving")
        for order in (first, second):
            assert wait_step(order.run, "deploy")[0] == 1
            assert queue.result(order).serving == 1
    assert detector.deployed == [first.id, second.id]


def test_an_order_that_is_cancelled_while_it_waits_or_works_holds_up_no_other(queue: Queue) -> None:
    with queue.running():
        detector = queue.detector("loading")
        working, waiting, last = queue.deploy("working"), queue.deploy("waiting"), queue.deploy("last")
        until(lambda: detector.deployed)
        detector.ends = "serving"
        for order in (waiting, working):
            assert called("tasks", "cancel", order.run, "--home", queue.plant.root).code == 0
        assert wait_step(last.run, "deploy")[0] == 1
        status = queue.status()
    assert [status[order.id][0] for order in (working, waiting, last)] == ["cancelled", "cancelled", "done"]
    assert detector.deployed == [working.id, last.id]


def test_what_failed_for_good_is_listed_in_the_cloud_and_at_the_edge_and_the_next_order_is_done(
    queue: Queue,
) -> None:
    with queue.running():
        detector = queue.detector("loading")
        failing, following = queue.deploy("failing"), queue.deploy("following")
        until(lambda: detector.deployed)
        detector.ends = "serving"

        def failed() -> bool:
            """Whether it failed for good; else its work is killed once more. What brought something about counts anew."""
            phase, _ = queue.status()[failing.id]
            if phase == "deploying":
                for work in queue.work():
                    with suppress(psutil.NoSuchProcess):  # It may have ended since it was found.
                        work.kill()
            return phase == "failed"

        until(failed, 60)
        with pytest.raises(QuorumMissed, match="SIGKILL killed it"):
            wait_step(failing.run, "deploy")
        assert wait_step(following.run, "deploy")[0] == 1
        status = queue.status()
    listed = json.loads(called("tasks", "list", "--home", queue.plant.root, "--json").out)
    assert {row["id"]: row["state"] for row in listed}["failing"] == "failed"
    assert "SIGKILL killed it" in called("tasks", "show", "failing", "--home", queue.plant.root).out
    phase, error = status[failing.id]
    assert (phase, error.startswith("The work died 3 times: SIGKILL killed it")) == ("failed", True)
    assert detector.deployed == [failing.id, following.id]
