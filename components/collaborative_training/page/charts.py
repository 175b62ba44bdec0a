"""The drawn figures: accuracy over rounds, and accuracy by environment.

Matplotlib draws with placeholder colours, which become the page's CSS variables, so that one drawing serves light and dark.
It is imported where it is used: that takes seconds, which only the report should pay.
"""

import contextlib
import io
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup, escape

from cloud.pages.words import share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {
    "ink": "#00000a",
    "muted": "#00000b",
    "rule": "#00000c",
    "fused": "#00000d",
    "pretrained": "#00000e",
    "edge": "#00000f",
}
"""CSS variable for each placeholder."""

MOST_DOTS = 1500
"""Beyond this many edge models a band from the lowest to the highest says more, in fewer bytes."""


class Rounds(NamedTuple):
    """Accuracies on one set of samples, round by round."""

    fused: Sequence[tuple[int, float]]
    pretrained: float | None
    edges: Sequence[tuple[int, float]]


class Bar(NamedTuple):
    """One bar and what is written at its end."""

    kind: str
    """Its colour: pretrained, edge or fused."""
    value: float
    note: str = ""


def rounds_chart(name: str, rounds: Rounds, bounds: tuple[float, float], *, wide: bool) -> Markup:
    """Accuracy over rounds: the fused models as a line, the pretrained one as a reference, edge models as dots.

    Args:
        name: What distinguishes this drawing from the page's others.
        rounds: The figures.
        bounds: Lower and upper end of the accuracy axis, the same for all panels that are compared.
        wide: Whether it has a row to itself, and so room for labels in words.
    """
    width, height = (720, 270) if wide else (330, 200)
    with _figure(name, width, height) as figure:
        axes = _axes(figure)
        last = max(number for number, _ in (*rounds.fused, *rounds.edges))
        axes.set_ylim(*bounds)
        axes.set_xlim(-0.02 * last, last * (1.02 if wide else 1.03))
        if wide:
            axes.locator_params(axis="x", integer=True, nbins=12)
            axes.set_xlabel("round")
        else:
            axes.set_xticks([0, last])
        axes.locator_params(axis="y", nbins=5 if wide else 4)
        axes.grid(axis="y", color=_COLOURS["rule"], linewidth=1)
        _draw_edges(axes, rounds.edges)
        labels = []
        if rounds.pretrained is not None:
            axes.axhline(rounds.pretrained, color=_COLOURS["pretrained"], linewidth=1.5, linestyle=(0, (4, 3)))
            labels.append((rounds.pretrained, "pretrained", last))
        axes.plot(
            *zip(*rounds.fused, strict=True),
            color=_COLOURS["fused"],
            linewidth=2.2,
            marker="o" if last <= 30 else "",
            markersize=4.5,
        )
        labels.append((rounds.fused[-1][1], "fused", rounds.fused[-1][0]))
        _label_ends(axes, labels, height, wide=wide)
        return _svg(figure, f"Accuracy over {last} rounds")


def bars_chart(name: str, groups: Sequence[tuple[str, Sequence[Bar]]]) -> Markup:
    """Accuracy by environment, one group of horizontal bars for each.

    Args:
        name: What distinguishes this drawing from the page's others.
        groups: Environments from top to bottom, and their bars.
    """
    thick, gap = 15, 14
    rows = sum(len(bars) for _, bars in groups)
    with _figure(name, 720, rows * thick + len(groups) * gap + 30) as figure:
        axes = _axes(figure)
        axes.spines["bottom"].set_visible(False)
        axes.set_xlim(0, 1.18)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.grid(axis="x", color=_COLOURS["rule"], linewidth=1)
        middles: list[float] = []
        y = 0.0
        for _, bars in groups:
            middles.append(y + (len(bars) - 1) * thick / 2)
            for bar in bars:
                axes.barh(y, bar.value, height=thick - 3, color=_COLOURS[bar.kind])
                strong = bar.kind == "fused"
                text = f"{share(bar.value)}  {bar.note}".rstrip()
                colour = _COLOURS["ink" if strong else "muted"]
                axes.text(
                    bar.value + 0.01,
                    y,
                    text,
                    va="center_baseline",
                    fontsize=11,
                    color=colour,
                    weight="bold" if strong else "normal",
                )
                y += thick
            y += gap
        axes.set_ylim(y - gap + thick * 0.7, -thick * 0.8)
        axes.set_yticks(middles, [_shortened(group) for group, _ in groups], color=_COLOURS["ink"])
        return _svg(figure, "Accuracy by environment")


