"""What the report of searches on devices tells and draws, as far as the run has come."""

from collections.abc import Sequence

from markupsafe import Markup

from cloud.pages.markup import element, joined, number, table
from cloud.pages.words import MOST_EDGES, count, duration
from cloud.reports.report import Report, ReportedModel, Story, remark, section
from cloud.runs.run import Run
from cloudedge.automl.screen import candidate_in_words, in_words
from cloudedge.documents.automl import QueuedJob
from components.edge_automl.page import tables, words
from components.edge_automl.page.charts import Dot, Plane, ends_of, front, pareto_chart
from components.edge_automl.page.findings import DeviceStory, Findings, gather, reasons

_MOST_PICTURES = 12
"""Devices drawn; the others have the less accurate models, and are in the table."""

_MOST_JOBS = 50
"""Rows of a table of a queue."""


def report_of(run: Run) -> Report:
    """A run, as far as it has come."""
    found = gather(run)
    shown = _shown(found, MOST_EDGES)
    about = tables.devices(shown)
    sections = (
        _pictures(found),
        _devices(found, about),
        _elsewhere(found),
        *(_device(found, device) for device in shown if device.result),
    )
    story = Story.of(run)
    return Report(
        story,
        headline=_headline(found),
        sentences=_sentences(found, story),
        facts=_facts(found),
        sections=[one for one in sections if one],
        tables=[about.markdown()] if shown else [],
        models=[
            ReportedModel(f"{device.name} (ONNX)", device.model.sha256, device.size) for device in found.devices if device.model
        ],
    )


def _headline(found: Findings) -> str:
    winner, devices = found.winner, count(len(found.devices), "device")
    if winner and winner.model:
        reaches = f"best model reaches {winner.model.accuracy or 0.0:.1%} accuracy within its limits on {winner.name}"
        if found.waited:
            return f"The {reaches}."
        done = sum(device.result is not None for device in found.devices)
        return f"So far the {reaches}; {done} of {devices} {'is' if done == 1 else 'are'} done."
    if not found.devices:
        asked = count(len(found.task.edges), "device") if found.task.edges else "all enrolled edges"
        return f"A search for a model on {asked}."
    barren = [device for device in found.devices if device.result and device.result.nothing]
    if len(barren) == len(found.devices):
        who = "No device can bear" if len(barren) > 1 else f"{barren[0].name} cannot bear"
        return f"{who} any network: nothing was trained."
    if not found.waited:
        return f"{devices} {'searches' if len(found.devices) == 1 else 'search'} for a model."
    if any(device.result for device in found.devices):
        return "No model was found that keeps its device's limits."
    return "No device has delivered what can be read."


def _sentences(found: Findings, story: Story) -> list[str]:
    devices = len(found.devices)
    models = sum(device.model is not None for device in found.devices)
    said = []
    if devices > 1 and (models or found.waited):
        said.append(f"{models} of {count(devices, 'device')} {'has' if models == 1 else 'have'} a model.")
    if found.winner and found.winner.model and found.winner.model.candidate:
        said.append(f"The best one has {candidate_in_words(found.winner.model.candidate)}.")
    barren = [device.name for device in found.devices if device.result and device.result.nothing]
    if barren and len(barren) < devices:
        said.append(f"{_names(barren)} cannot bear any network; what would have to change is below.")
    absent = [device.name for device in found.devices if not device.result and found.waited]
    if absent:
        said.append(f"{_names(absent)} did not deliver.")
    if found.registered:
        said.append(f"Registered as {found.registered.registered_model}, version {found.registered.version}.")
    elif any(event.action == "registered" for event in story.events):  # MLflow is told of it, and has not answered yet.
        said.append(f"Registered as {found.task.registered_model}.")
    return said


