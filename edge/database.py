"""SQLite as the edge uses it: safe against power cuts, shared by runner, work and tools, refusing versions it does not know."""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cloudedge.errors import Conflict, StoreFailed
from edge.ownership import give_to_owner

_BUSY_SECONDS = 30
_LOOK_SECONDS = 0.01

_NO_RIGHT = (
    "Do it as a user who may write to that file and its folder, even just to look, as readers and writers agree there; "
    "if you are one, see whether the disk still can be written"
)
_REMEDIES = {"SQLITE_READONLY": _NO_RIGHT, "SQLITE_CANTOPEN": _NO_RIGHT, "SQLITE_PERM": _NO_RIGHT}
"""By how SQLite's names of errors begin."""

_OTHERWISE = "Free some space or mend the disk"


@contextmanager
def disk_trouble(path: Path) -> Iterator[None]:
    """Turn what SQLite says of a disk into one message with a way out.

    Raises:
        StoreFailed: instead of the sqlite3.Error.
    """
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        remedy = next((words for start, words in _REMEDIES.items() if name.startswith(start)), _OTHERWISE)
        raise StoreFailed(f"Cannot use {path}: {error}. {remedy}; nothing is lost.") from error


def connect(
    path: Path,
    schema: str,
    version: int,
    upgrades: Mapping[int, Iterable[str]] | None = None,
    *,
    shared: bool = False,
    patience: float = _BUSY_SECONDS,
) -> sqlite3.Connection:
    """Open a database, make it if it is new, and bring it up to date if it is old.

    Args:
        path: The file; folders are made.
        schema: Statements that make all tables.
        version: Version of the schema, kept in the file.
        upgrades: Statements that lead from a version to the next one.
        shared: Whether several threads use the connection; they see to it that only one does at a time.
        patience: How long others that use the file are waited for, in seconds.

    Raises:
        StoreFailed: the disk refuses.
        Conflict: the file was written by another version.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreFailed(f"Cannot make {path.parent}: {error.strerror}. Choose another --state directory.") from None
    new = not path.exists()
    with disk_trouble(path):
        database = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=not shared)
        database.row_factory = sqlite3.Row
        if new:
            give_to_owner(path)  # SQLite gives the files beside it to the same one.
        _keep_log_ahead(database, patience)
        database.execute("PRAGMA synchronous = FULL")
        steps = {0: schema.split(";"), **(upgrades or {})}
        while (found := _version(database)) in steps and found != version:
            with transaction(database):
                if _version(database) != found:
                    continue  # Someone else did it in the meantime.
                for statement in steps[found]:
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {found + 1 if found else version}")
    if found != version:
        raise Conflict(f"{path} has version {found} of its tables, this software {version}. Use the software that wrote it.")
    return database


def _keep_log_ahead(database: sqlite3.Connection, patience: float) -> None:
    """Have readers and the writer not wait for each other. For this alone SQLite itself waits for nobody who does it, too."""
    end = time.monotonic() + patience
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= end:
                raise
            time.sleep(_LOOK_SECONDS)


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing, alone among the writers."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    finally:
        # A full disk may have rolled it back already.
        if database.in_transaction:
            database.execute("ROLLBACK")


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])
