"""The drawn figure: what networks reach against how long they take, on one device."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from cloud.pages.charts import COLOURS, axes_of, figure_of, svg_of
from cloudedge.automl.screen import milliseconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FLOOR, _CEILING = 0.17, 0.2
"""Shares of the range of accuracies that are left free below it, for the ticks, and above it, for the label."""

_FAR = 2.0
"""A limit that is so many times beyond all networks is pointed at from the edge, and not drawn."""


_STEPS: tuple[tuple[float, tuple[float, ...]], ...] = (
    (60, (1, 2, 3, 4, 5, 7)),
    (1_000, (1, 2, 5)),
    (50_000, (1, 3)),
    (math.inf, (1,)),
)
"""What stands at an axis of latencies, of each decade, by the most times by which its end exceeds its beginning."""


class Dot(NamedTuple):
    """A network that was measured.

    Attributes:
        bound_ms: Its latency beside a busy neighbour, in milliseconds.
        accuracy: Its accuracy; none: it was refused before it was trained.
        kept: Whether it keeps all limits.
        label: What it is, where it was chosen.
    """

    bound_ms: float
    accuracy: float | None
    kept: bool
    label: str = ""


class Plane(NamedTuple):
    """The networks of one device.

    Attributes:
        limit_ms: The limit of the latency; none: there is none.
        measured: Networks that were measured.
        fitting: Predicted bounds of those that would fit and were not tried, in milliseconds.
        screened: The same of those that were screened out.
    """

    limit_ms: float | None
    measured: Sequence[Dot]
    fitting: Sequence[float]
    screened: Sequence[float]


def pareto_chart(name: str, plane: Plane, bounds: tuple[float, float], *, wide: bool) -> Markup:
    """Accuracy against latency: measured networks, the front of those that keep the limits, the limit, and all others as ticks.

    Args:
        name: What distinguishes this drawing from the page's others.
        plane: The networks.
        bounds: Lower and upper end of the accuracies, the same for all devices that are compared.
        wide: Whether it has a row to itself, and so room for words.
    """
    low, high = bounds
    room = high - low
    with figure_of(name, 720 if wide else 330, 330 if wide else 230) as figure:
        axes = axes_of(figure)
        axes.set_xscale("log")
        axes.set_xlim(*_across(plane))
        axes.set_ylim(low - _FLOOR * room, high + _CEILING * room)
        _scale(axes, bounds, wide=wide)
        _draw_ticks(axes, plane.screened, COLOURS["bad"])
        _draw_ticks(axes, plane.fitting, COLOURS["muted"])
        _draw_limit(axes, plane.limit_ms)
        _draw_measured(axes, plane.measured, low - _FLOOR * room / 3)
        if not any(dot.accuracy is not None for dot in plane.measured):
            axes.text(0.5, 0.55, "no network was trained", transform=axes.transAxes, ha="center", color=COLOURS["muted"])
        return svg_of(figure, "Accuracy against latency")


def ends_of(accuracies: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis that holds all accuracies, with some room, on twentieths."""
    low = max(0.0, math.floor((min(accuracies) - 0.01) * 20) / 20)
    return low, max(low + 0.05, min(1.0, math.ceil((max(accuracies) + 0.01) * 20) / 20))


def front(dots: Sequence[Dot]) -> list[tuple[float, float]]:
    """Those that keep the limits and of which none is both faster and as accurate, the fastest first."""
    found: list[tuple[float, float]] = []
    kept = [(dot.bound_ms, dot.accuracy) for dot in dots if dot.kept and dot.accuracy is not None]
    for bound, accuracy in sorted(kept, key=lambda one: (one[0], -one[1])):
        if not found or accuracy > found[-1][1]:
            found.append((bound, accuracy))
    return found


