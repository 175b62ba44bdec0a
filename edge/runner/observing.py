"""Looks at the device again and again, beside whatever the runner does: what it has to give, and what waits for it."""

import logging
import time

from pydantic import ValidationError

from cloudedge.errors import CloudedgeError
from edge.folders import Folders
from edge.probes.description import description_of
from edge.probes.resources import ResourceMeter
from edge.probes.state import state_with
from edge.probes.telemetry import Telemetry

_log = logging.getLogger(__name__)


class Observer:
    """Takes a look each time that some seconds have passed. No order fails because it cannot."""

    def __init__(self, folders: Folders, seconds: float) -> None:
        """Begin.

        Args:
            folders: Of the edge.
            seconds: Between two looks; what is averaged, is averaged over them.
        """
        self._folders, self._seconds = folders, seconds
        self._telemetry = Telemetry(folders.telemetry)
        self._meter: ResourceMeter | None = None
        self._next = 0.0
        self._trouble = ""

    def tend(self) -> None:
        """Take a look if it is time."""
        if time.monotonic() < self._next:
            return
        try:
            description = description_of(self._folders)
            if self._meter is not None:
                self._telemetry.keep(state_with(self._meter.read(), self._folders, description))
                self._trouble = ""
            self._meter = ResourceMeter(description)
        except (CloudedgeError, OSError, ValidationError) as error:  # The last one: a driver told what cannot be.
            self._meter = None
            if str(error) != self._trouble:
                self._trouble = str(error)
                _log.warning("what the device has to give is not noted: %s", " ".join(self._trouble.split()))
        self._next = time.monotonic() + self._seconds
