"""The live picture of a run in a notebook's cell, or on a terminal."""

import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.theme import Theme

from cloud.runs.run import Run
from cloudedge.errors import CloudedgeError
from pipelines.display.console import console
from pipelines.display.live import REDRAW_SECONDS, RunDisplay, RunPicture

_WIDTH = 110
_STYLE = "line-height:1.25;font-family:Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre;overflow-x:auto"


_COLOURS = Theme({"bar.back": "#b8b8b8", "bar.complete": "#2f6f9f", "bar.finished": "#2f8f5f", "dim": "#808080"})
"""To be told apart on a light page and on a dark one."""


@contextmanager
def live_display(between: Callable[[], str]) -> Iterator[Callable[[Run], None]]:
    """Shows what a run does for as long as the context lasts.

    Args:
        between: Says in a line what goes on while no edge is at work.
    """
    if not in_a_notebook():
        with RunDisplay(console(stderr=True), between) as display:
            yield display
        return
    redraw, picture, looked = cell(), RunPicture(between), 0.0

    def update(run: Run) -> None:
        nonlocal looked
        if time.monotonic() - looked < REDRAW_SECONDS:
            return
        looked = time.monotonic()
        with contextlib.suppress(CloudedgeError):
            picture.look(run)
            drawn = [] if _is_over(run) else [picture.drawn(run)]
            redraw([*picture.lines, *drawn])

    yield update


def cell() -> Callable[[Sequence[RenderableType]], None]:
    """An output of the present cell; what it gives shows other parts there, in the place of the former."""
    from IPython.display import HTML
    from IPython.display import display as show

    shown = show(HTML(""), display_id=True)  # type: ignore[no-untyped-call]
    return lambda parts: shown.update(HTML(_as_html(parts)))  # type: ignore[no-untyped-call]


@contextmanager
def no_display() -> Iterator[Callable[[Run], None]]:
    """Shows nothing."""
    yield lambda _: None


def _as_html(parts: Sequence[RenderableType]) -> str:
    """What a terminal would show, as it is: a notebook that is exported, or read elsewhere, shows the same."""
    paper = Console(
        record=True,
        width=_WIDTH,
        file=io.StringIO(),
        force_jupyter=False,  # Else it shows all of it in cells of its own.
        force_terminal=True,
        color_system="truecolor",
        theme=_COLOURS,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for part in parts:
        paper.print(part)
    return paper.export_html(inline_styles=True, code_format=f'<pre style="{_STYLE}">{{code}}</pre>')


def _is_over(run: Run) -> bool:
    state = run.state()
    return state is not None and state.state != "running"


def in_a_notebook() -> bool:
    """Whether this is a cell of a notebook."""
    ipython = sys.modules.get("IPython")  # Whoever is in one has it already.
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")
