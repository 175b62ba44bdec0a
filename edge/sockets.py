"""Unix sockets at paths of any length: the kernel takes about 100 bytes, a state directory may lie deeper."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def listen(path: Path) -> socket.socket:
    """Listen at a path, for this user only; what a dead listener left there is replaced once this one listens.

    Raises:
        OSError: the path cannot be used.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.with_name(f".{path.name}")  # Who finds a socket at the path itself is heard.
    before.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with _short(before) as address:
            listener.bind(address)
    finally:
        os.umask(mask)
    listener.listen(128)
    before.replace(path)
    return listener


def connect(path: Path) -> socket.socket:
    """Connect to whoever listens at a path.

    Raises:
        OSError: nobody listens there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as address:
            connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


@contextmanager
def _short(path: Path) -> Iterator[str]:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
