"""The site engineer's tools for what this device has to give, and for what networks cost on it."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cloudedge.automl.predicting import CalibratedPredictor, why_stale
from cloudedge.automl.space import networks
from cloudedge.documents import parse
from cloudedge.documents.automl import Calibration, Candidate, DeviceDescription, TraceRow
from cloudedge.errors import InvalidInput
from cloudedge.files import atomic_write
from cloudedge.places import shown_path
from edge.calibration.calibrating import MOST_SECONDS
from edge.calibration.keeping import calibrated, kept
from edge.folders import Folders
from edge.ownership import give_to_owner
from edge.probes.description import description_of, enter_control_groups
from edge.probes.processor import processor
from edge.probes.state import state_of
from edge.searches.trace import Searches
from edge.tools.formats import format_in
from edge.tools.printing import AsJson, State, print_json, print_table

_SHOWN = (
    Candidate(layers=1, filters=4, kernel=1),
    Candidate(layers=3, filters=16, kernel=3),
    Candidate(layers=6, filters=64, kernel=7),
)
"""The smallest network, one of middle size, and the largest."""

_SECONDS = "How long it takes, if that is enough for the fewest networks by which anything can be told."

_MOST_SEARCHES = 20
"""In the table: the newest ones."""

_UNITS = {
    "free_nodes_cpu": "cores",
    "free_nodes_npu0": "cores",
    "free_nodes_npu1": "cores",
    "free_memory_cpu": "bytes",
    "free_memory_npu0": "bytes",
    "free_memory_npu1": "bytes",
    "average_power": "W",
}
_QUEUE_UNITS = {"waiting": "tasks", "backlog": "s"}


def device(
    state: State,
    describe: Annotated[
        Path | None, typer.Option("--describe", metavar="FILE", help="Keep this description of what cannot be measured.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what this device has to give now, where each figure comes from, what waits for it, and its calibrations."""
    folders = Folders(state)
    description = description_of(folders) if describe is None else _described(describe)
    enter_control_groups(description)
    if describe is not None and description is not None:
        atomic_write(folders.description, description.to_json())
        give_to_owner(folders.description)
    computes = processor()
    found = state_of(folders, description)
    source = found.resources
    calibrations, searches = kept(folders), Searches(folders.searches).rows()
    if as_json:
        print_json(
            {
                "processor": computes.model_dump(mode="json"),
                "state": found.model_dump(mode="json"),
                "calibrations": [_told(each) | {"stale": why_stale(each, computes, each.threads)} for each in calibrations],
                "searches": [_searched(row) for row in searches],
            }
        )
        return
    if describe is not None:
        print(f"kept as {shown_path(folders.description)}")
    print(f"processor: {computes.model or 'without a name'}, {computes.cores:g} cores, {_clock(computes.clock_mhz)}")
    rows: list[list[Any]] = [
        [name, _amount(getattr(source, name)), unit, source.origins.get(name)] for name, unit in _UNITS.items()
    ]
    print_table("source", ["WHAT", "NOW", "UNIT", "WHERE FROM"], rows)
    if found.usual is None:
        print("usually: not known, as no runner has looked yet with this description and these limits")
    else:
        since, until = (moment.isoformat(timespec="seconds") for moment in (found.usual.since, found.usual.until))
        rows = []
        for name, spread in found.usual.figures.items():
            unit = _UNITS.get(name) or _QUEUE_UNITS.get(name)
            whole = unit in ("bytes", "tasks")
            amounts = [_amount(int(value) if whole else value) for value in (spread.low, spread.median, spread.high)]
            rows.append([name, *amounts, unit, spread.looks])
        print_table(f"usually (from {since} to {until})", ["WHAT", "5%", "MEDIAN", "95%", "UNIT", "LOOKS"], rows)
    header = ["RUNTIME S", "ON NPU S", "ENERGY J", "ON NPU J", "CORES", "NPU CORES", "LIMIT S"]
    print_table("job", header, [list(job.model_dump().values()) for job in found.jobs])
    rows = [
        [_form(each), len(each.measurements), each.at.isoformat(timespec="seconds"), why_stale(each, computes, each.threads)]
        for each in calibrations
    ]
    print_table("calibrations", ["SAMPLES", "MEASURED", "AT", "HOLDS NO MORE, AS"], rows)
    header = ["ORDER", "AT", "LED BY", "TRAINED", "ACCURACY", "AT MOST MS", "LIMIT MS"]
    print_table("searches", header, [list(_searched(row).values()) for row in searches[-_MOST_SEARCHES:]])


def calibrate(
    state: State,
    form: Annotated[Path, typer.Option("--format", metavar="FILE", help="A data format, or a task file that has one.")],
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads that an inference computes with.")] = 1,
    seconds: Annotated[float, typer.Option(min=1, max=MOST_SECONDS, help=_SECONDS)] = MOST_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Measure what networks cost on this device, for samples of one form; searches do so themselves where it is missing."""
    data, folders = format_in(form), Folders(state)
    enter_control_groups(description_of(folders))
    found = calibrated(folders, data, threads=threads, anew=True, seconds=seconds, say=_progress).calibration
    predictor = CalibratedPredictor(found)
    costs = [(each, predictor.costs(each, data)) for each in _SHOWN if each in networks().everything]
    if as_json:
        shown = [{"candidate": each.model_dump(), "costs": cost.model_dump(mode="json")} for each, cost in costs]
        print_json(_told(found) | {"expected": shown})
        return
    print(f"{len(found.measurements)} networks measured in {found.seconds:.0f} s, for {_form(found)}")
    rows = [
        [
            each.layers,
            each.filters,
            each.kernel,
            cost.latency_ms,
            cost.latency_bound_ms,
            cost.memory_bytes,
            None if cost.energy_joules is None else f"{cost.energy_joules:.3g}",
        ]
        for each, cost in costs
    ]
    print_table("expected", ["LAYERS", "FILTERS", "KERNEL", "MS", "AT MOST MS", "MEMORY BYTES", "ENERGY J"], rows)
    if found.watts is None:
        print("Energy is not known: the power meter cannot be read. Describe the device (device --describe) to estimate it.")


def _searched(row: TraceRow) -> dict[str, Any]:
    """A search that is over, or under way, in brief."""
    best = None if row.best is None else row.trials[row.best]
    return {
        "order": row.id,
        "at": row.state.at.isoformat(timespec="seconds"),
        "by": row.by,
        "trained": sum(trial.accuracy is not None for trial in row.trials),
        "accuracy": best and best.accuracy,
        "latency_bound_ms": best and best.measured and best.measured.latency_bound_ms,
        "limit_ms": row.limits.latency_ms,
    }


def _progress(phase: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{phase}: {done} of {total}")
        if done == total:
            sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _described(path: Path) -> DeviceDescription:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"Cannot read {shown_path(path)}: {error.strerror}. Give a device description.") from None
    return parse(DeviceDescription, content, shown_path(path))


def _told(calibration: Calibration) -> dict[str, Any]:
    """A calibration for programs, without what only the regression needs."""
    return calibration.model_dump(mode="json", exclude={"measurements", "latency", "memory", "schema_version"}) | {
        "measured": len(calibration.measurements)
    }


def _form(calibration: Calibration) -> str:
    shape = " x ".join(map(str, calibration.shape))
    return f"{shape} {calibration.dtype}, {calibration.classes} classes, {calibration.threads} threads"


def _clock(clock_mhz: float | None) -> str:
    return "clock not told" if clock_mhz is None else f"{clock_mhz:.0f} MHz"


def _amount(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
