"""The ways samples lie on a disk. Each is one file with the same three names; adding one is adding a file and a line here."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from cloudedge.data.records import Record
from cloudedge.data.storages import csv, image_folder, json_lines, npz
from cloudedge.documents import DataFormat
from cloudedge.errors import InvalidSamples, NotFound


class Storage(Protocol):
    """What each storage offers."""

    ENDINGS: tuple[str, ...]
    """Endings of its files, in lower case."""

    def read(self, file: Path, data: DataFormat) -> Iterator[Record]:
        """Read one file.

        Raises:
            InvalidSamples: names the file, the place in it, the field, the value found and the remedy.
        """

    def write(self, records: Iterable[Record], folder: Path, data: DataFormat, name: str) -> None:
        """Write records into a folder."""


_STORAGES: dict[str, Storage] = {"csv": csv, "image-folder": image_folder, "json-lines": json_lines, "npz": npz}


def sample_files(folder: Path, data: DataFormat) -> list[Path]:
    """The files below a folder that hold samples of this format, in sorted order; hidden ones are passed over."""
    wanted = _STORAGES[data.storage].ENDINGS
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".") and name.lower().endswith(wanted)]
    return sorted(found, key=lambda file: file.parts)


def read_records(path: Path, data: DataFormat) -> Iterator[Record]:
    """Read stored samples, one by one.

    Args:
        path: One file, or a folder that is walked in sorted order. Hidden files and files of other endings are passed over.
        data: The samples' format.

    Raises:
        InvalidSamples: a sample does not fit the format, or a folder has no file of the storage's endings; the message names
            the file, the place in it, the field, the value found and the remedy.
        NotFound: nothing is there.
    """
    storage = _STORAGES[data.storage]
    if not path.exists():
        raise NotFound(f"There is no file or folder {path}. Put samples there, or name another place.")
    files = sample_files(path, data) if path.is_dir() else [path]
    if not files:
        raise InvalidSamples(
            f"{path} has no samples: the storage {data.storage!r} needs files that end in {', '.join(storage.ENDINGS)}. "
            "Put some there, or correct the storage in the task."
        )
    for file in files:
        try:
            yield from storage.read(file, data)
        except OSError as error:
            raise InvalidSamples(f"{file} cannot be read: {error.strerror or error}. Check the file and its rights.") from error


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