def _facts(found: Findings) -> list[tuple[str, str]]:
    task = found.task
    asked = words.limits(task.allowed.limits)
    facts = [
        ("Devices", f"{len(found.devices) or len(task.edges):,}" if found.devices or task.edges else "all enrolled"),
        ("Asked for", ", ".join(f"{limit} of {most} at most" for limit, most in asked.items()) or "what the devices leave"),
        ("Trainings on a device", f"at most {task.trials:,}"),
    ]
    results = [device.result for device in found.devices if device.result]
    if results:
        trained, kept_away = sum(result.trained for result in results), sum(result.screened_out for result in results)
        facts += [("Trained", f"{trained:,}"), ("Screened out", f"{kept_away:,}")]
    if found.meta:
        facts.append(("Meta model", f"of run {found.meta.run}" if found.meta.run else "the one that comes with cloudedge"))
    return facts


def _pictures(found: Findings) -> Markup:
    shown = [device for device in _shown(found, _MOST_PICTURES) if device.record]
    if not shown:
        return Markup()
    values = [trial.accuracy for device in shown for trial, *_ in device.tried() if trial.accuracy is not None]
    bounds, wide = ends_of(values or [0.0, 1.0]), len(shown) == 1
    planes = [plane_of(device) for device in shown]
    dots = [dot for plane in planes for dot in plane.measured]
    kept, refused = any(dot.kept for dot in dots), not all(dot.kept for dot in dots)
    kinds = (
        ("fused", "measured, keeps the limits", kept),
        ("bad", "refused, or screened out", refused or any(plane.screened for plane in planes)),
        ("muted", "would fit, not tried", any(plane.fitting for plane in planes)),
    )
    legend = [element("span", element("i", class_=kind), name) for kind, name, there in kinds if there]
    figures = [
        element("figure", element("figcaption", device.name), pareto_chart(f"pareto-{place}", plane, bounds, wide=wide))
        for place, (device, plane) in enumerate(zip(shown, planes, strict=True))
    ]
    hidden = len([device for device in found.devices if device.record]) - len(shown)
    return section(
        "Accuracy against latency",
        element("p", *legend, class_="legend"),
        element("div", *figures, class_="wide" if wide else "panels"),
        remark(
            "A dot is a network that was trained, where it was measured; the one in a ring was chosen (layers/filters/kernel)."
            if kept
            else "",
            "A cross was measured above a limit and refused; at the bottom edge, before it was trained." if refused else "",
            "The line is the Pareto front: of the networks on it none is both faster and more accurate than another."
            if any(len(front(plane.measured)) > 1 for plane in planes)
            else "",
            "The ticks at the bottom edge are networks that were never trained, where they are predicted: they take no longer "
            "than that beside a busy neighbour, which is what the limit is about.",
            f"{count(hidden, 'device')} with less accurate models {'is' if hidden == 1 else 'are'} not drawn."
            if hidden
            else "",
        ),
    )


def plane_of(device: DeviceStory) -> Plane:
    """What is drawn of a device, whose search can be read."""
    dots = []
    for trial, _, kept, chosen in device.tried():
        if trial.measured is None:
            continue
        label = words.in_short(trial.candidate) if chosen else ""
        dots.append(Dot(trial.measured.latency_bound_ms, trial.accuracy, kept, label))
    limits = device.result.limits if device.result else None
    return Plane(
        limits.latency_ms if limits else None,
        dots,
        [each.predicted.latency_bound_ms for each in device.untried],
        [each.predicted.latency_bound_ms for each in (*device.screened, *device.spared)],
    )


def _devices(found: Findings, about: tables.Table) -> Markup:
    if not found.devices:
        return Markup()
    hidden = len(found.devices) - len(about.rows)
    return section(
        "What it costs on which device",
        about.markup("costs"),
        remark(
            "Each device's own model, as it was measured there. Beside a neighbour: 95% of the inferences take no longer while "
            "another process keeps the processor busy.",
            _not_shown(hidden),
        ),
    )


