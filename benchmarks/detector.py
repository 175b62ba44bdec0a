"""What a detector costs on one core: time for a part, memory, and whether a swap costs any part.

    python -m benchmarks.detector --out FILE.json

The whole of `cloudedge-detector run` is kept on one core: a generator in the place of a camera, a clock that ticks 60 times a
second, judgements into a file, every image into the history. The model is trained
on crops of a photograph, as a line's edge server does it where the task says nothing else. A part's time goes from its tick to
its line in the results.

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

import psutil

from benchmarks.tables import say, write
from cloudedge.documents.base import parse
from cloudedge.documents.deployable import Deployable, Lineage
from cloudedge.documents.detector import DetectorConfiguration
from cloudedge.documents.inspection import NORMAL, Bounds, InspectionTraining
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
    from cloudedge.inspection.backbone import default_backbone

    weights = default_backbone(folder)
    sizes = {str(size): _at_rest(folder / str(size), size, seconds, weights) for size in LIMITS}
    there = folder / "swaps"
    there.mkdir()
    for number in range(min(swaps + 1, _FILES)):
        path = there / f"{number}.onnx"
        path.with_suffix(".json").write_bytes(made(path, 128, number, weights).to_json())
    command = python("benchmarks.detector", "--swapping", there, "--swaps", swaps)
    done = subprocess.run(_on_one_core(command), stdout=subprocess.PIPE, check=True)
    return {"per_second": PER_SECOND, "sizes": sizes, "swaps": json.loads(done.stdout)}


def made(path: Path, size: int, seed: int, weights: Path) -> Deployable:
    """Train a model on crops of a photograph of bricks; it rejects nothing.

    Args:
        path: Where to.
        size: Height and width of its images in pixels.
        seed: Decides the crops.
        weights: Of the backbone.
    """
    # Torch, which these bring, would count as memory of the detector that runs in a process of this module.
    from benchmarks.inspection_models import Case
    from cloudedge.inspection.training import Example, train

    images = Case("brick", size, seed, normal=1, each=0).train
    examples = [Example(image, NORMAL, sha256(image.tobytes()).hexdigest()) for image in images]
    asked = InspectionTraining(brand=BRAND, height=size, width=size)
    trained = train(examples, asked, weights, name="measured", seed=seed, lineage=Lineage())
    path.write_bytes(trained.model)
    return trained.deployable.model_copy(update={"threshold": 1e9})


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


def _at_rest(folder: Path, size: int, seconds: float, weights: Path) -> dict[str, Any]:
    """A detector to which nothing is deployed meanwhile."""
    state = folder / "state"
    state.mkdir(parents=True)
    deployable = made(folder / "model.onnx", size, 0, weights)
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
    manifests = [folder / f"{number}.json" for number in range(min(swaps + 1, _FILES))]
    files = [parse(Deployable, path.read_bytes(), str(path)) for path in manifests]
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
