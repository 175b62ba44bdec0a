"""A cloud with a production line: the test plays the line's edge server by writing what it would write."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cloud.inboxes import DirectoryInboxes
from cloud.runs.run import Run
from cloudedge.documents import History, Manifest, Order, OutputFile, Point, Result, Task
from cloudedge.documents.inspection import InspectionTraining
from cloudedge.documents.kinds.deploy import Deployed, Outcome
from cloudedge.documents.kinds.inspect_train import InspectTrained
from cloudedge.documents.tasks.inspection_deployment import InspectionDeploymentTask
from cloudedge.documents.tasks.inspection_training import InspectionTrainingTask
from cloudedge.names import sha256_of
from cloudedge.store import DirectoryStore
from cloudedge.transport import Transport
from components.begin.step import begin_run
from components.dispatch.step import dispatch_step
from components.wait.step import wait_step
from tests.cloudedge.deployable.graphs import BRIGHTNESS, brightness, stored

LINE = "line-1"


@dataclass
class Plant:
    """A cloud, and a line whose model rejects what is bright and red."""

    root: Path

    @property
    def store(self) -> DirectoryStore:
        return DirectoryStore(self.root / "store")

    @property
    def inboxes(self) -> DirectoryInboxes:
        return DirectoryInboxes(self.root / "inboxes")

    def run(self, task: Task) -> Run:
        return Run(self.store, task.id)

    def begun(self, task: Task) -> None:
        """A run whose line is enrolled."""
        self.inboxes.enroll(LINE)
        begin_run(task)

    def order(self, task: Task) -> Order:
        (order,) = (order for order in self.inboxes.read(LINE).orders if order.run == task.id)
        return order

    def trained(self, task: InspectionTrainingTask, **said: Any) -> None:
        """A run whose line has delivered a model; `said` changes what it says of it."""
        self.begun(task)
        dispatch_step(task.id, "train")
        order, transport = self.order(task), Transport([self.store.root])
        folder = self.root / "trained" / order.id
        folder.mkdir(parents=True)
        about = {**BRIGHTNESS, "classes": ("red", "green"), **said}
        deployable = stored(brightness(), folder / "model.onnx", **about).model_copy(update={"brand": task.training.brand})
        (folder / "deployable.json").write_bytes(deployable.to_json())
        points = tuple(Point(sequence=n, seconds=n / 10, values={"loss": 1 / (1 + n), "accuracy": n / 10}) for n in range(5))
        (folder / "history.json").write_bytes(History(order=order.id, points=points).to_json())
        result = InspectTrained(sha256=deployable.sha256, gathered={"normal": 9}, threshold=100.0)
        files = {"model": "model.onnx", "deployable": "deployable.json", "history": "history.json"}
        self._deliver(transport, order, result, {name: folder / file for name, file in files.items()}, points=len(points))
        wait_step(task.id, "train")

    def deployed(self, task: InspectionDeploymentTask, detectors: dict[str, Outcome]) -> None:
        """A run that was released, and whose line has deployed."""
        dispatch_step(task.id, "deploy")
        order = self.order(task)
        result = Deployed(sha256=order.inputs["model"].sha256, brand=task.brand, detectors=detectors)
        self._deliver(Transport([self.store.root]), order, result, {})
        wait_step(task.id, "deploy")

    def _deliver(self, transport: Transport, order: Order, result: Result, files: dict[str, Path], points: int = 0) -> None:
        for name, path in files.items():
            target = order.outputs.get(name) or order.history
            assert target is not None
            transport.put(target, path)
        outputs = {
            name: OutputFile(file=path.name, sha256=sha256_of(path), size=path.stat().st_size) for name, path in files.items()
        }
        manifest = Manifest(order=order.id, edge=order.edge, outputs=outputs, result=result, seconds=1.5, points=points)
        transport.put(order.manifest, manifest.to_json())


def training_task(**changes: Any) -> InspectionTrainingTask:
    known = {"name": "Brick", "id": "brick-1", "line": LINE, "training": InspectionTraining(brand="brick")}
    return InspectionTrainingTask(**{**known, **changes})


def deployment_task(**changes: Any) -> InspectionDeploymentTask:
    known = {"name": "Deploy", "id": "deploy-1", "line": LINE, "brand": "brick", "model": "brick-1"}
    return InspectionDeploymentTask(**{**known, **changes})


def draw(path: Path, red: int, green: int = 0, size: tuple[int, int] = (40, 40)) -> Path:
    """An image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    pixels[:, :] = (red, green, 0)
    Image.fromarray(pixels).save(path)
    return path


def bright_test_set(folder: Path) -> Path:
    """Dark parts are in order; red and green ones are not, and the model overlooks the green ones."""
    for number in range(4):
        draw(folder / "normal" / f"{number}.png", red=10 * number)
        draw(folder / "red" / f"{number}.png", red=200 + number)
    for number in range(2):
        draw(folder / "green" / f"{number}.png", red=50, green=200)
    return folder
