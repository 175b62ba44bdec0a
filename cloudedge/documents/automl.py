"""What searching for a model on an edge device is about: its queue and resources, candidates, limits, and what came of it."""

from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from cloudedge.documents.base import Document, Part
from cloudedge.documents.data import Dtype
from cloudedge.documents.report import MOST_COUNT, Count, Seconds, Share, Text, Time
from cloudedge.names import FOLDER, NAME

MOST_LAYERS = 6
Filters = Literal[4, 8, 16, 32, 64]
Kernel = Literal[1, 3, 5, 7]
FILTERS: tuple[Filters, ...] = get_args(Filters)
KERNELS: tuple[Kernel, ...] = get_args(Kernel)

MOST_FAULT = 2000
"""Characters of why something came to nothing."""

Joules = Annotated[float, Field(ge=0, le=1e14)]
"""As many as the most watts come to in the longest time."""

Watts = Annotated[float, Field(ge=0, le=1e6)]
Bytes = Annotated[int, Field(ge=0, le=2**50)]
Nodes = Annotated[float, Field(ge=0, le=1e6)]
MOST_MILLISECONDS = 1e9
_MOST_AMOUNT = 2.0**50
"""Of a figure, whatever its unit."""

Amount = Annotated[float, Field(ge=0, le=_MOST_AMOUNT)]

Milliseconds = Annotated[float, Field(ge=0, le=MOST_MILLISECONDS)]
Loss = Literal["cross-entropy", "label-smoothing", "focal", "mse"]

Origin = Literal["measured", "estimated", "described", "absent"]
"""Where a figure comes from: read off the device; computed by a calibrated model; said by its description; or there is no such
thing on the device."""


class QueuedJob(Part):
    """A task in the device's queue: Job, row by row."""

    runtime_cpu: Seconds = Field(description="Approximate runtime on the CPU.")
    runtime_npu: Seconds | None = Field(default=None, description="The same on an accelerator; none: it cannot run there.")
    energy_cpu: Joules = Field(description="Approximate energy on the CPU.")
    energy_npu: Joules | None = Field(default=None, description="The same on an accelerator.")
    nodes_cpu: Nodes = Field(description="Compute nodes (cores) that it needs on the CPU.")
    nodes_npu: Nodes | None = Field(default=None, description="The same on an accelerator.")
    latency_limit: Seconds = Field(description="How long it may take from now on: T.")


class Resources(Part):
    """What the device has to give now: Source."""

    free_nodes_cpu: Nodes = Field(description="Free compute nodes (cores) of the CPU, within the limits of its control group.")
    free_nodes_npu0: Nodes = Field(default=0, description="Free compute nodes of the first accelerator; 0: there is none.")
    free_nodes_npu1: Nodes = Field(default=0, description="The same of the second one.")
    free_memory_cpu: Bytes = Field(description="Free main memory in bytes, within the limits of its control group.")
    free_memory_npu0: Bytes = Field(default=0, description="Free memory of the first accelerator in bytes.")
    free_memory_npu1: Bytes = Field(default=0, description="The same of the second one.")
    average_power: Watts = Field(description="Average power of the device in the current period, in watts.")
    origins: dict[str, Origin] = Field(default_factory=dict, description="Where each of these figures comes from, by its name.")


