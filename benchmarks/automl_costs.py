"""What a calibrated device says that networks cost, against what they cost when they are measured.

    python -m benchmarks.automl_costs --out FILE.json

Candidates of the search's space are drawn that calibration never sees. The device is calibrated, each of them is predicted, and
measured: alone, beside a busy neighbour (a bound is kept by an inference that takes no longer), and its memory. The peers are
what a device knows without: the multiplications, with one throughput and one start fitted to the same measurements; and
MCUNet's rule for memory. All of it once with the whole machine and once within each of two control groups, where they can be
had: a share of a core, and memory.

Alone, an inference's time is that of the processor, as in the calibration; beside it stands the one that passed, which is the
same on a machine that is quiet.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from benchmarks.tables import say, write
from cloudedge.automl import costs
from cloudedge.automl.graph import drawn, written
from cloudedge.automl.layers import layers_of
from cloudedge.automl.predicting import CalibratedPredictor
from cloudedge.automl.space import networks, spec
from cloudedge.documents import DataFormat
from cloudedge.documents.automl import Candidate
from cloudedge.interpreter import python
from edge.calibration.calibrating import MOST_SECONDS, calibrate
from edge.calibration.footprint import footprints
from edge.calibration.measuring import Measured
from edge.calibration.neighbour import busy_neighbour
from pipelines.automl_demo.groups import control_groups

LIMITS: dict[str, tuple[float, int]] = {"one core, 512 MiB": (1.0, 512), "half a core, 256 MiB": (0.5, 256)}
"""Cores and MiB of memory of the control groups."""

UNLIMITED = "whole machine"

MEDIAN_ERROR, WITHIN_15, COVERAGE, MEMORY_WITHIN_10 = 0.05, 0.95, 0.90, 0.90
"""What is asked for."""


def main() -> int:
    """Measure, print tables and write the figures; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description="Predicted against measured costs of networks.")
    parser.add_argument("--held-out", type=int, default=60, help="Networks that calibration never sees.")
    parser.add_argument("--shape", type=int, nargs="+", default=[1, 28, 28], help="Of the samples.")
    parser.add_argument("--devices", nargs="+", default=[UNLIMITED, *LIMITS])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", help=argparse.SUPPRESS)  # This is the process that is limited.
    options = parser.parse_args()
    if options.device:
        print(json.dumps(measure(tuple(options.shape), options.held_out)))
        return 0
    figures = {name: found for name in options.devices if (found := _on(name, options)) is not None}
    header = (
        "device",
        "s",
        "measured",
        "median error",
        "95% of errors",
        "within 15%",
        "within 15% by the clock",
        "by MACs alone",
        "within 15%",
    )
    rows = [header]
    bounds = [("device", "inferences within the bound", "networks whose 95% are", "bound / median, of the middle network")]
    memory = [("device", "median error", "within 10%", "by rule alone: median error")]
    for name, each in figures.items():
        rows.append(
            (
                name,
                f"{each['seconds']:.0f}",
                str(each["measured"]),
                *_shares(each["latency"]),
                _shares(each["passed"])[2],
                *_shares(each["macs"])[::2],
            )
        )
        bounds.append((name, f"{each['inferences']:.1%}", f"{each['networks']:.1%}", f"{each['sharpness']:.2f}"))
        memory.append(
            (name, f"{each['memory']['median']:.1%}", f"{each['memory_within_10']:.1%}", f"{each['rule']['median']:.1%}")
        )
    say("Latency that was predicted of unseen networks, against the measured one", rows)
    say("The bound beside a busy neighbour", bounds)
    say("Memory", memory)
    write(options.out, {"shape": options.shape, "held_out": options.held_out, "devices": figures})
    kept = [
        each["latency"]["median"] <= MEDIAN_ERROR
        and each["latency"]["within_15"] >= WITHIN_15
        and each["inferences"] >= COVERAGE
        and each["memory_within_10"] >= MEMORY_WITHIN_10
        and each["seconds"] <= MOST_SECONDS
        for each in figures.values()
    ]
    return 0 if all(kept) else 1


