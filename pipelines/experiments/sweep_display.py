"""How a sweep's runs stand, in a table that is redrawn: on a terminal, or in a notebook's cell."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cloud.pages.words import duration
from cloud.runs.run import step_title
from cloudedge.errors import CloudedgeError
from cloudedge.texts import shortened
from pipelines.display.console import console
from pipelines.display.live import REDRAW_SECONDS
from pipelines.experiments.cell import cell, in_a_notebook
from pipelines.experiments.sweep import Entry
from pipelines.experiments.trials import SEED, short, value_in_words

_MOST_ROWS = 20
_MOST_SAID = 300
"""Characters of an error in a line; all of it is told at the end."""


@contextmanager
def sweep_display(figure: str, *, shown: bool) -> Iterator[Callable[[Sequence[Entry], int], None]]:
    """Shows how the runs that are known stand, of so many in all; where nothing can be redrawn, a line for each that ends.

    Args:
        figure: What is measured of each.
        shown: Whether to show anything.
    """
    if not shown:
        yield lambda _, __: None
        return
    began, drawn = time.monotonic(), 0.0
    out = console(stderr=True)
    told: set[int] = set()

    def is_time(entries: Sequence[Entry]) -> bool:
        nonlocal drawn
        if time.monotonic() - drawn < REDRAW_SECONDS and not all(entry.is_over for entry in entries):
            return False
        drawn = time.monotonic()
        return True

    if in_a_notebook():
        update = cell()
        yield (
            lambda entries, total: (
                update([picture(entries, total, time.monotonic() - began, figure)]) if is_time(entries) else None
            )
        )
        return
    live = Live(console=out, refresh_per_second=4, transient=True) if out.is_terminal else None

    def show(entries: Sequence[Entry], total: int) -> None:
        for number, entry in enumerate(entries, 1):
            if entry.is_over and number not in told:
                told.add(number)
                out.print(Text(f"{number} of {total}: {entry.trial.in_words}: {_standing(entry, figure)}"), soft_wrap=True)
        if live and is_time(entries):
            live.update(picture(entries, total, time.monotonic() - began, figure))

    with live or contextlib.nullcontext():
        yield show


def picture(entries: Sequence[Entry], total: int, seconds: float, figure: str) -> Group:
    """How many runs are done, and how those stand that have begun.

    Args:
        entries: The trials that are known.
        total: How many there are.
        seconds: Since the first began.
        figure: What is measured of each.
    """
    return Group(Text(_in_short(entries, total, seconds)), _table(entries, figure))


def _in_short(entries: Sequence[Entry], total: int, seconds: float) -> str:
    done = [entry for entry in entries if entry.state == "done"]
    failed = sum(entry.state == "failed" for entry in entries)
    best = max((entry for entry in done if entry.value is not None), key=lambda entry: entry.value or 0.0, default=None)
    parts = [f"{len(done)} of {total} runs done", f"{failed} failed" if failed else "", duration(seconds)]
    if best is not None:
        parts.append(f"best so far {best.value:.3f} with {best.trial.in_words}")
    return ", ".join(part for part in parts if part)


def _table(entries: Sequence[Entry], figure: str) -> Table:
    begun = [(number, entry) for number, entry in enumerate(entries, 1) if entry.state != "waiting"]
    shown = begun[-_MOST_ROWS:]
    table = Table(box=None, pad_edge=False, header_style="dim")
    fields = [field for field in entries[0].trial.values if field != SEED] if entries else []
    for title in ("run", *short(fields), "seed", "state", figure, "took"):
        table.add_column(title)
    if len(begun) > len(shown):
        table.add_row(f"{len(begun) - len(shown)} more")
    for number, entry in shown:
        values = [value_in_words(entry.trial.values[field]) for field in fields]
        accuracy = "" if entry.value is None else f"{entry.value:.3f}"
        seconds = entry.took if entry.is_over else time.monotonic() - entry.began
        table.add_row(str(number), *values, str(entry.trial.seed), _state(entry), accuracy, duration(seconds))
    return table


def _state(entry: Entry) -> str:
    if entry.state == "at work" and entry.stored is not None:
        with contextlib.suppress(CloudedgeError):  # The run is not there yet, or cannot be read now.
            if step := entry.stored.open_step():
                return step_title(step).lower()
    return entry.state


def _standing(entry: Entry, figure: str) -> str:
    if entry.error is not None:
        said = shortened(" ".join(str(entry.error).split()), _MOST_SAID)
        return f"failed after {duration(entry.took)}: {said}"
    value = "" if entry.value is None else f", {figure} {entry.value:.3f}"
    return f"done in {duration(entry.took)}{value}"
