"""Queue and resources of this device at one moment: X."""

from datetime import UTC, datetime

from cloudedge.documents.automl import DeviceDescription, DeviceState
from edge.folders import Folders
from edge.probes.queue import queue
from edge.probes.resources import resources


def state_of(folders: Folders, description: DeviceDescription | None, but: str = "") -> DeviceState:
    """Look at the queue, and watch the device for a moment.

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
    return DeviceState(jobs=jobs, resources=source, at=datetime.now(UTC))
