"""What the child process does: finds the kind of its order, does the work, and says how it ended.

Everything here may be killed at any moment and started again: files appear whole or not at all, a manifest with its points
marks work that is done, and what is random or collected is settled before it is used. So the second try ends with the bytes of
the first.
"""

import sqlite3
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from cloudedge.documents import Manifest, WorkError, parse
from cloudedge.documents import kinds as asked
from cloudedge.errors import CloudedgeError, InvalidDocument, StoreFailed
from cloudedge.files import disk_errors
from edge import kinds
from edge.folders import Folders
from edge.messages import Job, Message, Say
from edge.probes.description import description_of, enter_control_groups
from edge.samples.store import SampleStore


def run(job: Job, say: Say) -> bool:
    """Do a job and say how it ended; whether it is done, so that this process is fit for another."""
    try:
        folders = Folders(Path(job.state))
        enter_control_groups(description_of(folders))
        if not job.begun:
            _put_away_former(job.order.id, folders)
        if not _heard_out(folders.manifest(job.order.id)):
            _kind(job.order.work.kind)(job, job.order.work, say)
        say(Message(done=True))
        return True
    except (StoreFailed, sqlite3.Error) as error:
        say(Message(interrupted=WorkError.of(error)))
    except CloudedgeError as error:
        say(Message(failed=WorkError.of(error)))
    except (BrokenPipeError, ConnectionResetError):
        pass  # The runner is gone; it asks again when it is back.
    except Exception as error:
        traceback.print_exc()
        message = f"The work broke: {type(error).__name__}: {error}. The runner's log holds the details."
        say(Message(failed=WorkError.of(error, message)))
    return False


def _heard_out(path: Path) -> bool:
    """Whether work has left its manifest, and the runner has heard all that it said: it has added the points.

    A runner that dies as work ends may have heard less than was said. So the work ends once more, and says it again.
    """
    try:
        manifest = parse(Manifest, path.read_bytes(), str(path))
    except (FileNotFoundError, InvalidDocument):
        return False
    return manifest.points > 0 or manifest.schema_version == 1  # Of version 0.1, the work itself wrote the points.


def load_kinds() -> None:
    """Import all kinds of work, and with them what they need: torch above all."""
    for kind in asked.kinds():
        _kind(kind)
    for kind in asked.installed_kinds():
        try:
            _kind(kind)
        except (Exception, SystemExit):  # Whoever asks for its work is told; the other kinds' work goes on.
            traceback.print_exc()


def _kind(name: str) -> Callable[[Job, Any, Say], None]:
    module = f"{kinds.__name__}.{asked.module_of(name)}" if name in asked.kinds() else f"{asked.installed_kinds()[name]}.work"
    work: Callable[[Job, Any, Say], None] = import_module(module).work
    return work


def _put_away_former(order_id: str, folders: Folders) -> None:
    """Remove what stands of an order that had this id before, and that the cloud has issued again since."""
    for path in (folders.manifest(order_id), folders.checkpoint(order_id)):
        with disk_errors(path):
            path.unlink(missing_ok=True)
    SampleStore(folders.samples).unsettle(order_id)