class Spread(Part):
    """How a figure was at many moments."""

    looks: int = Field(ge=1, le=MOST_COUNT, description="At how many.")
    low: Amount = Field(description="At 95% of them it was not lower.")
    median: Amount = Field(description="At half of them it was not lower.")
    high: Amount = Field(description="At 95% of them it was not higher.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.median <= self.high:
            raise ValueError("its values are not in their order")
        return self


class Usual(Part):
    """How a device was over some time, as its runner looked at it again and again."""

    looks: int = Field(ge=1, le=MOST_COUNT, description="How often.")
    since: Time = Field(description="When first.")
    until: Time = Field(description="When last.")
    figures: dict[Annotated[str, Field(max_length=100)], Spread] = Field(
        min_length=1,
        max_length=20,
        description="Those of the resources, by name; `waiting`: tasks in the queue; `backlog`: seconds that these take.",
    )

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.until < self.since:
            raise ValueError("it ends before it begins")
        return self


class DeviceState(Part):
    """What the size of a search follows from: X."""

    jobs: tuple[QueuedJob, ...] = Field(default=(), max_length=1000, description="The queue, first one first.")
    resources: Resources = Field(description="What the device has to give.")
    at: Time = Field(description="When it was looked at.")
    usual: Usual | None = Field(default=None, description="How it was over the last week; none: that is not known.")


class Candidate(Part):
    """A network that may be trained: blocks of convolution, normalisation, ReLU and pooling, then one linear layer."""

    layers: int = Field(ge=1, le=MOST_LAYERS, description="Number of convolution layers.")
    filters: Filters = Field(description="Channels of its widest layer.")
    kernel: Kernel = Field(description="Kernel size of its convolutions.")
    growing: bool = Field(
        default=False, description="Whether channels double from layer to layer up to `filters`; else all equal."
    )


class Hyperparameters(Part):
    """How large a search may be: caps on the candidates, the loss to train with, and the seed."""

    layers: int = Field(ge=1, le=MOST_LAYERS, description="Most convolution layers.")
    filters: Filters = Field(description="Most channels of a layer.")
    kernel: Kernel = Field(description="Largest kernel.")
    loss: Loss = Field(default="cross-entropy", description="Loss.")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Seed of the networks' weights.")


Limit = Literal["latency", "memory", "energy", "training memory"]


class Limits(Part):
    """What a model may cost on the device; a limit that is none does not bind."""

    latency_ms: Milliseconds | None = Field(default=None, description="Longest time of one inference, in milliseconds.")
    memory_bytes: Bytes | None = Field(default=None, description="Most memory of an inference, in bytes.")
    energy_joules: Joules | None = Field(default=None, description="Most energy of one inference.")
    training_bytes: Bytes | None = Field(default=None, description="Most memory of its training, in bytes.")


class Costs(Part):
    """What a model costs on the device."""

    latency_ms: Milliseconds = Field(description="Time of one inference: the median where measured, the expected one else.")
    latency_bound_ms: Milliseconds = Field(description="Not exceeded by 95% of inferences, a busy neighbour beside them.")
    memory_bytes: Bytes = Field(description="Weights, and the largest activations that are there at once.")
    energy_joules: Joules | None = Field(default=None, description="Energy of one inference; none: not known.")
    training_bytes: Bytes | None = Field(
        default=None,
        description="Memory that its training is expected to take; none: not told, as where an accelerator trains.",
    )
    origin: Origin = Field(default="estimated", description="Whether that was measured or estimated.")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.latency_bound_ms < self.latency_ms:
            raise ValueError("the bound of the latency is below the latency")
        return self


class Change(Part):
    """A limit that would have to be another one."""

    limit: Limit = Field(description="Which.")
    allowed: Amount = Field(description="What is allowed: milliseconds, bytes or joules.")
    needed: Amount = Field(description="What the candidate needs, in the same unit: the least that would do.")


class Remedy(Part):
    """What would have to change for one candidate to fit."""

    candidate: Candidate = Field(description="That would fit then.")
    predicted: Costs = Field(description="What it is expected to cost.")
    changes: tuple[Change, ...] = Field(min_length=1, description="The limits that it breaks, the most broken one first.")


class NothingFeasible(Part):
    """No candidate keeps all limits."""

    candidates: Count = Field(description="How many were looked at; none of them was trained.")
    binding: Limit = Field(description="The limit that is in the way: the most broken one of the smallest remedy.")
    remedies: tuple[Remedy, ...] = Field(
        min_length=1, description="What would help, the smallest change first; any one is enough."
    )
    why: dict[Limit, Text] = Field(default_factory=dict, description="Where the limits come from, by name.")


class Trial(Part):
    """A candidate that was trained, or why it was not."""

    candidate: Candidate = Field(description="The network.")
    loss: Loss = Field(default="cross-entropy", description="Loss that it was trained with.")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Seed of its weights.")
    predicted: Costs = Field(description="What it was expected to cost.")
    broken: tuple[Limit, ...] = Field(
        default=(), description="Limits that it was expected or measured to break before it was trained; so it was not."
    )
    accuracy: Share | None = Field(default=None, description="On held-out samples; none: it was not trained.")
    epochs: Count = Field(default=0, description="Epochs that it was trained for.")
    seconds: Seconds = Field(default=0, description="How long that took.")
    measured: Costs | None = Field(default=None, description="What it costs when measured; none: it was not.")
    fault: Text = Field(
        default="", max_length=MOST_FAULT, description="Why its training or measuring came to nothing; empty: it did not."
    )


class TraceRow(Part):
    """A search that is over: what the meta model learns from."""

    id: str = Field(max_length=300, description="Of the order, so that each search counts once.")
    device: str = Field(pattern=NAME, description="The device.")
    state: DeviceState = Field(description="Its queue and resources as the search began.")
    limits: Limits = Field(description="What the model might cost, the queue and the resources taken into account.")
    reference: Costs = Field(description="What the reference network is expected to cost there: how fast the device is.")
    hyperparameters: Hyperparameters = Field(description="How large the search was.")
    preferences: dict[str, tuple[Share, ...]] = Field(
        default_factory=dict,
        description="How likely the meta model holds each choice of a size to be the best one, the smallest first: the order "
        "of the search follows from it. Empty: step by step from the caps downward.",
    )
    by: Literal["meta", "tpe"] = Field(
        description="What led it: the meta model, or constrained TPE outside of that one's range."
    )
    why: Text = Field(default="", max_length=MOST_FAULT, description="Why it was TPE; empty where the meta model led.")
    trials: tuple[Trial, ...] = Field(max_length=1000, description="What was tried, and what was screened out.")
    best: int | None = Field(
        default=None, ge=0, description="Place of the best one among the trials; none: nothing is feasible."
    )


class Accelerator(Part):
    """An accelerator that no driver here tells of."""

    name: str = Field(max_length=100, description="What it is.")
    nodes: Nodes = Field(description="Its compute nodes.")
    memory_bytes: Bytes = Field(description="Its memory in bytes.")
    speed: float = Field(gt=0, le=1e6, description="How many times faster than one CPU core it runs a network.")
    watts: Watts = Field(description="Its power at work.")


class DeviceDescription(Document):
    """What cannot be measured on a device."""

    called: ClassVar[str] = "device description"

    idle_watts: Watts | None = Field(default=None, description="Power of the device with nothing to do.")
    busy_watts: Watts | None = Field(default=None, description="Power of the device with all cores at work.")
    cores: Nodes | None = Field(default=None, description="Cores that a search may count on; none: those that there are.")
    memory_bytes: Bytes | None = Field(default=None, description="Memory that a search may count on; none: what there is.")
    accelerators: tuple[Accelerator, ...] = Field(default=(), max_length=2, description="Accelerators.")
    control_groups: tuple[Annotated[str, Field(pattern=FOLDER, max_length=1000)], ...] = Field(
        default=(),
        max_length=8,
        description="Folders of control groups that work on this device enters before it begins, so that it keeps their limits "
        "and what it measures is measured within them.",
    )

    @field_validator("busy_watts")
    @classmethod
    def _busy_takes_more(cls, busy: float | None, others: ValidationInfo) -> float | None:
        idle = others.data.get("idle_watts")
        if busy is not None and idle is not None and busy < idle:
            raise ValueError(f"a device at work takes no less than one with nothing to do; give {idle:g} or more")
        return busy


class Processor(Part):
    """What computes. What was measured on one holds for no other."""

    model: Text = Field(max_length=200, description="What it is called; empty: it does not say.")
    cores: Nodes = Field(description="Cores that this software may use, within the limits of its control group.")
    clock_mhz: float | None = Field(default=None, ge=0, le=1e6, description="Highest clock that it is allowed; none: not told.")


class Measurement(Part):
    """What a candidate came to when it was measured, with weights that had learned nothing."""

    candidate: Candidate = Field(description="The network.")
    latency_ms: Milliseconds = Field(gt=0, description="Median time of one inference, with the processor to itself.")
    busy_ms: Milliseconds | None = Field(
        default=None, description="Not exceeded by 95% of inferences beside a busy neighbour; none: not measured so."
    )
    memory_bytes: Bytes | None = Field(default=None, description="Most memory of an inference; none: not measured.")


class Smoothness(Part):
    """How alike parts of networks are that look alike: hyperparameters of a regression, so that they are not searched again."""

    amplitude: float = Field(gt=0, le=1e3, description="How far a part is off its linear estimate, relative to it.")
    noise: float = Field(gt=0, le=1e3, description="How far a measured network is off, relative to it.")
    scales: tuple[Annotated[float, Field(gt=0, le=1e3)], ...] = Field(
        max_length=16, description="Distance in each feature over which parts become unlike."
    )


class Calibration(Document):
    """What was measured on a device, to tell from it what other candidates cost there."""

    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(max_length=4, description="Shape of the samples.")
    dtype: Dtype = Field(description="Type of their stored numbers.")
    shifted: bool = Field(description="Whether they have an offset, which is taken away first.")
    classes: int = Field(ge=2, le=100_000, description="How many there are.")
    processor: Processor = Field(description="What it was measured on.")
    threads: int = Field(ge=1, le=1024, description="Threads that an inference computed with.")
    watts: Watts | None = Field(default=None, description="Power of the device while it inferred; none: not known.")
    watts_origin: Origin = Field(default="absent", description="Where that comes from.")
    measurements: tuple[Measurement, ...] = Field(min_length=1, max_length=10_000, description="What was measured.")
    latency: Smoothness = Field(description="Of what it tells of latency.")
    memory: Smoothness | None = Field(default=None, description="Of what it tells of memory; none: by rule.")
    at: Time = Field(description="When it began.")
    seconds: Seconds = Field(description="How long it took.")


class Prediction(Part):
    """What a network of the search's space is expected to cost on the device."""

    candidate: Candidate = Field(description="The network.")
    predicted: Costs = Field(description="What it is expected to cost.")
    broken: tuple[Limit, ...] = Field(default=(), description="Limits that it is expected to break; then it is never trained.")


MAX_SEARCH_BYTES = 8 * 1024 * 1024


class SearchRecord(Document):
    """All that a search on a device did, or why it did nothing."""

    state: DeviceState = Field(description="The device's queue and resources as the search began.")
    limits: Limits = Field(description="What the model might cost, these taken into account.")
    row: TraceRow | None = Field(default=None, description="The search; none: nothing is feasible.")
    nothing: NothingFeasible | None = Field(default=None, description="Why there was nothing to search.")
    predictions: tuple[Prediction, ...] = Field(
        max_length=10_000, description="All networks that there are, with what each is expected to cost."
    )

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.row is None) == (self.nothing is None):
            raise ValueError("it has a search or a reason why there was none, and not both")
        return self