def _across(plane: Plane) -> tuple[float, float]:
    """Ends of the axis of latencies, in milliseconds."""
    values = [*(dot.bound_ms for dot in plane.measured), *plane.fitting, *plane.screened]
    values = [value for value in values if value > 0] or [1.0]
    low, high = min(values), max(values)
    if plane.limit_ms and low / _FAR <= plane.limit_ms <= high * _FAR:
        low, high = min(low, plane.limit_ms), max(high, plane.limit_ms)
    margin = max((high / low) ** 0.04, 1.05)
    return low / margin, high * margin


def _scale(axes: "Axes", bounds: tuple[float, float], *, wide: bool) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

    low, high = axes.get_xlim()
    fewest = next(subs for most, subs in _STEPS if high / low < (most if wide else most / 10))
    axes.xaxis.set_major_locator(LogLocator(subs=fewest, numticks=20))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    values = MaxNLocator(nbins=5 if wide else 4, steps=[1, 2, 5, 10]).tick_values(*bounds)
    axes.yaxis.set_major_locator(FixedLocator([value for value in values if bounds[0] <= round(value, 9) <= bounds[1]]))
    axes.grid(axis="y", color=COLOURS["rule"], linewidth=1)
    axes.set_xlabel("latency beside a busy neighbour, in ms" if wide else "ms")
    if wide:
        axes.set_ylabel("accuracy", color=COLOURS["muted"])


def _draw_ticks(axes: "Axes", bounds: Sequence[float], colour: str) -> None:
    """All of them as one path: two hundred marks would be two hundred elements."""
    gap = float("nan")
    x = [value for bound in bounds for value in (bound, bound, gap)]
    y = [value for _ in bounds for value in (0.005, 0.055, gap)]
    if x:
        axes.plot(x, y, transform=axes.get_xaxis_transform(), color=colour, linewidth=1, alpha=0.75, solid_capstyle="butt")


def _draw_limit(axes: "Axes", limit: float | None) -> None:
    if limit is None:
        return
    low, high = axes.get_xlim()
    words = f"limit {milliseconds(limit)}"
    inside, at = low <= limit <= high, min(max(limit, low), high)
    if inside:
        axes.axvline(limit, color=COLOURS["ink"], linewidth=1.3, linestyle=(0, (4, 3)))
    elif limit < low:
        words = f"← {words}"
    else:
        words = f"{words} →"
    right = at / low < (high / low) ** 0.68
    axes.annotate(
        words,
        (at, 0.16),
        xycoords=("data", "axes fraction"),
        xytext=(5 if right else -5, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        color=COLOURS["ink"],
    )


def _draw_measured(axes: "Axes", dots: Sequence[Dot], floor: float) -> None:
    line = front(dots)
    if len(line) > 1:
        axes.plot(*zip(*line, strict=True), drawstyle="steps-post", color=COLOURS["fused"], linewidth=1.6, alpha=0.55)
    refused = [(dot.bound_ms, floor if dot.accuracy is None else dot.accuracy) for dot in dots if not dot.kept]
    if refused:
        axes.plot(
            *zip(*refused, strict=True),
            linestyle="",
            marker="x",
            markersize=7,
            markeredgewidth=2,
            color=COLOURS["bad"],
            clip_on=False,
        )
    kept = [(dot.bound_ms, dot.accuracy) for dot in dots if dot.kept and dot.accuracy is not None]
    if kept:
        axes.plot(*zip(*kept, strict=True), linestyle="", marker="o", markersize=6.5, markeredgewidth=0, color=COLOURS["fused"])
    low, high = axes.get_xlim()
    for dot in dots:
        if not dot.label or dot.accuracy is None:
            continue
        place = (dot.bound_ms, dot.accuracy)
        axes.plot(
            *place,
            linestyle="",
            marker="o",
            markersize=13,
            markerfacecolor="none",
            markeredgewidth=1.6,
            markeredgecolor=COLOURS["ink"],
        )
        left = dot.bound_ms / low < (high / low) ** 0.2
        axes.annotate(
            dot.label,
            place,
            xytext=(0, 11),
            textcoords="offset points",
            ha="left" if left else "right",
            va="bottom",
            color=COLOURS["ink"],
            weight="bold",
            annotation_clip=False,
        )
