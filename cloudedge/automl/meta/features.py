"""What the meta model sees of a device: its queue and its resources as numbers, however long the queue is.

The queue is a matrix of masked rows, pooled over the rows so that their order does not matter (Zaheer et al., "Deep Sets",
NeurIPS 2017): the least deadline and the least slack, means, and their count. Times, energies, memory and power are logarithms
to base 10. How fast a device is follows from what a reference network costs on it, as networks do in HELP (Lee et al., "HELP:
Hardware-Adaptive Efficient Latency Prediction for NAS via Meta-Learning", NeurIPS 2021): each limit counts by how many times
it is what that network takes.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cloudedge.automl.screen import backlog, fastest
from cloudedge.documents.automl import Costs, DeviceState, Limits, QueuedJob

MOST_ROWS = 16
"""Rows of the queue that are seen: the most urgent ones."""

_COLUMNS = ("runtime_cpu", "runtime_npu", "energy_cpu", "energy_npu", "nodes_cpu", "nodes_npu", "latency_limit")
"""The seven numbers of a job, in their order."""

_SOURCE = (
    "free_nodes_cpu",
    "free_nodes_npu0",
    "free_nodes_npu1",
    "free_memory_cpu",
    "free_memory_npu0",
    "free_memory_npu1",
    "average_power",
)
"""The seven numbers of the resources."""

_HEADROOM = ("reference_latency", "reference_memory", "latency_headroom", "memory_headroom", "energy_headroom")

NAMES = (
    "jobs",
    "backlog",
    "least_latency_limit",
    "least_slack",
    *(f"mean_{name}" for name in _COLUMNS),
    "share_with_npu",
    *_SOURCE,
    *_HEADROOM,
)
"""Of the features, in their order."""

_LEAST = 1e-9
"""Of a time in seconds, an energy in joules or a ratio: smaller ones are all as this."""

_SLACK_UNIT = 1e-3
"""Slack of fewer seconds than this is as none; its logarithm keeps the sign."""

_WIDEST = 2.5
"""Headroom of more than 10 to the power of this is as this: the largest network takes less, so that the limit says nothing."""

Array = npt.NDArray[np.float64]


def rows(jobs: Sequence[QueuedJob]) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The queue as a matrix.

    Args:
        jobs: In any order.

    Returns:
        Logarithms of the seven numbers of each job, and its slack, [MOST_ROWS, 8]; and which of them there are, of the same
        shape: rows beyond the queue are masked, and so is what a job lacks that cannot run on an accelerator.
    """
    values, mask = np.zeros((MOST_ROWS, len(_COLUMNS) + 1)), np.zeros((MOST_ROWS, len(_COLUMNS) + 1), np.bool_)
    urgent = sorted(jobs, key=lambda job: (job.latency_limit, job.model_dump_json()))[:MOST_ROWS]
    for row, job in enumerate(urgent):
        for column, name in enumerate(_COLUMNS):
            number = getattr(job, name)
            if number is not None:
                values[row, column], mask[row, column] = _log(number), True
        values[row, -1], mask[row, -1] = _signed(job.latency_limit - fastest(job)), True
    return values, mask


def features(state: DeviceState, limits: Limits, reference: Costs) -> Array:
    """What the meta model sees, [len(NAMES)].

    Args:
        state: The queue and the resources.
        limits: Those that hold, the queue and the resources taken into account.
        reference: What the reference network costs on the device.
    """
    values, mask = rows(state.jobs)
    there = mask.sum(0)
    means = np.where(there > 0, values.sum(0, where=mask) / np.maximum(there, 1), 0.0)
    jobs = len(state.jobs)
    least_limit = values[: min(jobs, MOST_ROWS), -2].min(initial=math.inf) if jobs else 0.0
    least_slack = values[: min(jobs, MOST_ROWS), -1].min(initial=math.inf) if jobs else 0.0
    resources = state.resources.model_dump(include=set(_SOURCE))
    return np.array(
        [
            math.log10(1 + jobs),
            _log(backlog(state.jobs)) if jobs else 0.0,
            least_limit,
            least_slack,
            *means[:-1],
            there[1] / max(there[0], 1),
            *(math.log10(1 + resources[name]) for name in _SOURCE),
            _log(reference.latency_bound_ms),
            _log(reference.memory_bytes),
            _headroom(limits.latency_ms, reference.latency_bound_ms),
            _headroom(limits.memory_bytes, reference.memory_bytes),
            _headroom(limits.energy_joules, reference.energy_joules),
        ]
    )


def _headroom(allowed: float | None, needed: float | None) -> float:
    """Logarithm of how many times the reference network fits into a limit."""
    if allowed is None or needed is None:
        return _WIDEST
    return min(_WIDEST, _log(allowed / max(needed, _LEAST)))


def _log(value: Any) -> float:
    return math.log10(max(float(value), _LEAST))


def _signed(seconds: float) -> float:
    return math.copysign(math.log10(1 + abs(seconds) / _SLACK_UNIT), seconds)