def _elsewhere(found: Findings) -> Markup:
    there, hidden = tables.elsewhere(found, found.best, MOST_EDGES)
    if len(there.rows) < 2:
        return Markup()
    return section(
        "The best model on each device",
        there.markup(),
        remark(
            "Predicted from what was measured on each device when it was calibrated. It learned from one device's samples.",
            _not_shown(hidden),
        ),
    )


def _device(found: Findings, device: DeviceStory) -> Markup:
    result = device.result
    if result is None:
        return Markup()
    parts: list[Markup] = [_about(found, device)]
    if device.refusal:
        parts.append(element("p", element("b", "Its model is not taken. "), device.refusal, class_="alert"))
    if device.fault:
        parts.append(element("p", device.fault, class_="alert"))
    if result.nothing:
        parts += [
            element("p", result.words or in_words(result.nothing), class_="alert"),
            element("h3", "What would have to change"),
            tables.remedies(result.nothing).markup(),
        ]
    tried = tables.trials(device)
    if tried.rows:
        parts += [
            element("h3", "What was trained"),
            tried.markup("tried"),
            remark("Below each cost, in grey, what was predicted of it."),
        ]
    held = tables.held(device, reasons(found.task, device))
    if held.rows:
        parts += [element("h3", "Limits, and what they kept away"), held.markup(), remark(words.screening(device))]
    if device.record and device.record.state.jobs:
        parts.append(_queue(device.record.state.jobs))
    return section(device.name, *parts)


def _about(found: Findings, device: DeviceStory) -> Markup:
    result, facts = device.result, []
    if device.record:
        state = device.record.state
        facts += [("Queue", words.queue(state.jobs)), *words.resources(state.resources)]
        facts += [("Usually", said)] if state.usual and (said := words.usual(state.usual)) else []
    if result:
        facts += [("Processor", words.processor(result.processor))] if result.processor else []
        facts.append(("Calibration", words.calibration(result.calibration_seconds, result.calibration_why)))
        facts += [("Samples", f"{result.samples:,}")] if result.samples else []
        facts += [("Led by", leader)] if (leader := words.leader(found, device)) else []
    return element("dl", *(element("div", element("dt", name), element("dd", value)) for name, value in facts))


def _queue(jobs: Sequence[QueuedJob]) -> Markup:
    head = ["Place", *(element("th", title, class_="number") for title in ("Runtime", "Energy", "Cores", "Due in"))]
    rows = []
    for place, job in enumerate(jobs[:_MOST_JOBS], start=1):
        pairs = [
            (duration(job.runtime_cpu), None if job.runtime_npu is None else duration(job.runtime_npu)),
            (words.energy(job.energy_cpu), None if job.energy_npu is None else words.energy(job.energy_npu)),
            (f"{job.nodes_cpu:.3g}", None if job.nodes_npu is None else f"{job.nodes_npu:.3g}"),
        ]
        told = [cpu if npu is None else f"{cpu}; {npu} on an accelerator" for cpu, npu in pairs]
        rows.append([f"{place:,}", *map(number, told), number(duration(job.latency_limit))])
    more = len(jobs) - len(rows)
    return element(
        "details",
        element("summary", f"The queue as the search began: {count(len(jobs), 'task')}"),
        joined([table(head, rows), remark(f"And {count(more, 'task')} more." if more else "")]),
    )


def _shown(found: Findings, most: int) -> list[DeviceStory]:
    """The devices that there is room for: those with the most accurate models, in the order of their names."""
    if len(found.devices) <= most:
        return list(found.devices)
    accuracy = {device.name: device.model.accuracy or 0.0 for device in found.devices if device.model}
    chosen = {device.name for device in sorted(found.devices, key=lambda device: -accuracy.get(device.name, -1.0))[:most]}
    return [device for device in found.devices if device.name in chosen]


def _not_shown(devices: int) -> str:
    return f"{count(devices, 'device')} more {'is' if devices == 1 else 'are'} not shown." if devices else ""


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
