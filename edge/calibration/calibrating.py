"""Calibrating a device: some candidates of the search's own space are measured, and what the others cost follows from them.

Zhang et al., "nn-Meter", MobiSys 2021: what runs on the device is measured and not counted. Each phase has its share of the
time and ends with it, so that a slow device is calibrated by fewer candidates and not for longer.
"""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from cloudedge.automl import costs
from cloudedge.automl.graph import drawn, written
from cloudedge.automl.layers import layers_of
from cloudedge.automl.predicting import LEAST_MEASUREMENTS, latency_whole, memory_whole
from cloudedge.automl.regression import USUAL, Regression, Whole
from cloudedge.automl.space import networks, spec
from cloudedge.documents import DataFormat
from cloudedge.documents.automl import Calibration, Candidate, Costs, DeviceDescription, Measurement, Smoothness
from cloudedge.errors import WorkFailed
from edge.calibration.footprint import footprints
from edge.calibration.measuring import Measured
from edge.calibration.neighbour import busy_neighbour
from edge.probes.power import EnergyMeter, inference_watts
from edge.probes.processor import processor

MOST_SECONDS = 180.0

_ALONE, _MEMORY, _BUSY = 100, 50, 100
"""Candidates that are measured by themselves, whose memory is, and that are measured beside a neighbour."""

_ALONE_ENDS, _MEMORY_ENDS, _BUSY_ENDS, _ALL_ENDS = 0.4, 0.55, 0.8, 0.9
"""When each phase is over at the latest, and the fit, as shares of the time. What is under way then ends a little later."""

_SUSPECT = 1.02
"""A candidate that took so many times what the others tell is measured once more."""

_LEAST_ENDS = 0.6
"""By when the fewest candidates by which anything can be told must have been measured, as a share of the most time."""

_LONGEST_SHARE = 0.1
"""Of a phase's time that one candidate may take: one that is expected to take more is left out."""

_LEAST_WEIGHED = 3
"""Candidates whose memory is measured, however little time there is."""

_MOST_RUNS = 40
"""Inferences that it takes to measure a candidate whose inferences are long."""

_BEGINNING = 1_000_000
"""Multiplications that take about as long as all else in an inference."""


@dataclass
class _Phase:
    """A part of the calibration, with its time."""

    ends: float
    longest: float

    @staticmethod
    def until(ends: float) -> "_Phase":
        return _Phase(ends, (ends - time.monotonic()) * _LONGEST_SHARE)

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.ends


def calibrate(
    data: DataFormat,
    *,
    threads: int = 1,
    description: DeviceDescription | None = None,
    candidates: Iterable[Candidate] | None = None,
    seconds: float = MOST_SECONDS,
    say: Callable[[str, int, int], object] = lambda phase, done, total: None,
) -> Calibration:
    """Measure what candidates cost on this device.

    Args:
        data: Format of the samples that models are searched for.
        threads: That an inference computes with.
        description: What cannot be measured on the device.
        candidates: Those that may be measured; all, unless some are kept to judge the calibration by.
        seconds: How long it may take; a device that is fast takes less, and one that needs longer for the fewest measurements
            by which anything can be told has three minutes for these.
        say: Told how far it has come: what is measured now, how many candidates are, and how many are to be.

    Raises:
        InvalidInput: the samples are no images.
        WorkFailed: the device is so slow or so short of memory that too few could be measured.
        StoreFailed: the disk refuses.
    """
    began, at = time.monotonic(), datetime.now(UTC)
    ends = began + seconds * _ALL_ENDS
    order = _order(data, networks().everything if candidates is None else candidates)
    meter, phase = EnergyMeter(), _Phase.until(began + seconds * _ALONE_ENDS)
    least = _Phase.until(began + max(seconds, MOST_SECONDS) * _LEAST_ENDS)
    measured = _alone(order, data, threads, phase, least, say)
    if len(measured) < LEAST_MEASUREMENTS:
        raise WorkFailed(
            f"Only {len(measured)} networks are quick enough here to be measured within {least.ends - began:.0f} s; "
            f"{LEAST_MEASUREMENTS} are needed. Calibrate while nothing else is at work on the device, or take smaller images."
        )
    measured = _again(measured, data, threads, phase)
    watts, origin = inference_watts(meter, description, processor().cores, threads)
    measured = _weighed(measured, data, threads, _Phase.until(began + seconds * _MEMORY_ENDS), say)
    measured = _beside(measured, data, threads, _Phase.until(began + seconds * _BUSY_ENDS), say)
    weighed = [each for each in measured if each.memory_bytes]
    field = data.fields[0]
    return Calibration(
        shape=data.input_shape,
        dtype=field.dtype,
        shifted=bool(field.offset),
        classes=len(data.classes),
        processor=processor(),
        threads=threads,
        watts=watts,
        watts_origin=origin,
        measurements=tuple(measured),
        latency=_smoothness(measured, data, latency_whole, [each.latency_ms for each in measured], ends),
        memory=_smoothness(weighed, data, memory_whole, [float(each.memory_bytes or 0) for each in weighed], ends)
        if len(weighed) >= LEAST_MEASUREMENTS
        else None,
        at=at,
        seconds=time.monotonic() - began,
    )


