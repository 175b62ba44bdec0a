"""A directory of files, replaced as a whole: exactly as kubelet mounts a ConfigMap.

    DIR/inbox.json -> ..data/inbox.json
    DIR/..data     -> ..2026_07_01_12_00_00.x8d2kq
    DIR/..2026_07_01_12_00_00.x8d2kq/inbox.json

The rename of `..data` is the one moment at which everything changes, so a reader that resolves `..data` once and reads
below it never mixes two states (Kubernetes, `pkg/volume/util/atomic_writer.go`).
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from cloudedge.errors import NotFound, StoreFailed
from cloudedge.files import disk_errors, sync_folder

DATA = "..data"
"""Name of the link that the whole state hangs on."""


def write_mount(directory: Path, files: Mapping[str, bytes]) -> None:
    """Make `files` the content of a mounted directory, all at once.

    Args:
        directory: The mount; made if it is missing.
        files: Content by file name; names without folders.

    Raises:
        StoreFailed: the disk refuses; the former state stays.
    """
    link, next_link = directory / DATA, directory / f"{DATA}_tmp"
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S."), dir=directory))
        try:
            folder.chmod(0o755)
            for name, content in files.items():
                with (folder / name).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            next_link.unlink(missing_ok=True)
            next_link.symlink_to(folder.name)
            next_link.rename(link)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)  # Nothing leads to it.
            raise
        for name in files:
            if not (directory / name).is_symlink():
                (directory / name).symlink_to(Path(DATA) / name)
        for entry in directory.iterdir():
            if entry.is_symlink() and entry.name != DATA and entry.name not in files:
                entry.unlink()
            elif entry.name.startswith("..") and not entry.is_symlink() and entry.name != folder.name:
                shutil.rmtree(entry, ignore_errors=True)
        sync_folder(directory)


def read_mount(directory: Path, name: str) -> bytes:
    """Content of one file of a mounted directory, whole, whoever replaces it meanwhile.

    Raises:
        NotFound: nothing is mounted there, or it has no such file.
        StoreFailed: it cannot be read.
    """
    former: Path | None = None
    while True:
        try:
            folder = (directory / DATA).readlink()
            try:
                return (directory / folder / name).read_bytes()
            except FileNotFoundError:
                if folder == former:
                    raise
                former = folder  # It may have been replaced between the two looks; the same one twice has no such file.
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"There is no {name} mounted at {directory}.") from None
        except OSError as error:
            raise StoreFailed(f"Cannot read {directory}: {error.strerror}. Check the disk and its permissions.") from error
