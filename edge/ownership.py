"""What root makes in somebody's state directory is that one's: the runner that owns it has to write there, too."""

import contextlib
import os
from pathlib import Path


def give_to_owner(path: Path) -> None:
    """Give a file or folder that was made just now to whoever owns the folder around it, if this user may."""
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):  # Root of a container may not do everything.
            owner = path.parent.stat()
            os.chown(path, owner.st_uid, owner.st_gid)
