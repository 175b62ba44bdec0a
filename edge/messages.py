"""What runner, fork server and work say to each other: one JSON object a line, over one connection a process at work.

The runner sends a `Job`, the work answers with `Message`s; once it has said `done`, another job may follow. The fork server
ends the connection with a last message that has `exit` set. A runner that shuts its side of the connection, or dies, ends the
work.
"""

from collections.abc import Callable
from typing import Literal

from cloudedge.documents import Order, Phase, WorkError
from cloudedge.documents.base import Part
from cloudedge.documents.report import Figures, Points, Streams


class Job(Part):
    """One piece of work."""

    order: Order
    begun: bool
    """Whether it was worked on before: then it goes on where it was."""
    points: Points = ()
    """The first and the last ones that it has told: behind them its series goes on."""
    state: str
    """The runner's state directory."""
    samples: str | None
    """Directory that samples are collected from; none: only those added by hand."""
    mirror_samples: bool
    """Whether samples are forgotten once their files changed or are gone."""
    file_roots: tuple[str, ...]
    """Folders below which file:// URLs are accepted."""


class Message(Part):
    """Something that happened to the work; fields that say nothing are left out. The bounds are those of reports."""

    phase: Literal[Phase.FETCHING, Phase.COLLECTING, Phase.TRAINING, Phase.EVALUATING, Phase.DEPLOYING] | None = None
    """What the work does now; where its order stands otherwise is the runner's to say."""
    progress: Streams | None = None
    """How far the work has come, in place of what was said before."""
    gauges: Figures | None = None
    """Figures of the moment, in place of those before."""
    points: Points | None = None
    """What was measured, by sequence, once the work would go on behind it; the runner passes over those that it has."""
    failed: WorkError | None = None
    """The work ended without a result, for good."""
    interrupted: WorkError | None = None
    """The work ended without a result and may well succeed later, as on a full disk, or where a store does not answer."""
    done: bool = False
    """The work is done and its manifest written."""
    exit: int | None = None
    """How the process ended, from the fork server: its exit code, or minus the number of the signal that killed it."""


Say = Callable[[Message], None]
"""Tells the runner."""


def line(message: Job | Message) -> bytes:
    """One message as it goes over the connection."""
    return message.model_dump_json(exclude_defaults=isinstance(message, Message)).encode() + b"\n"
