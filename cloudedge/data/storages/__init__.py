"""The ways samples lie on a disk. Each is one file with the same three names; adding one is adding a file and a line here."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from cloudedge.data.records import Record
from cloudedge.data.storages import csv, image_folder, json_lines, npz
from cloudedge.documents import DataFormat
from cloudedge.errors import InvalidSamples, NotFound
from cloudedge.names import is_passed_over
from cloudedge.places import Found, files_below, found_at, shown_path, whole


class Storage(Protocol):
    """What each storage offers."""

    ENDINGS: tuple[str, ...]
    """Endings of its files, in lower case."""

    def read(self, file: Path, data: DataFormat, root: Path) -> Iterator[Record]:
        """Read one file.

        Args:
            file: The file.
            data: The samples' format.
            root: Folder below which folders may name classes.

        Raises:
            InvalidSamples: names the file, the place in it, the field, the value found and the remedy.
        """

    def write(self, records: Iterable[Record], folder: Path, data: DataFormat, name: str) -> None:
        """Write records into a folder."""


_STORAGES: dict[str, Storage] = {"csv": csv, "image-folder": image_folder, "json-lines": json_lines, "npz": npz}


def sample_files(folder: Path, data: DataFormat) -> list[Found]:
    """The files below a folder that hold samples of this format, in sorted order, and what there cannot be read."""
    endings = _STORAGES[data.storage].ENDINGS
    return files_below(folder, lambda name: name.lower().endswith(endings))


def loose_files(folder: Path, data: DataFormat) -> list[Path]:
    """The files right in a folder that hold samples of this format, sorted by name: where samples belong into its folders."""
    endings = _STORAGES[data.storage].ENDINGS
    return sorted(
        path
        for path in folder.iterdir()
        if path.name.lower().endswith(endings) and not is_passed_over(path.name) and not path.is_dir()
    )


def files_at(path: Path, data: DataFormat) -> list[Path]:
    """The one file, or the files below a folder, that hold samples of this format.

    Raises:
        InvalidSamples: something there cannot be read, or there is no file of the storage's endings.
        NotFound: nothing is there.
    """
    if path.is_dir():
        found = sample_files(path, data)
    elif os.path.lexists(path):
        found = [found_at(path)]
    else:
        raise NotFound(f"There is no file or folder {shown_path(path)}. Put samples there, or name another place.")
    if not found:
        raise InvalidSamples(
            f"{shown_path(path)} has no samples: the storage {data.storage!r} needs files that end in "
            f"{', '.join(_STORAGES[data.storage].ENDINGS)}. Put some there, or correct the storage in the task."
        )
    fault = next((one for one in found if one.fault is not None), None)
    if fault is not None:
        raise InvalidSamples(fault.told())
    return [one.path for one in found]


def read_file(file: Path, data: DataFormat, root: Path | None = None) -> Iterator[Record]:
    """Read the samples of one file, one by one, as `read_records` does."""
    root = root or whole(file).parent.parent
    try:
        yield from _STORAGES[data.storage].read(file, data, root)
    except OSError as error:
        reason = error.strerror or error
        raise InvalidSamples(f"{shown_path(file)} cannot be read: {reason}. Check the file and its rights.") from error


def read_records(path: Path, data: DataFormat, root: Path | None = None) -> Iterator[Record]:
    """Read stored samples, one by one.

    Args:
        path: One file, or a folder that is walked in sorted order, as `files_below` does. Files of other endings are passed
            over.
        data: The samples' format.
        root: Folder below which folders may name classes; none: the one above the folder that is given, or that the file is in.

    Raises:
        InvalidSamples: a sample does not fit the format, or as `files_at` says; the message names the file, the place in it,
            the field, the value found and the remedy.
        NotFound: nothing is there.
    """
    if root is None and path.is_dir():
        root = whole(path).parent
    for file in files_at(path, data):
        yield from read_file(file, data, root)


def write_records(records: Iterable[Record], folder: Path, data: DataFormat, name: str = "samples") -> None:
    """Write samples in their format, so that `read_records` of the folder gives them back.

    Args:
        records: What to write.
        folder: Where to; it is made if need be.
        data: The samples' format.
        name: Name of the file without its ending; in an image folder the first part of each file's name.

    Raises:
        InvalidInput: the storage cannot hold these values or class names.
        StoreFailed: the disk does not take them.
    """
    _STORAGES[data.storage].write(records, folder, data, name)
