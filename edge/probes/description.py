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


def members_of(description: DeviceDescription | None) -> list[Path]:
    """The files by which the described control groups are entered.

    Raises:
        StoreFailed: there is no such group. It may be there later, as some are made when a machine starts.
    """
    found = []
    for group in description.control_groups if description else ():
        members = Path(group) / "cgroup.procs"
        if not os.access(members, os.F_OK):
            raise StoreFailed(f"There is no control group {group}. Make it, or take it out of the device's description.")
        found.append(members)
    return found


def enter_control_groups(description: DeviceDescription | None) -> None:
    """Have this process, and those that it starts from now on, keep the limits of the control groups that are described.

    Raises:
        StoreFailed: it may not enter one, or there is none.
    """
    for members in members_of(description):
        try:
            with members.open("r+", encoding="ascii") as file:
                file.write(str(os.getpid()))
        except OSError as error:
            raise StoreFailed(
                f"Cannot enter the control group {members.parent}: {error.strerror or error}. Give this user the right to "
                "write to its cgroup.procs, or take it out of the device's description."
            ) from None
