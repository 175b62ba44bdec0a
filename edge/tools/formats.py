"""Data formats, as files that tools are given."""

import json
from pathlib import Path

from pydantic import ConfigDict

from cloudedge.documents import DataFormat, parse
from cloudedge.documents.base import Part
from cloudedge.errors import InvalidInput
from cloudedge.places import shown_path


class _HasData(Part):
    """Any document with a data format, such as a task."""

    model_config = ConfigDict(extra="ignore")

    data: DataFormat


def format_in(path: Path) -> DataFormat:
    """The data format in a file, or that of the task that is in it.

    Raises:
        InvalidInput: there is none.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"Cannot read {shown_path(path)}: {error.strerror}. Give a data format, or a task file, with --format."
        ) from None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    is_task = isinstance(found, dict) and "data" in found
    return parse(_HasData, content, shown_path(path)).data if is_task else parse(DataFormat, content, shown_path(path))
