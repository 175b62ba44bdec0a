"""What a run is doing, on the terminal while it does it.

On a terminal a picture that is redrawn; elsewhere a line for each thing that happened. Always on standard error, so that
standard output holds results alone.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cloud.orders.watch import OrderWatch, Watched
from cloud.runs.events import events
from cloud.runs.run import Run, step_title
from cloudedge.documents import Phase, Task
from cloudedge.errors import CloudedgeError
from components.systems import steps_of
from pipelines.systems import System, system_of

REDRAW_SECONDS = 0.25
_MOST_EDGES = 20
_BLOCKS = "▁▂▃▄▅▆▇█"


class RunPicture:
    """What a run is doing, in lines and in a picture; look again and again.

    Attributes:
        lines: What has happened since the first look, a line each.
    """

    def __init__(self, between: Callable[[], str]) -> None:
        """Know of nothing; `between` says in a line what goes on while no edge is at work."""
        self.lines: list[Text] = []
        self._between = between
        self._watch: OrderWatch | None = None
        self._task: Task | None = None
        self._curve: dict[int, float] = {}
        self._told: str | None = None
        self._began = time.monotonic()

    def look(self, run: Run) -> list[Text]:
        """Read what has happened since the last look.

        Returns:
            The lines that are new.

        Raises:
            CloudedgeError: the run is not there yet, or cannot be read now.
        """
        if self._told is None:
            # What an earlier try did is known; only what is new is told.
            self._told = max((key for key, _ in events(run.store, run.id)), default="")
        self._task = self._task or run.task()
        system, before = system_of(self._task), len(self.lines)
        for key, event in events(run.store, run.id, after=self._told):
            self._told = key
            line = _sentence(system, event.action, event.details)
            if line:
                self.lines.append(Text(f"{time.monotonic() - self._began:6.1f} s  {line}"))
        return self.lines[before:]

    def drawn(self, run: Run) -> Group:
        """The edges at work, and how good the model has become.

        Raises:
            CloudedgeError: the run is not there yet, or cannot be read now.
        """
        task = self._task or run.task()
        system = system_of(task)
        parts: list[Text | Table] = []
        step = run.open_step()
        if step is None:
            parts.append(Text(self._between(), style="dim"))
        else:
            watch = self._watched(run, step)
            watch.look()
            parts.append(edge_table(watch, steps_of(task).figures))
            self._curve.update(system.newest(run))
        if len(self._curve) > 1:
            values = [value for _, value in sorted(self._curve.items())]
            parts.append(Text(f"{system.curve}  {sparkline(values)}  {values[0]:.3f} → {values[-1]:.3f}"))
        return Group(*parts)

    def _watched(self, run: Run, step: str) -> OrderWatch:
        if self._watch is None or self._watch.step != step:
            self._watch = OrderWatch.of(run, step)
        return self._watch


class RunDisplay:
    """Shows one run on a console; call it again and again with the run."""

    def __init__(self, console: Console, between: Callable[[], str]) -> None:
        """Draw on a console; `between` says in a line what goes on while no edge is at work."""
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._picture = RunPicture(between)
        self._looked = 0.0

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the terminal as it was."""
        if self._live:
            self._live.stop()

    def __call__(self, run: Run) -> None:
        """Bring the picture up to date; cheap when called too often."""
        now = time.monotonic()
        if now - self._looked < REDRAW_SECONDS:
            return
        self._looked = now
        with contextlib.suppress(CloudedgeError):
            for line in self._picture.look(run):
                self._console.print(line)
            if self._live:
                self._live.update(self._picture.drawn(run))


def edge_table(watch: OrderWatch, figures: Callable[[Watched], Mapping[str, str]]) -> Table:
    """The edges of a step, each with its phase, how far it is, and what is known of its order, by title."""
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    shown = dict(sorted(watch.edges.items())[:_MOST_EDGES])
    known = {edge: figures(watched) for edge, watched in shown.items()}
    titles = list(dict.fromkeys(title for of_edge in known.values() for title in of_edge))
    for title in ("edge", "phase", "", *map(str.lower, titles)):
        table.add_column(title)
    for edge, watched in shown.items():
        table.add_row(edge, *_standing(watched), *(known[edge].get(title, "") for title in titles))
    if len(watch.edges) > len(shown):
        table.add_row(f"and {len(watch.edges) - len(shown)} more")
    return table


def last_words(log: Path) -> str:
    """The last line that a pipeline's step said to a log."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 4000))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return "starting"
    said = [line.strip() for line in lines if line.strip()[2:3] == ":" and line.strip()[5:6] == ":" and "INFO" not in line]
    return said[-1] if said else "starting"


def sparkline(values: list[float]) -> str:
    """A row of blocks as high as the values."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_BLOCKS[round((value - low) / span * (len(_BLOCKS) - 1))] for value in values[-60:])


def _standing(watched: Watched) -> tuple[str, ProgressBar]:
    """An edge's phase, and how far it is."""
    report = watched.report
    if watched.manifest:
        return "done", ProgressBar(1, 1, width=20)
    if report is None:
        return watched.absence or "ordered", ProgressBar(1, 0, width=20)
    phase = watched.state() if report.phase in (Phase.FAILED, Phase.CANCELLED) else str(report.phase)
    return phase, ProgressBar(1, report.share, width=20)


def _sentence(system: System[Task], action: str, details: Mapping[str, object]) -> str:
    match action:
        case "created":
            return f"Run created: {details.get('name')}."
        case "left-out":
            return f"{step_title(str(details.get('step', details.get('round'))))}: {details.get('edge')} is left out."
        case "registered":
            return f"Registered as {details.get('model')}."
        case "unregistered":
            return str(details.get("reason"))
        case "resumed":
            return f"The pipeline {details.get('why')}; it goes on where it was."
        case "failed":
            return "The run failed."
        case "stopped" | "cancelled":
            return f"The run was {action}."
    return system.sentence(action, details)
