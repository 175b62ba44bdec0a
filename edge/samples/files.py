"""The files in a directory of samples, as they are found and read."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from cloudedge.data import Record, read_file, sample_files
from cloudedge.documents import DataFormat, canonical_json
from cloudedge.errors import CloudedgeError, StoreFailed
from cloudedge.places import Found


class SampleFile(NamedTuple):
    """A file in a directory of samples, or what stands there in place of one, as it was before it was read."""

    found: Found
    root: Path
    size: int
    changed: int
    inode: int

    @property
    def key(self) -> str:
        """Its path, as it is remembered."""
        return self.found.key


def look(directory: Path, data: DataFormat) -> list[SampleFile]:
    """The files of samples in a directory, and what stands there that could be one, sorted."""
    places = []
    for found in sample_files(directory, data):
        try:
            # Of what cannot be read, there is at least a name.
            status = found.path.stat() if found.fault is None else found.path.lstat()
        except OSError:
            continue  # Gone again: it is looked at next time.
        places.append(SampleFile(found, directory, status.st_size, status.st_mtime_ns, status.st_ino))
    return places


def read(place: SampleFile, data: DataFormat) -> tuple[list[Record], str | None, bool]:
    """The samples of a file, or what is wrong with it; and whether that lasts for as long as the file is as it is."""
    if place.found.fault is not None:
        return [], place.found.told(), True
    try:
        return list(read_file(place.found.path, data, place.root)), None, True
    except StoreFailed:
        raise
    except CloudedgeError as error:
        # Rights and disks are mended without changing the file.
        return [], str(error), not isinstance(error.__cause__, OSError)


def form_of(data: DataFormat) -> str:
    """Digest of what the stored bytes depend on.

    Scale, offset, held-out share and storage are not part of it, so samples serve every task that reads the same fields and
    classes.
    """
    fields = [(field.name, field.dtype, field.shape) for field in data.fields]
    return hashlib.sha256(canonical_json([fields, data.classes])).hexdigest()


def reading_of(data: DataFormat) -> str:
    """Digest of what reading a file depends on: a file that is bad in one format may be good in another."""
    meaning: list[object] = [form_of(data), data.storage, data.label]
    columns = [field.column for field in data.fields]
    if data.label_column is not None or any(columns):
        meaning += [data.label_column, columns]
    return hashlib.sha256(canonical_json(meaning)).hexdigest()
