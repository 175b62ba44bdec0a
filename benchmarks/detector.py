"""What a detector costs on one core: time for a part, memory, and whether a swap costs any part.

    python -m benchmarks.detector --out FILE.json

The whole of `cloudedge-detector run` is kept on one core: a generator in the place of a camera, a clock that ticks 60 times a
second, judgements into a file, every image into the history. The model has the first three stages of EfficientNet-Lite0, with
random weights, and a normal distribution over their features. A part's time goes from its tick to its line in the results.

Beside that, the same detector while one model after the other is deployed to it, each another file than those that are loaded,
as fast as they come: what was judged, by which model, and the longest pause in which a part waited; and a rollback, from its
command to the first part that the model before judges.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from onnx import NodeProto, TensorProto, helper, numpy_helper

from benchmarks.tables import say, write
from cloudedge.documents.base import parse
from cloudedge.documents.deployable import Deployable, ImageForm, Tensor
from cloudedge.documents.detector import DetectorConfiguration
from cloudedge.documents.inspection import Bounds
from cloudedge.documents.line import Deployment, DeploymentState
from cloudedge.interpreter import python
from cloudedge.serving.models import Models
from edge.detector.folders import DetectorFolders
from edge.detector.status import Standing, standing_of

BRAND = "oats"
PER_SECOND = 60
LIMITS = {128: 10.0, 256: 1000 / PER_SECOND}
"""What 99% of the parts may take at most, in milliseconds, by the image's size."""

_FILES = 20
"""Models that are deployed in turns."""

_STAGES = ((1, 16, 3, 1, 1), (6, 24, 3, 2, 2), (6, 40, 5, 2, 2))
"""Of EfficientNet-Lite0 after its stem: expansion, channels, kernel, stride, blocks."""


def main() -> int:
    """Measure, print tables and write the figures."""
    parser = argparse.ArgumentParser(description="Measure a detector on one core.")
    parser.add_argument("--seconds", type=float, default=25, help="How long each size is measured.")
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--swapping", type=Path, help=argparse.SUPPRESS)  # Folder: this is the process on one core.
    options = parser.parse_args()
    if options.swapping:
        print(json.dumps(_swap(options.swapping, options.swaps)))
        return 0
    with tempfile.TemporaryDirectory(prefix="cloudedge-bench-") as name:
        figures = measure(Path(name), options.seconds, options.swaps)
    parts = [("image", "median, ms", "99%, ms", "at most, ms", "a second", "missed", "resident, MiB")]
    parts += [
        (
            f"{size} pixels",
            f"{each['p50_ms']:.2f}",
            f"{each['p99_ms']:.2f}",
            f"{LIMITS[int(size)]:.1f}",
            f"{each['per_second']:.1f}",
            str(each["missed"]),
            f"{each['resident_mib']:.0f}",
        )
        for size, each in figures["sizes"].items()
    ]
    say(f"A part at a detector, {PER_SECOND} ticks a second, one core", parts)
    swapped = figures["swaps"]
    rows = [
        ("", "figure"),
        ("swaps", str(swapped["swaps"])),
        ("parts judged meanwhile", str(swapped["judged"])),
        ("ticks missed", str(swapped["missed"])),
        ("parts without a judgement, or by another model than either", str(swapped["wrong"])),
        ("longest pause about a swap, ms", f"{swapped['longest_gap_ms']:.1f}"),
        ("median of these pauses, ms", f"{swapped['median_gap_ms']:.1f}"),
        ("99% of the parts meanwhile, ms", f"{swapped['p99_ms']:.2f}"),
        ("rollback until the first part that the model before judges, ms", f"{swapped['rollback_ms']:.1f}"),
        ("memory after the first 50 swaps and at the end, MiB", f"{swapped['early_mib']:.0f}, {swapped['late_mib']:.0f}"),
    ]
    say("Swaps of models of 128 pixels under the same load", rows)
    write(options.out, figures)
    return 0


def measure(folder: Path, seconds: float, swaps: int) -> dict[str, Any]:
    """All figures.

    Args:
        folder: Empty folder to work in.
        seconds: How long each size is measured.
        swaps: How many swaps.
    """
    sizes = {str(size): _at_rest(folder / str(size), size, seconds) for size in LIMITS}
    there = folder / "swaps"
    there.mkdir()
    command = python("benchmarks.detector", "--swapping", there, "--swaps", swaps)
    done = subprocess.run(_on_one_core(command), stdout=subprocess.PIPE, check=True)
    return {"per_second": PER_SECOND, "sizes": sizes, "swaps": json.loads(done.stdout)}


