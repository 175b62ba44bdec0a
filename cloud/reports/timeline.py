"""Where the time went, and who did what: both from the operation log."""

import re
from itertools import pairwise
from typing import Any, NamedTuple

from markupsafe import Markup

from cloud.pages.markup import element, joined, table
from cloud.pages.words import duration
from cloudedge.documents import Event

_STEP = re.compile(r"[^/]*/([a-z-]*[a-z])(?:-(\d+))?")
"""Of who did something, where that is a step: who acts and the step's name; a round's has its number at the end."""

_ENDS = ("stopped", "failed", "cancelled", "finished")
"""Operations after which nobody works on the run until it is taken up again."""


class Span(NamedTuple):
    """One execution of a step, in seconds of work since the run's first operation."""

    step: str
    number: str
    """Its round, if it has one."""
    start: float
    seconds: float


def spans(log: tuple[Event, ...]) -> list[Span]:
    """Executions of steps, each from the operation before it to its own.

    The time after a run's end, until it was taken up again, is no work and leaves no gap.
    """
    found: list[Span] = []
    worked = 0.0
    for before, event in pairwise(log):
        match = _STEP.fullmatch(event.actor)
        if match is None or before.action in _ENDS:
            continue
        seconds = max((event.at - before.at).total_seconds(), 0.0)
        found.append(Span(match[1], match[2] or "", worked, seconds))
        worked += seconds
    return found


def timeline(log: tuple[Event, ...]) -> Markup:
    """A row for each kind of step with its executions along the run's time, and its seconds in all."""
    found = spans(log)
    total = sum(span.seconds for span in found) or 1.0
    rows = []
    for step in dict.fromkeys(span.step for span in found):
        own = [span for span in found if span.step == step]
        bars = (
            element(
                "i",
                title=f"{step}{' ' + span.number if span.number else ''}: {duration(span.seconds)}",
                style=f"left: {span.start / total:.2%}; width: {span.seconds / total:.2%}",
            )
            for span in own
        )
        seconds = duration(sum(span.seconds for span in own))
        rows.append(joined([element("b", step), element("div", *bars, class_="track"), element("span", seconds)]))
    whole = joined([element("b", "all"), element("div", class_="axis"), element("span", duration(total), class_="strong")])
    return element("div", *rows, whole, class_="timeline")


def event_table(log: tuple[Event, ...]) -> Markup:
    """Every operation: when, who, what, with which figures."""
    rows = ([f"{event.at:%Y-%m-%d %H:%M:%S}", event.actor, event.action, ", ".join(_details(event.details))] for event in log)
    return table(["When (UTC)", "Who", "What", "Details"], rows, "events")


def _details(details: dict[str, Any]) -> list[str]:
    return [f"{key} {_value(value)}" for key, value in details.items() if value not in (None, "", [])]


def _value(value: Any) -> str:
    if isinstance(value, list) and len(value) > 3:
        return f"{value[0]}, {value[1]}, ... ({len(value):,} in all)"
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    if isinstance(value, dict):
        return "; ".join(_details(value))
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value):
        return value[:12] + "…"
    return str(value)
