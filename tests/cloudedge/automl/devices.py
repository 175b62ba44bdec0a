"""Devices and queues that tests draw."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from cloudedge.automl.meta.simulating import Device
from cloudedge.documents import DataFormat, SampleField
from cloudedge.documents.automl import (
    FILTERS,
    KERNELS,
    MOST_LAYERS,
    Candidate,
    Costs,
    DeviceState,
    Hyperparameters,
    Limits,
    QueuedJob,
    Resources,
)

DATA = DataFormat(
    storage="npz", fields=(SampleField(name="image", shape=(1, 12, 12)),), classes=tuple(str(number) for number in range(10))
)

CAPS = st.builds(
    Hyperparameters,
    layers=st.integers(1, MOST_LAYERS),
    filters=st.sampled_from(FILTERS),
    kernel=st.sampled_from(KERNELS),
)
"""Largest networks to begin with."""

BOARD = Device(
    speed=1e8,
    fill=4,
    overhead=1e-4,
    layer=1e-5,
    busy=1.5,
    idle_watts=2,
    busy_watts=5,
    cores=4,
    runtime=(0, 0),
    memory=2**28,
    npus=(),
)


class NoMeter:
    """Knows nothing of energy."""

    def costs(self, candidate: Candidate, data: DataFormat) -> Costs:
        """What the board says, but for its energy."""
        return BOARD.costs(candidate, data).model_copy(update={"energy_joules": None})


def state(*jobs: QueuedJob, memory: int = 2**28, watts: float = 3) -> DeviceState:
    """A device with a queue."""
    resources = Resources(free_nodes_cpu=4, free_memory_cpu=memory, average_power=watts)
    return DeviceState(jobs=jobs, resources=resources, at=datetime(2026, 1, 1, tzinfo=UTC))


def job(runtime: float, limit: float, npu: float | None = None) -> QueuedJob:
    """A task in a queue."""
    return QueuedJob(
        runtime_cpu=runtime,
        runtime_npu=npu,
        energy_cpu=5 * runtime,
        energy_npu=None if npu is None else npu,
        nodes_cpu=1,
        nodes_npu=None if npu is None else 1,
        latency_limit=limit,
    )


def spread(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers between two."""
    return st.floats(low, high, allow_nan=False)


JOBS = st.builds(job, spread(1e-4, 100), spread(1e-3, 1e4), st.none() | spread(1e-4, 100))

LIMITS = st.builds(
    Limits,
    latency_ms=st.none() | spread(0, 300),
    memory_bytes=st.none() | st.integers(0, 2**20),
    energy_joules=st.none() | spread(0, 1),
)

DEVICES = st.builds(
    Device,
    speed=spread(1e6, 1e10),
    fill=spread(0, 16),
    overhead=spread(1e-6, 1e-2),
    layer=spread(1e-6, 1e-3),
    busy=spread(1, 3),
    idle_watts=st.just(1.0),
    busy_watts=spread(1, 100),
    cores=st.just(4),
    runtime=st.sampled_from([(0, 0), (100_000, 1_000)]),
    memory=st.just(2**28),
    npus=st.just(()),
)
