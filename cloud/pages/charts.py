"""Drawn figures, as inline SVG in a page's style.

Matplotlib draws with placeholder colours, which become the page's CSS variables, so that one drawing serves light and dark.
It is imported where it is used: that takes seconds, which only a report should pay.
"""

import contextlib
import io
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "ink": "#00000a",
    "muted": "#00000b",
    "rule": "#00000c",
    "fused": "#00000d",
    "pretrained": "#00000e",
    "edge": "#00000f",
    "bad": "#000010",
}
"""Placeholder for each CSS variable of the page."""


@contextmanager
def figure_of(name: str, width: int, height: int) -> "Iterator[Figure]":
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


def axes_of(figure: "Figure") -> "Axes":
    """A figure's axes, in the page's style."""
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=COLOURS["muted"], labelcolor=COLOURS["muted"])
    axes.xaxis.label.set_color(COLOURS["muted"])
    axes.spines["bottom"].set_color(COLOURS["rule"])
    axes.patch.set_visible(False)
    figure.patch.set_visible(False)
    return axes


def svg_of(figure: "Figure", title: str) -> Markup:
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
    for variable, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    width = re.search(r'viewBox="0 0 ([\d.]+)', svg)
    limit = f"max-width: {float(width[1]):.0f}px" if width else ""
    opening = f'<svg class="chart" role="img" aria-label="{escape(title)}" style="{limit}" viewBox'
    return Markup(re.sub(r"<svg [^>]*?viewBox", lambda _: opening, svg, count=1))  # noqa: S704  # As matplotlib drew it.