def measure(shape: tuple[int, ...], held_out: int) -> dict[str, Any]:
    """Figures of the device that this process is on.

    Args:
        shape: Of the samples, 8-bit.
        held_out: Number of networks that calibration never sees.
    """
    data = DataFormat.model_validate(
        {
            "storage": "npz",
            "fields": [{"name": "dial", "shape": shape, "dtype": "uint8", "scale": 1 / 255}],
            "classes": [str(digit) for digit in range(10)],
        }
    )
    everything = list(networks().everything)
    unseen = Random(7).sample(everything, held_out)
    seen = [each for each in everything if each not in set(unseen)]
    calibration = calibrate(data, candidates=seen)
    predictor = CalibratedPredictor(calibration)
    predicted = [predictor.costs(each, data) for each in unseen]
    files = [_file(each, data) for each in unseen]
    alone = [Measured(file).alone() for file in files]
    latency, passed = (np.array([getattr(each, name) for each in alone]) for name in ("computing", "median"))
    with busy_neighbour():
        beside = [Measured(file).beside() for file in files]
    with footprints() as taken:
        memory = np.array([taken.of(file) for file in files])
    bounds = [each.latency_bound_ms for each in predicted]
    return {
        "seconds": calibration.seconds,
        "measured": len(calibration.measurements),
        "processor": calibration.processor.model_dump(),
        "latency": _errors([each.latency_ms for each in predicted], latency),
        "passed": _errors([each.latency_ms for each in predicted], passed),
        "macs": _errors(_by_multiplications(predictor, data, unseen), latency),
        "inferences": float(np.mean([np.mean(times.all <= bound) for times, bound in zip(beside, bounds, strict=True)])),
        "networks": float(np.mean([times.most <= bound for times, bound in zip(beside, bounds, strict=True)])),
        "sharpness": float(np.median(bounds / latency)),
        "memory": _errors([each.memory_bytes for each in predicted], memory),
        "memory_within_10": float(np.mean(np.abs(np.array([each.memory_bytes for each in predicted]) / memory - 1) <= 0.1)),
        "rule": _errors([costs.memory_bytes(layers_of(spec(each), data)) for each in unseen], memory),
        "each": [
            {
                "candidate": candidate.model_dump(),
                "predicted": costs_of.model_dump(),
                "latency_ms": float(taken_alone),
                "busy_ms": float(times.most),
                "memory_bytes": int(bytes_of),
            }
            for candidate, costs_of, taken_alone, times, bytes_of in zip(
                unseen, predicted, latency, beside, memory, strict=True
            )
        ],
    }


def _by_multiplications(predictor: CalibratedPredictor, data: DataFormat, asked: Sequence[Candidate]) -> list[float]:
    """A start and a throughput that fit the same measurements best."""
    measured = predictor.calibration.measurements
    rows = np.array([[1, _multiplications(each.candidate, data)] for each in measured], np.float64)
    taken = np.array([each.latency_ms for each in measured])
    found, *_ = np.linalg.lstsq(rows / taken[:, np.newaxis], np.ones(len(taken)), rcond=None)
    return [float(found @ [1, _multiplications(each, data)]) for each in asked]


def _multiplications(candidate: Candidate, data: DataFormat) -> int:
    return sum(costs.multiplications(layers_of(spec(candidate), data)))


def _file(candidate: Candidate, data: DataFormat) -> bytes:
    network = spec(candidate)
    return written(network, data, drawn(network, data, 1))


def _errors(predicted: Sequence[float], measured: np.ndarray) -> dict[str, float]:
    errors = np.abs(np.array(predicted) / measured - 1)
    return {
        "median": float(np.median(errors)),
        "p95": float(np.quantile(errors, 0.95)),
        "within_15": float(np.mean(errors <= 0.15)),
    }


def _shares(errors: dict[str, float]) -> tuple[str, str, str]:
    return f"{errors['median']:.1%}", f"{errors['p95']:.1%}", f"{errors['within_15']:.1%}"


def _on(name: str, options: argparse.Namespace) -> dict[str, Any] | None:
    """Figures of a device; none: it cannot be had here."""
    command = python("benchmarks.automl_costs", "--device", name, "--held-out", options.held_out, "--shape", *options.shape)
    if name == UNLIMITED:
        return _said(command, [])
    try:
        cores, mebibytes = LIMITS[name]
        with control_groups(f"cloudedge-bench-{os.getpid()}", cores, mebibytes * 2**20) as groups:
            return _said(command, groups)
    except OSError as error:
        print(f"{name}: no control group can be made here: {error}", file=sys.stderr)
        return None


def _said(command: list[str], groups: Sequence[Path]) -> dict[str, Any]:
    def enter() -> None:
        for group in groups:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, preexec_fn=enter)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
