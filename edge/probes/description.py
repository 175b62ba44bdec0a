"""What cannot be measured on this device, as somebody has described it."""

import os
from pathlib import Path

from cloudedge.documents.automl import DeviceDescription
from cloudedge.documents.base import parse
from cloudedge.errors import StoreFailed
from edge.folders import Folders


def description_of(folders: Folders) -> DeviceDescription | None:
    """What cannot be measured on this device; none: nobody has described it.

    Raises:
        InvalidDocument: the file is no description.
        StoreFailed: it cannot be read.
    """
    path = folders.description
    try:
        if path.exists() and not path.is_file():  # A pipe would be waited for.
            raise StoreFailed(f"Cannot read {path}: it is no file. Put the device's description there, or nothing.")
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreFailed(f"Cannot read {path}: {error.strerror}. Correct its rights, or the disk.") from None
    return parse(DeviceDescription, content, str(path))


def enter_control_groups(description: DeviceDescription | None) -> None:
    """Have this process, and those that it starts from now on, keep the limits of the control groups that are described.

    Raises:
        StoreFailed: it may not enter one, or there is none. They may be there later, as some are made when a machine starts.
    """
    for group in description.control_groups if description else ():
        members = Path(group) / "cgroup.procs"
        try:
            with members.open("r+", encoding="ascii") as file:  # It makes no file where there is no group.
                file.write(str(os.getpid()))
        except OSError as error:
            raise StoreFailed(
                f"Cannot enter the control group {group}: {error.strerror or error}. Make it, with the right for this user to "
                "write to its cgroup.procs, or take it out of the device's description."
            ) from None
