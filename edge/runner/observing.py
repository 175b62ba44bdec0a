"""Looks at the device again and again, beside whatever the runner does: what it has to give, and what waits for it."""

import logging
import time
from datetime import UTC, datetime

from cloudedge.automl.screen import backlog
from cloudedge.documents.automl import DeviceDescription, Resources
from edge.folders import Folders
from edge.probes.description import description_of, members_of
from edge.probes.queue import queue
from edge.probes.resources import ResourceMeter, conditions
from edge.probes.telemetry import Telemetry

_log = logging.getLogger(__name__)

_FIGURES = tuple(name for name in Resources.model_fields if name != "origins")


class Observer:
    """Takes a look each time that some seconds have passed.

    What the device has to give is noted only where no work of the runner's own took of it in between: that is to be known by
    whoever asks how much of the device others leave.
    """

    def __init__(self, folders: Folders, seconds: float) -> None:
        """Begin.

        Args:
            folders: Of the edge.
            seconds: Between two looks; what is averaged, is averaged over them.
        """
        self._folders, self._seconds = folders, seconds
        self._telemetry = Telemetry(folders.telemetry)
        self._meter: ResourceMeter | None = None
        self._worked = False
        self._next = 0.0
        self._trouble = ""

    def tend(self, *, at_rest: bool) -> None:
        """Take a look if it is time. Nothing that goes wrong with it is told but in the log: no order is to suffer from it.

        Args:
            at_rest: Whether no work is under way, and no process of it kept.
        """
        self._worked |= not at_rest
        try:
            if self._meter is not None:
                self._meter.tend()
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + self._seconds
                self._look()
        except Exception as error:  # A driver, the system's files or a disk may surprise in many ways.
            self._meter = None
            if str(error) != self._trouble:
                self._trouble = str(error)
                _log.warning("how the device is, is not noted: %s", " ".join(self._trouble.split()))

    def _look(self) -> None:
        description = description_of(self._folders)
        members_of(description)  # Where work cannot enter its groups, nobody knows what it would have.
        if self._meter is not None:
            self._telemetry.note(self._figures(self._meter, description), conditions(description), datetime.now(UTC))
            self._trouble = ""
        self._meter, self._worked = ResourceMeter(description), False

    def _figures(self, meter: ResourceMeter, description: DeviceDescription | None) -> dict[str, float]:
        jobs = queue(self._folders.ledger, accelerators=description.accelerators if description else ())
        found = {"waiting": float(len(jobs)), "backlog": backlog(jobs)}
        if not self._worked:
            source = meter.read()
            found |= {name: float(getattr(source, name)) for name in _FIGURES if source.origins.get(name) != "absent"}
        return found
