"""The drawn figures: accuracy over rounds, and accuracy by environment."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from cloud.pages.charts import COLOURS, axes_of, figure_of, svg_of
from cloud.pages.words import share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    with figure_of(name, width, height) as figure:
        axes = axes_of(figure)
        last = max(number for number, _ in (*rounds.fused, *rounds.edges))
        axes.set_ylim(*bounds)
        axes.set_xlim(-0.02 * last, last * (1.02 if wide else 1.03))
        if wide:
            axes.locator_params(axis="x", integer=True, nbins=12)
            axes.set_xlabel("round")
        else:
            axes.set_xticks([0, last])
        axes.locator_params(axis="y", nbins=5 if wide else 4)
        axes.grid(axis="y", color=COLOURS["rule"], linewidth=1)
        _draw_edges(axes, rounds.edges)
        labels = []
        if rounds.pretrained is not None:
            axes.axhline(rounds.pretrained, color=COLOURS["pretrained"], linewidth=1.5, linestyle=(0, (4, 3)))
            labels.append((rounds.pretrained, "pretrained", last))
        axes.plot(
            *zip(*rounds.fused, strict=True),
            color=COLOURS["fused"],
            linewidth=2.2,
            marker="o" if last <= 30 else "",
            markersize=4.5,
        )
        labels.append((rounds.fused[-1][1], "fused", rounds.fused[-1][0]))
        _label_ends(axes, labels, height, wide=wide)
        return svg_of(figure, f"Accuracy over {last} rounds")


def bars_chart(name: str, groups: Sequence[tuple[str, Sequence[Bar]]]) -> Markup:
    """Accuracy by environment, one group of horizontal bars for each.

    Args:
        name: What distinguishes this drawing from the page's others.
        groups: Environments from top to bottom, and their bars.
    """
    thick, gap = 15, 14
    rows = sum(len(bars) for _, bars in groups)
    with figure_of(name, 720, rows * thick + len(groups) * gap + 30) as figure:
        axes = axes_of(figure)
        axes.spines["bottom"].set_visible(False)
        axes.set_xlim(0, 1.18)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.grid(axis="x", color=COLOURS["rule"], linewidth=1)
        middles: list[float] = []
        y = 0.0
        for _, bars in groups:
            middles.append(y + (len(bars) - 1) * thick / 2)
            for bar in bars:
                axes.barh(y, bar.value, height=thick - 3, color=COLOURS[bar.kind])
                strong = bar.kind == "fused"
                text = f"{share(bar.value)}  {bar.note}".rstrip()
                colour = COLOURS["ink" if strong else "muted"]
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
        axes.set_yticks(middles, [_shortened(group) for group, _ in groups], color=COLOURS["ink"])
        return svg_of(figure, "Accuracy by environment")


def bounds_of(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an accuracy axis that holds all values, with room, on tenths."""
    low = max(0.0, int((min(values) - 0.02) * 10) / 10)
    high = min(1.0, -int(-(max(values) + 0.02) * 10 // 1) / 10)
    return (low, high + 0.02 if high == 1.0 else high)


def _draw_edges(axes: "Axes", edges: Sequence[tuple[int, float]]) -> None:
    if len(edges) <= MOST_DOTS:
        x, y = [number for number, _ in edges], [value for _, value in edges]
        axes.plot(x, y, linestyle="", marker="o", markersize=5, markeredgewidth=0, color=COLOURS["edge"], alpha=0.55)
        return
    numbers = sorted({number for number, _ in edges})
    by_round = {number: [value for other, value in edges if other == number] for number in numbers}
    low, high = [min(by_round[number]) for number in numbers], [max(by_round[number]) for number in numbers]
    axes.fill_between(numbers, low, high, color=COLOURS["edge"], alpha=0.25, linewidth=0)


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
            color=COLOURS["fused" if kind == "fused" else "muted"],
            weight="bold" if kind == "fused" else "normal",
        )


def _shortened(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"
