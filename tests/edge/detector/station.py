"""A station of a production line to test with: a detector's configuration, its process, and small models to deploy."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image

from cloudedge.documents.base import parse
from cloudedge.documents.deployable import Deployable
from cloudedge.documents.detector import DetectorConfiguration
from cloudedge.documents.inspection import Bounds
from cloudedge.documents.line import Deployment
from cloudedge.interpreter import python
from edge.detector.detector import Detector
from tests.cloudedge.deployable.graphs import BRIGHTNESS, SIZE, brightness, graph, model, stored
from tests.waiting import PATIENCE, until

BRAND = "oats"
Tensors = dict[str, tuple[int, list[Any]]]
WITHOUT_A_MODEL = f"There is no model of {BRAND}: its parts are recorded and not judged. Deploy one."
"""Trouble of a detector to which nothing was deployed yet."""

UNHURRIED = {"kind": "timer", "per_second": 20}
"""An encoder whose ticks a busy machine misses none of."""

DARK, BRIGHT, BLINDING = 50, 150, 250
"""What images are filled with: one that `judging` accepts, one that it rejects, and one that `squeamish` fails on."""


def picture(path: Path, value: int, size: int = SIZE) -> Path:
    """Write an image of one gray."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size, 3), value, np.uint8)).save(path)
    return path


def pictures(folder: Path, *values: int) -> Path:
    """A folder of images of one gray each, in this order."""
    for number, value in enumerate(values):
        picture(folder / f"{number:03d}.png", value)
    return folder


def judging(path: Path, threshold: float = 100.0) -> Deployable:
    """A model whose score is an image's mean; `threshold` is a part of the file, so that each is another model."""
    contents = brightness()
    contents.doc_string = f"threshold {threshold}"
    return stored(contents, path, **{**BRIGHTNESS, "threshold": threshold})


def squeamish(path: Path) -> Deployable:
    """A model that loads, answers on a black image, and gives no number for one that is brighter than 200."""
    names: list[Any] = ["batch", SIZE, SIZE, 3]
    pixels = helper.make_tensor("pixels", TensorProto.INT64, [3], [1, 2, 3])
    most = helper.make_tensor("most", TensorProto.FLOAT, [1], [200.0])
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "pixels"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["most", "mean"], ["rest"]),
        helper.make_node("Sqrt", ["rest"], ["score"]),
    ]
    inputs: Tensors = {"image": (TensorProto.UINT8, names)}
    outputs: Tensors = {"score": (TensorProto.FLOAT, ["batch"])}
    contents: onnx.ModelProto = model(graph(nodes, inputs, outputs, [pixels, most]))
    form = {**BRIGHTNESS, "outputs": BRIGHTNESS["outputs"][:1], "classes": ()}
    return stored(contents, path, **form)


@dataclass
class Station:
    """A detector's machine.

    Attributes:
        root: Folder of everything.
        settings: The configuration, as JSON has it.
        inside: What stands before the program's command, to run it in a place of its own.
    """

    root: Path
    settings: dict[str, Any] = field(default_factory=dict)
    inside: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.settings = {
            "source": {"kind": "generator", "height": SIZE, "width": SIZE},
            "encoder": {"kind": "timer", "per_second": 100},
            "results": {"file": {"path": "results.jsonl"}},
            "brand": BRAND,
            "queue": 1000,  # What is slow in tests is the machine.
            **self.settings,
        }

    @property
    def state(self) -> Path:
        """The detector's own directory."""
        return self.root / "state"

    @property
    def configuration(self) -> DetectorConfiguration:
        """The configuration, checked."""
        return parse(DetectorConfiguration, json.dumps(self.settings), "the configuration")

    def verdicts(self) -> list[dict[str, Any]]:
        """All that the results file has, whole lines only."""
        path = self.root / "results.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def last(self) -> dict[str, Any]:
        """The last verdict, or nothing."""
        return (self.verdicts() or [{}])[-1]

    def detector(self) -> Detector:
        """A detector in this process, which is not started."""
        return Detector("north", self.configuration, self.state, self.root)

    @contextmanager
    def at_work(self) -> Iterator[Detector]:
        """A detector at work in this process."""
        detector = self.detector()
        try:
            detector.start()
            yield detector
        finally:
            detector.close()

    def inspected(self) -> list[dict[str, Any]]:
        """Have a detector inspect all that its source has, and end; returns the verdicts."""
        with self.at_work() as detector:
            assert detector.over.wait(PATIENCE)
        return self.verdicts()

    def write_configuration(self) -> Path:
        """The configuration as a file."""
        path = self.root / "detector.json"
        path.write_text(json.dumps(self.settings))
        return path

    @contextmanager
    def process(self, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
        """The program at work, as it is started on a detector's machine."""
        program = python("edge.detector", "--state", self.state, "--config", self.write_configuration(), *arguments)
        command = [*self.inside, *program]
        with (self.root / "log.txt").open("a") as log, subprocess.Popen(command, stderr=log, stdout=log, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def log(self) -> str:
        """What the program said."""
        return (self.root / "log.txt").read_text()


def deployment(
    deployable: Deployable, number: str = "first", watch_seconds: float = 0, least_images: int = 5, brand: str = BRAND
) -> Deployment:
    """A deployment of a model."""
    bounds = Bounds(watch_seconds=watch_seconds, least_images=least_images)
    return Deployment(id=number, brand=brand, deployable=deployable, bounds=bounds)


def phase(detector: Detector, number: str) -> str:
    """How a deployment stands."""
    return next((state.phase for state in detector.status().deployments if state.id == number), "")


def deployed(detector: Detector, folder: Path, threshold: float = 100.0, number: str = "first") -> Deployable:
    """Deploy a model and wait until it judges."""
    path = folder / f"{number}.onnx"
    deployable = judging(path, threshold)
    detector.deploy(deployment(deployable, number), path)
    until(lambda: phase(detector, number) == "serving", what=f"deployment {number}")
    return deployable