def measured_costs(
    content: bytes, *, threads: int = 1, description: DeviceDescription | None = None, neighbour: bool = True
) -> Costs:
    """What a network costs on this device, measured.

    Args:
        content: The ONNX file that is to be delivered.
        threads: That an inference computes with.
        description: What cannot be measured on the device.
        neighbour: Whether the bound of the latency is what it is beside a busy neighbour.

    Raises:
        InvalidModel: it is no network that may be deployed.
        WorkFailed: it cannot be run.
        StoreFailed: the disk refuses.
    """
    meter, network = EnergyMeter(), Measured(content, threads)
    alone = network.alone()
    watts, _ = inference_watts(meter, description, processor().cores, threads)
    most = alone.most
    if neighbour:
        with busy_neighbour():
            most = network.beside().most
    with footprints(threads) as memory:
        taken = memory.of(content)
    return Costs(
        latency_ms=alone.median,
        latency_bound_ms=max(alone.median, most),
        memory_bytes=taken,
        energy_joules=None if watts is None else watts * alone.median / 1000,
        origin="measured",
    )


def unlearned_file(candidate: Candidate, data: DataFormat) -> bytes:
    """A candidate as the ONNX file that would be delivered, with weights that have learned nothing: it costs the same."""
    network = spec(candidate)
    return written(network, data, drawn(network, data))


def _order(data: DataFormat, candidates: Iterable[Candidate]) -> list[Candidate]:
    """Candidates as they are measured: the quickest first, to learn how fast the device is, and the others by chance."""
    ordered = sorted(candidates, key=lambda each: _multiplications(each, data))
    others = ordered[1:]
    random.Random(0).shuffle(others)  # The same each time, so that calibrations can be compared.
    return [ordered[0], *others]


def _alone(
    order: Sequence[Candidate],
    data: DataFormat,
    threads: int,
    phase: _Phase,
    least: _Phase,
    say: Callable[[str, int, int], object],
) -> list[Measurement]:
    """As many as the phase has time for; where these are too few, as many as are needed, in the longer time for these."""
    found: list[Measurement] = []
    slowest = 0.0  # Milliseconds for a multiplication.
    total = min(_ALONE, len(order))
    for candidate in order:
        enough = len(found) >= LEAST_MEASUREMENTS
        if len(found) == total or (phase.over if enough else least.over):
            break
        work = _multiplications(candidate, data) + _BEGINNING
        # What is needed may take its share of the time that there is for it.
        longest = phase.longest if enough else max(phase.longest, least.longest)
        if slowest * work * _MOST_RUNS / 1000 > longest:
            continue
        latency = Measured(unlearned_file(candidate, data), threads).alone().computing
        slowest = max(slowest, latency / work)
        found.append(Measurement(candidate=candidate, latency_ms=latency))
        say("latency", len(found), total)
    return found


def _again(measured: Sequence[Measurement], data: DataFormat, threads: int, phase: _Phase) -> list[Measurement]:
    """The same, with those measured once more that took longer than the others tell: the shorter time counts.

    What else is at work on the device makes an inference longer, and never shorter.
    """
    found = list(measured)
    latencies = np.array([each.latency_ms for each in found])
    beyond = latencies / Regression(_wholes(found, data, latency_whole), latencies, USUAL).left_out
    for place in np.argsort(-beyond):
        if phase.over or beyond[place] < _SUSPECT:
            break
        each = found[place]
        latency = Measured(unlearned_file(each.candidate, data), threads).alone().computing
        found[place] = each.model_copy(update={"latency_ms": min(each.latency_ms, latency)})
    return found


def _beside(
    measured: Sequence[Measurement], data: DataFormat, threads: int, phase: _Phase, say: Callable[[str, int, int], object]
) -> list[Measurement]:
    """The same, some of them measured beside a busy neighbour, too."""
    found = list(measured)
    total = min(_BUSY, len(found))
    with busy_neighbour():
        for place in range(total):
            if phase.over and place >= LEAST_MEASUREMENTS:
                break
            each = found[place]
            busy = Measured(unlearned_file(each.candidate, data), threads).beside()
            found[place] = each.model_copy(update={"busy_ms": busy.most})
            say("beside a neighbour", place + 1, total)
    return found


def _weighed(
    measured: Sequence[Measurement], data: DataFormat, threads: int, phase: _Phase, say: Callable[[str, int, int], object]
) -> list[Measurement]:
    """The same, with the memory of some of them; without, where it cannot be measured here."""
    found = list(measured)
    total = min(_MEMORY, len(found))
    with suppress(WorkFailed), footprints(threads) as memory:
        for place in range(total):
            if phase.over and place >= _LEAST_WEIGHED:
                break
            each = found[-1 - place]
            found[-1 - place] = each.model_copy(update={"memory_bytes": memory.of(unlearned_file(each.candidate, data))})
            say("memory", place + 1, total)
    return found


def _multiplications(candidate: Candidate, data: DataFormat) -> int:
    return sum(costs.multiplications(layers_of(spec(candidate), data)))


def _smoothness(
    measured: Sequence[Measurement], data: DataFormat, whole: Callable[..., Whole], values: Sequence[float], ends: float
) -> Smoothness:
    found = Regression(_wholes(measured, data, whole), np.array(values), until=ends).hyperparameters
    return Smoothness(amplitude=found.amplitude, noise=found.noise, scales=found.scales)


def _wholes(measured: Sequence[Measurement], data: DataFormat, whole: Callable[..., Whole]) -> list[Whole]:
    return [whole(layers_of(spec(each.candidate), data)) for each in measured]
