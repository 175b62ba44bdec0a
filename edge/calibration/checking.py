"""Whether what was measured on this device still is as it was: some networks of a calibration are measured again, in seconds.

So a clock that was lowered, another kernel, heat and whatever else is at work on the device show, in either direction: one that
was calibrated while others had the processor believes itself slower than it is.
"""

import statistics
from collections.abc import Callable, Sequence

from cloudedge.automl.screen import times
from cloudedge.documents import DataFormat
from cloudedge.documents.automl import Calibration, Measurement
from edge.calibration.calibrating import unlearned_file
from edge.calibration.measuring import Measured
from edge.calibration.neighbour import busy_neighbour

_NETWORKS = 3

_MOST_ALONE, _MOST_BESIDE = 1.1, 1.5
"""Factors by which the median network may differ, with the processor to itself and beside a busy neighbour. Measured again at
once, medians differed by at most 1.02 and 1.45, whatever else was at work."""

_LOOKS = 2
"""Times in a row that it has to differ."""


def why_otherwise(
    calibration: Calibration, data: DataFormat, say: Callable[[str, int, int], object] = lambda phase, done, total: None
) -> str | None:
    """How networks differ from what was measured of them when the device was calibrated; none: they do not.

    Args:
        calibration: Of this device, as it is.
        data: The samples that it is for.
        say: Told how far it has come, see `calibrate`.

    Raises:
        WorkFailed: a network cannot be run any more, or takes longer than a minute.
    """
    beside = sorted((each for each in calibration.measurements if each.busy_ms), key=lambda each: each.latency_ms)
    chosen = [beside[(place + 1) * len(beside) // (_NETWORKS + 1)] for place in range(min(_NETWORKS, len(beside)))]
    if not chosen:
        return None
    networks = [Measured(unlearned_file(each.candidate, data), calibration.threads) for each in chosen]
    found: str | None = None
    for _ in range(_LOOKS):
        found = _difference(chosen, networks, calibration, say)
        if found is None:
            break
    return found


def _difference(
    chosen: Sequence[Measurement],
    networks: Sequence[Measured],
    calibration: Calibration,
    say: Callable[[str, int, int], object],
) -> str | None:
    total = 2 * len(chosen)
    alone, beside = [], []
    for each, network in zip(chosen, networks, strict=True):
        alone.append(network.alone().computing / each.latency_ms)
        say("once more", len(alone), total)
    with busy_neighbour():
        for each, network in zip(chosen, networks, strict=True):
            beside.append(network.beside().most / (each.busy_ms or 1))
            say("once more", len(alone) + len(beside), total)
    for factors, most, where in ((alone, _MOST_ALONE, ""), (beside, _MOST_BESIDE, " beside a busy neighbour")):
        factor = statistics.median(factors)
        if not 1 / most <= factor <= most:
            return f"an inference{where} takes {times(factor)} times as long as on {calibration.at:%Y-%m-%d %H:%M} UTC"
    return None
