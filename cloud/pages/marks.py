"""Tiny drawings that stand in a table's cell, written directly: hundreds of them would be slow as figures."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from cloud.pages.markup import element
from cloud.pages.words import share

_WIDTH, _HEIGHT = 110, 24
_MOST_BARS = 55
"""With more classes a bar would be thinner than two pixels."""


def sparkline(rounds: int, before: Sequence[tuple[int, float]], after: Sequence[tuple[int, float]]) -> Markup:
    """An edge's accuracy over the rounds: dotted the model that it got, drawn the model that it trained.

    Args:
        rounds: Number of rounds, the width of the drawing.
        before: Rounds and accuracies of the received models.
        after: Rounds and accuracies of the trained models.
    """
    values = [value for _, value in (*before, *after)]
    low, high = min(values), max(values)

    def points(series: Sequence[tuple[int, float]]) -> str:
        return " ".join(f"{_along(number, rounds):.1f},{_up(value, low, high):.1f}" for number, value in series)

    number, value = after[-1]
    last = element("circle", cx=f"{_along(number, rounds):.1f}", cy=f"{_up(value, low, high):.1f}", r="2.5", class_="dot")
    told = ", ".join(f"{number}: {share(value)}" for number, value in after)
    return _drawing(
        f"after training in round {told}",
        element("polyline", points=points(before), class_="before"),
        element("polyline", points=points(after), class_="after"),
        last,
    )


def histogram(samples: Mapping[str, int], classes: Sequence[str]) -> Markup:
    """Samples of each class as bars; where there are too many classes, how many of them occur."""
    present = sum(samples.get(name, 0) > 0 for name in classes)
    if len(classes) > _MOST_BARS:
        return element("span", f"{present:,} of {len(classes):,} classes")
    most = max((samples.get(name, 0) for name in classes), default=0) or 1
    step = _WIDTH / len(classes)
    heights = [samples.get(name, 0) / most * (_HEIGHT - 2) for name in classes]
    path = "".join(
        f"M{index * step:.1f} {_HEIGHT}v-{height:.1f}h{step * 0.78:.1f}v{height:.1f}z"
        for index, height in enumerate(heights)
        if height
    )
    told = ", ".join(f"{name}: {samples.get(name, 0):,}" for name in classes)
    floor = element("path", d=f"M0 {_HEIGHT - 0.5}h{_WIDTH}", class_="floor")
    return _drawing(told, floor, element("path", d=path, class_="bars"))


def _drawing(title: str, *shapes: Markup) -> Markup:
    box = f"0 0 {_WIDTH} {_HEIGHT}"
    return element(
        "svg", element("title", title), *shapes, class_="mark", viewBox=box, width=_WIDTH, height=_HEIGHT, role="img"
    )


def _along(number: int, rounds: int) -> float:
    return 3 + (number - 1) / max(rounds - 1, 1) * (_WIDTH - 6)


def _up(value: float, low: float, high: float) -> float:
    return _HEIGHT / 2 if high == low else 3 + (high - value) / (high - low) * (_HEIGHT - 6)
