"""Queue and resources of this device at one moment, X, and how they usually are."""

import logging
from datetime import UTC, datetime

from cloudedge.documents.automl import DeviceDescription, DeviceState, Usual
from cloudedge.errors import Conflict, StoreFailed
from edge.folders import Folders
from edge.probes.queue import queue
from edge.probes.resources import conditions, resources
from edge.probes.telemetry import Telemetry

_log = logging.getLogger(__name__)


def state_of(folders: Folders, description: DeviceDescription | None, but: str = "") -> DeviceState:
    """Look at the queue, watch the device for a moment, and read how both were over the last week.

    Args:
        folders: Of the edge.
        description: What cannot be measured on the device.
        but: Id of an order that is not counted: the one that asks.

    Raises:
        StoreFailed: the ledger cannot be read.
    """
    source = resources(description)
    watts = source.average_power if description is None else description.busy_watts or source.average_power
    jobs = queue(folders.ledger, watts, but, description.accelerators if description else ())
    return DeviceState(jobs=jobs, resources=source, at=datetime.now(UTC), usual=_usual(folders, description))


def _usual(folders: Folders, description: DeviceDescription | None) -> Usual | None:
    """How both were over the last week; None also where that cannot be read, as what is now tells enough."""
    try:
        return Telemetry(folders.telemetry).usual(conditions(description))
    except (StoreFailed, Conflict) as error:
        _log.warning("How the device usually is, is not known: %s", error)
        return None