def bounds_of(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an accuracy axis that holds all values, with room, on tenths."""
    low = max(0.0, int((min(values) - 0.02) * 10) / 10)
    high = min(1.0, -int(-(max(values) + 0.02) * 10 // 1) / 10)
    return (low, high + 0.02 if high == 1.0 else high)


def _draw_edges(axes: "Axes", edges: Sequence[tuple[int, float]]) -> None:
    if len(edges) <= MOST_DOTS:
        x, y = [number for number, _ in edges], [value for _, value in edges]
        axes.plot(x, y, linestyle="", marker="o", markersize=5, markeredgewidth=0, color=_COLOURS["edge"], alpha=0.55)
        return
    numbers = sorted({number for number, _ in edges})
    by_round = {number: [value for other, value in edges if other == number] for number in numbers}
    low, high = [min(by_round[number]) for number in numbers], [max(by_round[number]) for number in numbers]
    axes.fill_between(numbers, low, high, color=_COLOURS["edge"], alpha=0.25, linewidth=0)


def _label_ends(axes: "Axes", labels: list[tuple[float, str, int]], height: int, *, wide: bool) -> None:
    """Write at each line's right end (its value, kind and round) what it is, the texts apart from each other."""
    low, high = axes.get_ylim()
    apart = (high - low) * 19 / (height - 45)
    placed: list[float] = []
    for value, kind, number in sorted(labels):
        y = max(value, placed[-1] + apart) if placed else value
        placed.append(y)
        axes.annotate(
            f"{kind} {share(value)}" if wide else share(value),
            (number, y),
            xytext=(16 if wide else 12, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
            color=_COLOURS["fused" if kind == "fused" else "muted"],
            weight="bold" if kind == "fused" else "normal",
        )


@contextmanager
def _figure(name: str, width: int, height: int) -> "Iterator[Figure]":
    """A figure of so many CSS pixels, in the page's style."""
    os.environ["MATPLOTLIBRC"] = os.devnull  # Nor may a broken one, here or in the current folder, end the report.
    with contextlib.chdir(Path(__file__).parent):
        import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Its font need not have all scripts: it only measures texts here, and the reader's browser draws them.
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font", UserWarning)
        matplotlib.rcdefaults()  # A person's own style must not change the page.
        matplotlib.rc("font", family="sans-serif", size=12)
        matplotlib.rc("svg", fonttype="none", hashsalt=name)
        matplotlib.rc("text", parse_math=False)  # A '$' in an environment's name is a '$'.
        matplotlib.rc("axes.spines", left=False, right=False, top=False)
        # One SVG unit is 1/72 inch and shown as one CSS pixel.
        yield Figure(figsize=(width / 72, height / 72), layout="constrained")


def _axes(figure: "Figure") -> "Axes":
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=_COLOURS["muted"], labelcolor=_COLOURS["muted"])
    axes.xaxis.label.set_color(_COLOURS["muted"])
    axes.spines["bottom"].set_color(_COLOURS["rule"])
    axes.patch.set_visible(False)
    figure.patch.set_visible(False)
    return axes


def _svg(figure: "Figure", title: str) -> Markup:
    """The figure as inline SVG: placeholders resolved, the page's font, nothing that would clash with another drawing."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    referenced = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r'(<\w+) id="([^"]*)"', lambda found: found[0 if found[2] in referenced else 1], svg)
    svg = re.sub(r"font-family: [^;]*; ", "", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    for variable, colour in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    width = re.search(r'viewBox="0 0 ([\d.]+)', svg)
    limit = f"max-width: {float(width[1]):.0f}px" if width else ""
    opening = f'<svg class="chart" role="img" aria-label="{escape(title)}" style="{limit}" viewBox'
    return Markup(re.sub(r"<svg [^>]*?viewBox", lambda _: opening, svg, count=1))  # noqa: S704  # As matplotlib drew it.


def _shortened(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"
