"""Figures as a person reads them."""

import re

MOST_EDGES = 30
"""Rows of a table of edges; the rest is counted."""

MOST_ENVIRONMENTS = 12
"""Environments drawn or tabled; the rest is counted."""


def share(value: float | None) -> str:
    """An accuracy or a weight."""
    return "" if value is None else f"{value:.3f}"


def figure(value: float) -> str:
    """Any figure: 0.912, 1,200, 3.4e+12."""
    if value.is_integer() and abs(value) < 1e12:
        return f"{int(value):,}"
    return f"{value:.3f}" if 1e-3 <= abs(value) < 1e6 else f"{value:.3g}"


def count(number: int, noun: str) -> str:
    """A number of things: '1 edge', '1,200 samples'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A time span."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
    days, hours = divmod(hours, 24)
    return f"{days:,} d {hours} h"


def size(length: int) -> str:
    """A length in bytes."""
    value, unit = float(length), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:,.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def natural(name: str) -> list[tuple[int, str]]:
    """Sorting key by which edge-2 stands before edge-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]
