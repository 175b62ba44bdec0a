"""A production line whose edge server is a KubeEdge node: its runner is a pod, its detector is on another machine."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from cloudedge.documents.deployable import Deployable
from cloudedge.documents.inspection import Augmentation, Bounds, Gathering, InspectionTraining, Rollout, TrainingSet
from cloudedge.documents.kinds.deploy import Outcome
from cloudedge.documents.tasks.inspection_deployment import InspectionDeploymentTask
from cloudedge.documents.tasks.inspection_training import GateBounds, InspectionTrainingTask
from cloudedge.interpreter import python
from components.inspection_deployment.page import deployed_by
from components.inspection_training.records import gate_of
from tests.cloudedge.inspection.parts import SIZE, hole, normal
from tests.cluster.bench import Bench
from tests.cluster.edge_tier import EdgeSite
from tests.cluster.network import run
from tests.edge.detector.station import Station
from tests.waiting import until

LINE, PORT = "line-1", 8470
DETECTOR, BRAND = "north", "plate"
FIRST, SECOND = "model-1", "model-2"
TEST_DATA = "plate-test"


def training(name: str) -> InspectionTrainingTask:
    """A training that takes seconds; that for the second model sees twice as much."""
    varied = TrainingSet(augmentation=Augmentation(flip_horizontal=name == SECOND))
    gathering = Gathering(wait_seconds=1)
    asked = InspectionTraining(brand=BRAND, height=SIZE, width=SIZE, gathering=gathering, training_set=varied)
    return InspectionTrainingTask(name=name, id=name, line=LINE, training=asked, gate=GateBounds(accuracy=0.5))


def deployment(name: str, model: str) -> InspectionDeploymentTask:
    """A deployment to all detectors at once."""
    return InspectionDeploymentTask(
        name=name,
        id=name,
        line=LINE,
        brand=BRAND,
        model=model,
        rollout=Rollout(canaries=0),
        bounds=Bounds(watch_seconds=0),
    )


class Line:
    """The line, seen from its detector's machine, from its edge server and from the cloud.

    Attributes:
        site: The cloud, with the edge server's node.
        bench: The detector's machine.
        station: The detector.
    """

    def __init__(self, site: EdgeSite, bench: Bench, station: Station) -> None:
        """See the class."""
        self.site, self.bench, self.station = site, bench, station

    def edge(self, *arguments: str) -> str:
        """What the site engineer's tool says in the edge server's pod."""
        return self.site.inside(LINE, "cloudedge-edge", *arguments, "--state", "/state")

    def detector(self, *arguments: str) -> str:
        """What the detector's own tool says on its machine."""
        return run(*self.bench.inside, *python("edge.detector.cli", *arguments, "--state", self.station.state))

    def serves(self) -> bool:
        """Whether the line's service is at work."""
        try:
            return bool(json.loads(self.edge("line", "show", "--json"))["running"])
        except AssertionError:  # The container may be starting.
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

    def goes_on(self) -> None:
        """Wait until some more parts were inspected."""
        before = len(self.station.verdicts())
        until(lambda: len(self.station.verdicts()) > before + 5, what="more parts")

    def trained(self, name: str) -> Deployable:
        """What a training came to; its gate let it pass."""
        record = gate_of(self.site.run(training(name)))
        assert record is not None
        assert record.passed
        return record.deployable

    def outcome(self, task: InspectionDeploymentTask) -> Outcome:
        """What became of a deployment, as the cloud knows."""
        deployed = deployed_by(self.site.run(task))
        assert deployed is not None
        return deployed.detectors[DETECTOR]


@contextmanager
def a_line(site: EdgeSite, folder: Path) -> Iterator[Line]:
    """A line whose detector has joined over its own network, and has no model yet; a test set for its brand is in the store."""
    samples = folder / "samples"
    belt = samples / "edges" / LINE / BRAND
    for number in range(14):
        _save(normal(number), belt / "normal" / f"{number:02}.png")
        _save(normal(500 + number), samples / "test" / BRAND / "normal" / f"{number:02}.png")
    for number in range(4):
        _save(hole(number), samples / "test" / BRAND / "hole" / f"{number:02}.png")
    site.cli("data", "put", TEST_DATA, str(samples / "test"))
    with site.edges(samples, (LINE,), "--line", str(PORT)):
        bench = Bench(folder, site.node_of(LINE))
        bench.start()
        try:
            source = {"kind": "folder", "path": str(belt / "normal"), "mode": "loop"}
            settings = {"source": source, "encoder": {"kind": "timer", "per_second": 5}, "brand": ""}
            line = Line(site, bench, Station(folder, settings, bench.inside))
            until(line.serves, what="the line's service")
            line.detector("join", line.edge("detectors", "add", DETECTOR, "--host", bench.node).strip())
            with line.station.process():
                until(line.here, what="the detector")
                line.edge("detectors", "brand", DETECTOR, BRAND)
                yield line
        finally:
            bench.stop()


def _save(pixels: "numpy.typing.NDArray[numpy.uint8]", path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
