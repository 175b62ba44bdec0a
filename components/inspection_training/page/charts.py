"""The drawn figures: scores of the test set about the threshold, and training, batch by batch."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from cloud.pages.charts import COLOURS, axes_of, figure_of, svg_of

_BINS = 40
_KINDS = ("fused", "bad", "edge", "pretrained")
"""Colours of labels: parts that are in order first."""

_MOST_POINTS = 2000


def scores_chart(scores: Mapping[str, Sequence[float]], threshold: float | None) -> Markup:
    """How the scores of each label lie about the threshold.

    Args:
        scores: Scores by label, the label of parts that are in order first.
        threshold: Above it a part is rejected.
    """
    import numpy as np

    everything = np.concatenate([np.asarray(values, dtype=float) for values in scores.values()])
    low, high = float(everything.min()), float(everything.max())
    edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
    with figure_of("scores", 720, 230) as figure:
        axes = axes_of(figure)
        axes.set_xlabel("score")
        axes.set_ylabel("images", color=COLOURS["muted"])
        axes.locator_params(axis="y", integer=True, nbins=4)
        axes.grid(axis="y", color=COLOURS["rule"], linewidth=1)
        values = [np.asarray(each, dtype=float) for each in scores.values()]
        colours = [COLOURS[_KINDS[min(index, len(_KINDS) - 1)]] for index in range(len(values))]
        axes.hist(values, bins=edges.tolist(), stacked=True, color=colours, alpha=0.85)
        if threshold is not None:
            axes.axvline(threshold, color=COLOURS["ink"], linewidth=1.5, linestyle=(0, (4, 3)))
            axes.annotate(
                "threshold",
                (threshold, 1),
                xycoords=("data", "axes fraction"),
                xytext=(4, -4),
                textcoords="offset points",
                va="top",
                color=COLOURS["ink"],
            )
        return svg_of(figure, "Scores of the test set by label")


def training_chart(name: str, points: Sequence[tuple[int, float]], title: str) -> Markup:
    """A figure of training, batch by batch.

    Args:
        name: What distinguishes this drawing from the page's others.
        points: Batches and values.
        title: What is drawn.
    """
    step = max(1, len(points) // _MOST_POINTS)
    with figure_of(name, 330, 200) as figure:
        axes = axes_of(figure)
        axes.grid(axis="y", color=COLOURS["rule"], linewidth=1)
        axes.locator_params(axis="x", integer=True, nbins=5)
        axes.locator_params(axis="y", nbins=4)
        axes.plot(*zip(*points[::step], strict=True), color=COLOURS["fused"], linewidth=1.8)
        return svg_of(figure, title)
