"""How a detector stands, for a person beside the machine: a small file that it writes anew every second."""

from pathlib import Path

from pydantic import Field

from cloudedge.documents.base import Document, Told, parse
from cloudedge.documents.line import Status
from cloudedge.documents.report import Count, Text
from cloudedge.errors import NotFound, StoreFailed
from edge.detector.folders import DetectorFolders
from edge.lock import is_locked


class Standing(Document, Told):
    """All that a detector says of itself."""

    detector: str = Field(default="", description="Its name in its line; empty: it has joined none.")
    process: Count = Field(default=0, description="Id of its process.")
    status: Status = Field(description="What its edge server is told.")
    p50_ms: float = Field(default=0.0, ge=0, description="Median of the time for one judgement, in milliseconds.")
    idle: Count = Field(default=0, description="Ticks for which the source had nothing new.")
    waiting: Count = Field(default=0, description="Ticks that wait to be inspected.")
    let_go: Count = Field(default=0, description="Images that were not kept for want of room or time.")
    troubles: tuple[Text, ...] = Field(default=(), description="What a person should look after.")


def standing_of(folders: DetectorFolders) -> tuple[Standing, bool]:
    """How a detector stands, or stood when it ended, and whether it is at work.

    Raises:
        NotFound: no detector has used this directory.
        StoreFailed: it cannot be read.
        InvalidDocument: another version wrote it.
    """
    try:
        content = folders.status.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"No detector has used {folders.state} yet. Correct --state, or start one.") from None
    except OSError as error:
        raise StoreFailed(f"Cannot read {folders.status}: {error.strerror}. Do it as a user who may.") from None
    return parse(Standing, content, str(folders.status)), is_locked(folders.lock)


def place(path: Path, standing: Standing) -> None:
    """Replace the file. A power cut may take the last second's, so that no disk is waited for.

    Raises:
        OSError: the disk refuses.
    """
    part = path.with_name(f".{path.name}")
    part.write_bytes(standing.to_json())
    part.replace(path)
