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

from cloudedge.errors import StoreFailed

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
    try:
        directory.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S."), dir=directory))
        folder.chmod(0o755)
        for name, content in files.items():
            with (folder / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        next_link.unlink(missing_ok=True)
        next_link.symlink_to(folder.name)
        next_link.rename(link)
        for name in files:
            if not (directory / name).is_symlink():
                (directory / name).symlink_to(Path(DATA) / name)
        for entry in directory.iterdir():
            if entry.is_symlink() and entry.name != DATA and entry.name not in files:
                entry.unlink()
            elif entry.name.startswith("..") and not entry.is_symlink() and entry.name != folder.name:
                shutil.rmtree(entry, ignore_errors=True)
    except OSError as error:
        raise StoreFailed(f"Cannot write {directory}: {error.strerror}. Free the disk or mend its permissions.") from None