def made(path: Path, size: int, seed: int) -> Deployable:
    """Write a model of the size and speed of a real one.

    Args:
        path: Where to.
        size: Height and width of its images in pixels.
        seed: Of its weights.
    """
    chance = np.random.default_rng(seed)
    nodes: list[NodeProto] = []
    constants: list[TensorProto] = []

    def constant(values: Any, kind: type = np.float32) -> str:
        name = f"c{len(constants)}"
        constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def add(operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or f"n{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def convolved(values: str, before: int, after: int, kernel: int, stride: int, groups: int, clip: bool) -> str:
        weights = chance.normal(0, 1 / np.sqrt(before // groups * kernel * kernel), (after, before // groups, kernel, kernel))
        pads = [kernel // 2] * 4
        values = add(
            "Conv",
            [values, constant(weights), constant(np.zeros(after))],
            strides=[stride, stride],
            pads=pads,
            group=groups,
        )
        return add("Clip", [values, constant(0), constant(6)]) if clip else values

    values = add("Cast", ["image"], to=TensorProto.FLOAT)
    values = add("Transpose", [values], perm=[0, 3, 1, 2])
    values = add("Mul", [values, constant(1 / 64)])
    values, channels = convolved(values, 3, 32, 3, 2, 1, True), 32
    features = []
    for expansion, after, kernel, stride, blocks in _STAGES:
        for block in range(blocks):
            before, wide, step = values, channels * expansion, stride if block == 0 else 1
            if expansion > 1:
                values = convolved(values, channels, wide, 1, 1, 1, True)
            values = convolved(values, wide, wide, kernel, step, wide, True)
            values = convolved(values, wide, after, 1, 1, 1, False)
            if block:
                values = add("Add", [values, before])
            channels = after
        features.append(values)
    grid = size // 8
    features[0] = add("AveragePool", [features[0]], kernel_shape=[2, 2], strides=[2, 2])
    scales = constant([grid * 2, grid * 2], np.int64)
    features[2] = add("Resize", [features[2], "", "", scales], mode="linear", axes=[2, 3])
    values, count = add("Concat", features, axis=1), 16 + 24 + 40
    values = add("Transpose", [values], perm=[0, 2, 3, 1])
    values = add("Sub", [values, constant(chance.normal(size=(grid * 2, grid * 2, count)))])
    far = add("MatMul", [values, constant(chance.normal(size=(count, count)) / count)])
    squares = add("ReduceSum", [add("Mul", [far, far]), constant([3], np.int64)], keepdims=0)
    add("ReduceMax", [squares, constant([1, 2], np.int64)], "score", keepdims=0)
    squares = add("Unsqueeze", [squares, constant([1], np.int64)])
    large = add("Resize", [squares, "", "", constant([size, size], np.int64)], mode="linear", axes=[2, 3])
    add("Squeeze", [large, constant([1], np.int64)], "map")
    outputs: dict[str, list[str | int | None]] = {"score": ["batch"], "map": ["batch", size, size]}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", size, size, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        constants,
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()
    path.write_bytes(content)
    return Deployable(
        name="measured",
        brand=BRAND,
        sha256=sha256(content).hexdigest(),
        size=len(content),
        inputs=(Tensor(name="image", datatype="UINT8", shape=(-1, size, size, 3)),),
        outputs=(
            Tensor(name="score", datatype="FP32", shape=(-1,)),
            Tensor(name="map", datatype="FP32", shape=(-1, size, size)),
        ),
        image=ImageForm(height=size, width=size),
        threshold=1e9,
    )


def _on_one_core(command: list[str]) -> list[str]:
    return ["taskset", "--cpu-list", str(max(os.sched_getaffinity(0))), *command]


def _configuration(folder: Path, size: int) -> Path:
    settings = {
        "source": {"kind": "generator", "height": size, "width": size},
        "encoder": {"kind": "timer", "per_second": PER_SECOND},
        "results": {"file": {"path": "results.jsonl"}},
        "brand": BRAND,
    }
    path = folder / "detector.json"
    path.write_text(json.dumps(settings))
    return path


def _at_rest(folder: Path, size: int, seconds: float) -> dict[str, Any]:
    """A detector to which nothing is deployed meanwhile."""
    state = folder / "state"
    state.mkdir(parents=True)
    deployable = made(folder / "model.onnx", size, 0)
    with Models(DetectorFolders(state).models) as models:
        models.load(BRAND, models.put(deployable, folder / "model.onnx")).result()
    command = python("edge.detector", "--state", state, "--config", _configuration(folder, size))
    with subprocess.Popen(_on_one_core(command), stderr=subprocess.DEVNULL) as process:
        try:
            began = _standing(state, process, 2 * PER_SECOND)
            time.sleep(seconds)
            ended = _standing(state, process, began.status.images + 1)
            resident = psutil.Process(process.pid).memory_info().rss / 2**20
        finally:
            process.terminate()
    lines = (folder / "results.jsonl").read_text().splitlines()[2 * PER_SECOND :]
    judged = sorted(json.loads(line)["ms"] for line in lines)
    if len(judged) < seconds * PER_SECOND / 2:
        raise RuntimeError(f"only {len(judged)} parts were judged")
    return {
        "p50_ms": statistics.median(judged),
        "p99_ms": judged[int(0.99 * len(judged))],
        "longest_ms": judged[-1],
        "p99_with_results_ms": ended.status.p99_ms,
        "parts": len(judged),
        "per_second": ended.status.per_second,
        "missed": ended.status.missed - began.status.missed,
        "resident_mib": resident,
    }


def _standing(state: Path, process: "subprocess.Popen[bytes]", images: int) -> Standing:
    """How the detector stands once it has inspected so many."""
    while process.poll() is None:
        if (state / "status.json").exists():
            standing, _ = standing_of(DetectorFolders(state))
            if standing.status.images >= images:
                return standing
        time.sleep(0.2)
    raise RuntimeError("the detector has ended")


def _swap(folder: Path, swaps: int) -> dict[str, Any]:
    """Deploy one model after the other to a detector in this process."""
    from cloudedge import memory
    from edge.detector.detector import Detector

    memory.share_one_arena()
    sys.setswitchinterval(0.0005)
    configuration = parse(DetectorConfiguration, _configuration(folder, 128).read_bytes(), "the configuration")
    files = [made(folder / f"{number}.onnx", 128, number) for number in range(min(swaps + 1, _FILES))]
    detector = Detector("measured", configuration, folder / "state", folder)
    detector.start()
    early, early_after = 0.0, min(50, swaps)
    states: dict[str, DeploymentState] = {}
    began = time.monotonic()
    for number in range(swaps + 1):
        deployable = files[number % _FILES]
        asked = Deployment(id=f"swap-{number}", brand=BRAND, deployable=deployable, bounds=Bounds(watch_seconds=0))
        detector.deploy(asked, folder / f"{number % _FILES}.onnx")
        for _ in _moments(120):
            states |= {each.id: each for each in detector.status().deployments}
            if states[asked.id].phase == "serving":
                break
        if number == early_after:
            early = psutil.Process().memory_info().rss / 2**20
    seconds = time.monotonic() - began
    late = psutil.Process().memory_info().rss / 2**20
    for _ in _moments(10):  # The last pauses are known a second later.
        states |= {each.id: each for each in detector.status().deployments}
        if states[asked.id].swap_gap_ms:
            break
    gaps = [state.swap_gap_ms for number, state in states.items() if number != "swap-0"]
    before = files[(swaps - 1) % _FILES].sha256
    results = folder / "results.jsonl"
    began = time.monotonic()
    detector.rollback(BRAND)
    for _ in _moments(10):
        with results.open("rb") as file:
            file.seek(-600, os.SEEK_END)
            if before.encode() in file.read():
                break
    rollback_ms = 1000 * (time.monotonic() - began)
    detector.close()
    verdicts = [json.loads(line) for line in results.read_text().splitlines()]
    judged = [each for each in verdicts if each["model"]]
    known = {each.sha256 for each in files}
    wrong = sum(each["accepted"] is None or each["model"] not in known for each in judged)
    return {
        "swaps": detector.models.counts()[BRAND].swaps - 1,
        "judged": len(judged),
        "missed": verdicts[-1]["tick"] - len(verdicts),
        "wrong": wrong,
        "longest_gap_ms": max(gaps),
        "median_gap_ms": statistics.median(gaps),
        "p99_ms": sorted(each["ms"] for each in judged)[int(0.99 * len(judged))],
        "rollback_ms": rollback_ms,
        "early_mib": early,
        "late_mib": late,
        "seconds": seconds,
    }


def _moments(seconds: float) -> Iterator[None]:
    """Moments to look again, for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.002)
    raise RuntimeError(f"nothing came of it within {seconds} s")


if __name__ == "__main__":
    sys.exit(main())
