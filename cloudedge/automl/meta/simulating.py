"""Searches that happened on no device: drawn devices, queues and limits, and accuracies from a table of real trainings.

A device is drawn by its speed, its overheads, how well it fills its vector units, and its power; what a network costs on it is
its multiplications by that. Limits are drawn between what the smallest and the largest network take, so that each binds at
times. What such a search should have chosen is the most accurate network of those that keep the limits, by its mean over seeds,
and of the seeds that which served it best.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cloudedge.automl.costs import memory_bytes, multiplications
from cloudedge.automl.layers import layers_of
from cloudedge.automl.meta.table import Table
from cloudedge.automl.screen import BACKLOG_SHARE, REFERENCE, bounds
from cloudedge.automl.searching import everything
from cloudedge.automl.space import spec
from cloudedge.documents import DataFormat, SampleField
from cloudedge.documents.automl import Candidate, Costs, DeviceState, Limits, Loss, QueuedJob, Resources, TraceRow, Trial

SIMULATED = "simulated"
"""Name of the device that simulated searches are said to have been on."""

_AT = datetime(2026, 1, 1, tzinfo=UTC)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Device:
    """A device that nobody has.

    Attributes:
        speed: Multiplications a second of a wide layer.
        fill: Channels below which a layer runs at less than half that speed.
        overhead: Seconds of an inference, whatever the network.
        layer: Seconds of each layer.
        busy: Factor by which an inference is slower beside a neighbour, at most: the bound of the latency.
        idle_watts: Power with nothing to do.
        busy_watts: Power at work.
        cores: CPU cores.
        runtime: Bytes that the runtime takes for any network, and for each layer of it.
        memory: Free memory in bytes.
        npus: Cores and memory of each accelerator.
    """

    speed: float
    fill: float
    overhead: float
    layer: float
    busy: float
    idle_watts: float
    busy_watts: float
    cores: int
    runtime: tuple[int, int]
    memory: int
    npus: tuple[tuple[int, int], ...]

    @classmethod
    def drawn(cls, chance: np.random.Generator) -> "Device":
        """Anything between a microcontroller and a server."""
        speed = _between(chance, 1e6, 3e11)
        idle = _between(chance, 0.01, 60)
        return cls(
            speed=speed,
            fill=chance.uniform(0, 16),
            overhead=_between(chance, 1e3, 1e5) / speed + _between(chance, 2e-7, 1e-4),
            layer=_between(chance, 2e-7, 3e-5),
            busy=chance.uniform(1.05, 2),
            idle_watts=idle,
            busy_watts=idle * chance.uniform(1.2, 6),
            cores=int(2 ** chance.integers(0, 7)),
            runtime=(int(_between(chance, 2**14, 2**21)), int(_between(chance, 2**8, 2**15)))
            if chance.random() < 0.7
            else (0, 0),
            memory=int(_between(chance, 2**14, 2**37)),
            npus=tuple(
                (int(2 ** chance.integers(0, 11)), int(_between(chance, 2**20, 2**36)))
                for _ in range(int(chance.choice([0, 1, 2], p=[0.6, 0.3, 0.1])))
            ),
        )

    def costs(self, candidate: Candidate, data: DataFormat) -> Costs:
        """See `screen.Predictor`."""
        return self.bill((candidate,), data).costs(0)

    def bill(self, candidates: tuple[Candidate, ...], data: DataFormat) -> "Bill":
        """What several networks cost."""
        work = _work(candidates, data)
        seconds = self.overhead + self.layer * work.layers + (work.products * (1 + self.fill / work.widths)).sum(1) / self.speed
        always, layer = self.runtime
        return Bill(
            1000 * seconds,
            1000 * seconds * self.busy,
            always + layer * work.layers + work.memory,
            seconds * self.busy_watts,
        )


class Bill(NamedTuple):
    """Costs of several networks, [candidates] each.

    Attributes:
        latency_ms: Expected.
        bound_ms: Bound of that.
        memory_bytes: Memory.
        energy_joules: Energy.
    """

    latency_ms: Array
    bound_ms: Array
    memory_bytes: Array
    energy_joules: Array

    def costs(self, place: int) -> Costs:
        """Of one network."""
        return Costs(
            latency_ms=float(self.latency_ms[place]),
            latency_bound_ms=float(self.bound_ms[place]),
            memory_bytes=int(self.memory_bytes[place]),
            energy_joules=float(self.energy_joules[place]),
        )

    def kept(self, limits: Limits) -> npt.NDArray[np.bool_]:
        """Which of them keep the limits."""
        kept = np.ones(len(self.bound_ms), np.bool_)
        pairs = (
            (limits.latency_ms, self.bound_ms),
            (limits.memory_bytes, self.memory_bytes),
            (limits.energy_joules, self.energy_joules),
        )
        for allowed, needed in pairs:
            if allowed is not None:
                kept &= needed <= allowed
        return kept


@dataclass(frozen=True)
class _Work:
    """What networks have to do: multiplications and channels by layer [candidates, layers], layers, and bytes."""

    products: Array
    widths: Array
    layers: Array
    memory: Array


def _work(candidates: tuple[Candidate, ...], data: DataFormat) -> _Work:
    return _known_work(candidates, data.input_shape, data.classes)


@cache
def _known_work(candidates: tuple[Candidate, ...], shape: tuple[int, ...], classes: tuple[str, ...]) -> _Work:
    data = _form(shape, classes)
    structures = [layers_of(spec(candidate), data) for candidate in candidates]
    most = max(len(each.convolutions) for each in structures) + 1
    products, widths = np.zeros((len(candidates), most)), np.ones((len(candidates), most))
    for place, each in enumerate(structures):
        numbers = multiplications(each)
        products[place, : len(numbers)] = numbers
        widths[place, : len(numbers)] = [*(layer.outputs for layer in each.convolutions), each.classes]
    counts = np.array([len(each.convolutions) + 1.0 for each in structures])
    return _Work(products, widths, counts, np.array([float(memory_bytes(each)) for each in structures]))


def form(table: Table) -> DataFormat:
    """Format of the samples that a table is about."""
    return _form(table.shape, tuple(str(number) for number in range(table.classes)))


def _form(shape: tuple[int, ...], classes: tuple[str, ...]) -> DataFormat:
    return DataFormat(storage="npz", fields=(SampleField(name="image", shape=shape),), classes=classes)


def simulated(table: Table, count: int, seed: int) -> Iterator[TraceRow]:
    """Draw searches in which something is feasible.

    Args:
        table: What networks reach.
        count: How many.
        seed: They follow from it.
    """
    chance = np.random.default_rng([seed, 20])
    networks, data = table.networks, form(table)
    choices = best_first(table)
    number = 0
    while number < count:
        device = Device.drawn(chance)
        bill = device.bill(networks, data)
        state, asked = drawn_state(chance, device, bill)
        limits = bounds(asked, state).limits
        kept = bill.kept(limits)
        best = next(((place, loss, own) for place, loss, own in choices if kept[place]), None)
        if best is None:
            continue
        place, loss, own = best
        costs = bill.costs(place)
        trial = Trial(
            candidate=networks[place],
            loss=loss,
            seed=own,
            predicted=costs,
            measured=costs.model_copy(update={"origin": "measured"}),
        )
        yield TraceRow(
            id=f"simulated.{seed}.{number}",
            device=SIMULATED,
            state=state,
            limits=limits,
            reference=device.costs(REFERENCE, data),
            hyperparameters=everything(),
            by="tpe",
            trials=(trial,),
            best=0,
        )
        number += 1


def best_first(table: Table) -> list[tuple[int, Loss, int]]:
    """Place, loss and best seed of all networks, the most accurate first by the mean over seeds, of equals the smaller one."""
    by_loss: dict[Loss, list[tuple[int, tuple[float, ...]]]] = {}
    for column in table.columns:
        by_loss.setdefault(column.loss, []).append((column.seed, column.accuracies))
    found = []
    for loss, columns in by_loss.items():
        means = np.mean([accuracies for _, accuracies in columns], axis=0)
        for place, mean in enumerate(means.tolist()):
            seed, _ = max(columns, key=lambda column: column[1][place])
            found.append((-mean, place, loss, seed))
    return [(place, loss, seed) for _, place, loss, seed in sorted(found)]


def drawn_state(chance: np.random.Generator, device: Device, bill: Bill) -> tuple[DeviceState, Limits]:
    """A queue, resources and limits of which each may bind or not."""
    latency, memory, energy = (_limit(chance, each) for each in (bill.bound_ms, bill.memory_bytes, bill.energy_joules))
    metered = bool(chance.random() < 0.75)
    asked = Limits(
        latency_ms=latency if chance.random() < 0.7 else None,
        memory_bytes=int(memory) if chance.random() < 0.3 else None,
        energy_joules=energy if metered and chance.random() < 0.3 else None,
    )
    jobs = [_job(chance, device, metered) for _ in range(int(chance.choice([0, 1, 2, 4, 8, 16, 24])))]
    if jobs and chance.random() < 0.5:
        # The queue is what limits the latency, if only just.
        work = sum(min(job.runtime_cpu, job.runtime_npu or job.runtime_cpu) for job in jobs)
        tight = latency / 1000 + BACKLOG_SHARE * work
        jobs[0] = jobs[0].model_copy(update={"latency_limit": tight})
    free = int(memory) if chance.random() < 0.3 else device.memory
    npus = [*device.npus, (0, 0), (0, 0)][:2]
    share = chance.uniform(0, 1)
    resources = Resources(
        free_nodes_cpu=device.cores * max(0.0, chance.uniform(-0.1, 1)),
        free_nodes_npu0=npus[0][0] * chance.uniform(0, 1),
        free_nodes_npu1=npus[1][0] * chance.uniform(0, 1),
        free_memory_cpu=free,
        free_memory_npu0=int(npus[0][1] * chance.uniform(0, 1)),
        free_memory_npu1=int(npus[1][1] * chance.uniform(0, 1)),
        average_power=device.idle_watts + share * (device.busy_watts - device.idle_watts) if metered else 0.0,
    )
    return DeviceState(jobs=tuple(jobs), resources=resources, at=_AT), asked


def _job(chance: np.random.Generator, device: Device, metered: bool) -> QueuedJob:
    """A task in the queue; what nobody measures takes no energy."""
    runtime = _between(chance, 1e-5, 4e3)
    nodes = float(chance.uniform(0.1, device.cores))
    energy = runtime * device.busy_watts if metered else 0.0
    limit = min(1e7, runtime * _between(chance, 0.3, 1e4))
    npu = None
    if device.npus and chance.random() < 0.5:
        npu = runtime / _between(chance, 0.5, 50)
    return QueuedJob(
        runtime_cpu=runtime,
        runtime_npu=npu,
        energy_cpu=energy,
        energy_npu=None if npu is None else energy * chance.uniform(0.05, 1),
        nodes_cpu=nodes,
        nodes_npu=None if npu is None else float(chance.uniform(0.1, device.npus[0][0])),
        latency_limit=limit,
    )


def _limit(chance: np.random.Generator, costs: Array) -> float:
    """Somewhere between the least and the most that networks take, by ratio."""
    return _between(chance, costs.min(), costs.max() * 1.5)


def _between(chance: np.random.Generator, low: float, high: float) -> float:
    """A number between two, its logarithm evenly."""
    return float(np.exp(chance.uniform(np.log(low), np.log(high))))
