"""What the report says of networks, limits and costs, in words."""

from collections.abc import Callable, Mapping
from typing import get_args

from cloud.pages.words import count, duration, size
from cloudedge.automl.screen import milliseconds
from cloudedge.automl.space import channels
from cloudedge.documents.automl import Candidate, Costs, Limit, Limits, Processor, QueuedJob, Resources, Usual
from components.edge_automl.page.findings import DeviceStory, Findings

LIMITS: tuple[Limit, ...] = get_args(Limit)


def in_short(candidate: Candidate) -> str:
    """Layers, filters and kernel of a network: 3/16/3."""
    numbers = channels(candidate)
    width = f"{numbers[0]}-{numbers[-1]}" if numbers[0] != numbers[-1] else f"{numbers[0]}"
    return f"{candidate.layers}/{width}/{candidate.kernel}"


def energy(joules: float | None) -> str:
    """An energy."""
    if joules is None:
        return ""
    return f"{joules:.3g} J" if joules >= 1 else f"{1000 * joules:.3g} mJ"


def watts(power: float) -> str:
    """A power."""
    return f"{power:.3g} W" if power < 999.5 else f"{power:,.0f} W"


def costs(one: Costs | None) -> tuple[str, str, str, str]:
    """Latency, its bound, memory and energy."""
    if one is None:
        return "", "", "", ""
    return milliseconds(one.latency_ms), milliseconds(one.latency_bound_ms), size(one.memory_bytes), energy(one.energy_joules)


def limits(held: Limits) -> dict[Limit, str]:
    """The limits that there are."""
    found: dict[Limit, str] = {}
    if held.latency_ms is not None:
        found["latency"] = milliseconds(held.latency_ms)
    if held.memory_bytes is not None:
        found["memory"] = size(held.memory_bytes)
    if held.energy_joules is not None:
        found["energy"] = energy(held.energy_joules)
    if held.training_bytes is not None:
        found["training memory"] = size(held.training_bytes)
    return found


def queue(jobs: tuple[QueuedJob, ...]) -> str:
    """How much a device has to do."""
    if not jobs:
        return "empty"
    tightest = min(job.latency_limit for job in jobs)
    return f"{count(len(jobs), 'task')}, the tightest one due in {duration(tightest)}"


_USUAL: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "free_nodes_cpu": ("cores free", lambda value: f"{value:.3g}"),
    "free_memory_cpu": ("memory free", lambda value: size(int(value))),
    "average_power": ("power", watts),
    "backlog": ("work waiting", duration),
}
"""What is told of how a device usually is, and how it is written."""


def usual(found: Usual) -> str:
    """How a device was while it was watched; empty: nothing is known of what is told here."""
    figures = []
    for name, (title, write) in _USUAL.items():
        if spread := found.figures.get(name):
            figures.append(f"{title} {write(spread.median)} ({write(spread.low)} to {write(spread.high)})")
    if not figures:
        return ""
    watched = duration((found.until - found.since).total_seconds())
    return f"{', '.join(figures)}: median (5% to 95%) of {count(found.looks, 'look')} within {watched}"


def resources(found: Resources) -> list[tuple[str, str]]:
    """What a device has to give, each with where it is known from."""
    figures = [
        ("Free cores", f"{found.free_nodes_cpu:.3g}", "free_nodes_cpu"),
        ("Free memory", size(found.free_memory_cpu), "free_memory_cpu"),
        ("Power", watts(found.average_power), "average_power"),
    ]
    for number in (0, 1):
        nodes, memory = getattr(found, f"free_nodes_npu{number}"), getattr(found, f"free_memory_npu{number}")
        if nodes or memory:
            which = "Accelerator" if number == 0 else "Second accelerator"
            figures.append((which, f"{nodes:.3g} nodes, {size(memory)}", f"free_nodes_npu{number}"))
    told = []
    for title, value, name in figures:
        origin = found.origins.get(name)
        known = "not known" if origin == "absent" else f"{value} ({origin})" if origin else value
        told.append((title, known))
    return told


def processor(found: Processor) -> str:
    """What computes on a device."""
    clock = f" at {found.clock_mhz:,.0f} MHz" if found.clock_mhz else ""
    return f"{found.model or 'one without a name'}, {found.cores:.3g} cores{clock}"


def calibration(seconds: float, why: str) -> str:
    """Whether a device was calibrated for a search, and why again."""
    if not seconds:
        return "known from before"
    return f"took {duration(seconds)}" + (f"; the former one held no more, as {why}" if why else "")


def leader(found: Findings, device: DeviceStory) -> str:
    """What led a device's search."""
    result, row = device.result, device.record.row if device.record else None
    if result is None or result.by == "nobody":
        return ""
    if result.by == "tpe":
        return f"constrained TPE. {result.why}".rstrip()
    model = "the meta model"
    if found.meta:
        model = f"the meta model of run {found.meta.run}" if found.meta.run else "the meta model that comes with cloudedge"
    if row is None:
        return model
    caps = row.hyperparameters
    return f"{model}: at most {count(caps.layers, 'layer')}, {caps.filters} filters, kernels of {caps.kernel}; {caps.loss}"


def screening(device: DeviceStory) -> str:
    """What was never trained, and why."""
    record = device.record
    if record is None:
        return ""
    total, screened = len(record.predictions), len(device.screened)
    if not screened:
        said = f"None of the {total:,} networks was screened out."
    else:
        by = ", ".join(f"{device.by_limit[limit]:,} by {limit}" for limit in LIMITS if device.by_limit.get(limit))
        both = " (some by more than one)" if sum(device.by_limit.values()) > screened else ""
        which = f"All {total:,}" if screened == total else f"{screened:,} of {total:,}"
        said = f"{which} networks {'was' if screened == 1 else 'were'} screened out: {by}{both}."
    if record.row is None:
        return said
    caps = record.row.hyperparameters
    names = ("layers", "filters", "kernel")
    above = sum(any(getattr(each.candidate, name) > getattr(caps, name) for name in names) for each in device.untried)
    within = len(device.untried) - above
    if above:
        said += f" {above:,} would fit and {'is' if above == 1 else 'are'} larger than what the meta model named."
    if spared := len(device.spared):
        said += f" {spared:,} would fit, and {'costs' if spared == 1 else 'cost'} no less than one measured above a limit."
    if within:
        said += f" {within:,} would fit, and their turn did not come."
    return said
