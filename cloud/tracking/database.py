"""MLflow's own database beside a laptop's runs: one SQLite file, which is there whole or not at all.

MLflow makes its tables one by one, and does not go on where it was interrupted: it finds tables and refuses to make them. So a
database is made under another name and then put into its place; one that was left unfinished is put aside by the same way.
"""

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path

from cloudedge.errors import InvalidInput, StoreFailed
from cloudedge.files import TEMPORARY, atomic_copy, sync_folder

_SCHEME = "sqlite:///"
_WITH_DRIVER = "sqlite+pysqlite:///"
"""The same to SQLAlchemy. Of the other, MLflow makes the folders itself, by names with their escapes in them."""

_BESIDE = ("-journal", "-wal", "-shm")
"""What SQLite keeps beside a database; left behind, it would be taken for the next one's."""

_BEING_MADE_SECONDS = 10.0
"""An unfinished database that was written to so lately may be being made by somebody else, such as `mlflow ui`."""

_LOOK_SECONDS = 0.2


def address_of(path: Path) -> str:
    """The address by which MLflow, and whoever types its commands, finds a database.

    Raises:
        InvalidInput: no address leads there.
    """
    plain = f"{_SCHEME}{path}"
    if not {"?", "%"} & set(plain) and plain.isprintable():
        return plain
    from sqlalchemy import URL, make_url  # Its versions differ in what they take for an escape.

    with contextlib.suppress(UnicodeEncodeError):
        address = URL.create("sqlite+pysqlite", database=str(path)).render_as_string()
        if make_url(address).database == str(path):
            return address
    raise InvalidInput(f"MLflow cannot keep a database in {str(path.parent)!r}, because of its name: choose another folder.")


def file_of(address: str) -> Path | None:
    """The file of a database; None if the address is another's."""
    if not address.startswith((_SCHEME, _WITH_DRIVER)):
        return None
    from sqlalchemy import make_url

    return Path(make_url(address).database or "").absolute()


def artifacts_of(file: Path) -> Path:
    """Where the artifacts of a database are kept; MLflow's default would be the folder that the process happens to work in."""
    return file.parent / f"{file.stem}-artifacts"


def ensure_whole(file: Path) -> None:
    """Make a database where there is none, or just one that nobody finished. To be used within `mlflow_errors`."""
    while not is_whole(file):
        try:
            age = time.time() - file.stat().st_mtime
        except FileNotFoundError:
            age = _BEING_MADE_SECONDS
        if age >= _BEING_MADE_SECONDS or age < 0:
            _make(file)
            return
        time.sleep(_LOOK_SECONDS)


def is_whole(file: Path) -> bool:
    """Whether MLflow has finished making it, which it does with a first experiment."""
    if not file.exists():
        return False
    with contextlib.closing(sqlite3.connect(file, timeout=20)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return False
        return database.execute("SELECT 1 FROM experiments LIMIT 1").fetchone() is not None


def _make(file: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=file.parent) as folder:
        made, pattern = Path(folder) / file.name, _pattern()
        known = pattern is not None and _copied(pattern, made)
        store = SqlAlchemyStore(address_of(made), artifacts_of(file).as_uri())  # type: ignore[no-untyped-call]
        store.engine.dispose()
        if pattern is not None and not known:
            _keep_pattern(made, pattern)
        for beside in _BESIDE:
            file.with_name(file.name + beside).unlink(missing_ok=True)
        made.replace(file)
    sync_folder(file.parent)


def _pattern() -> Path | None:
    """Where this user keeps an empty database of this MLflow: making its tables takes seconds, copying them none."""
    from mlflow import __version__

    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - pathlib raises
    return Path(root) / "cloudedge" / f"mlflow-{__version__}.db" if Path(root).is_absolute() else None


def _copied(pattern: Path, made: Path) -> bool:
    """Copy the empty database, if there is a sound one."""
    try:
        shutil.copyfile(pattern, made)
        with contextlib.closing(sqlite3.connect(made)) as database:
            if database.execute("PRAGMA quick_check").fetchone() == ("ok",):
                return True
    except (OSError, sqlite3.Error):
        pass
    made.unlink(missing_ok=True)
    return False


def _keep_pattern(made: Path, pattern: Path) -> None:
    empty = made.with_name("empty")
    shutil.copyfile(made, empty)
    with contextlib.closing(sqlite3.connect(empty)) as database, database:
        database.execute("DELETE FROM experiments")  # It says where artifacts are, which each database does anew.
    with contextlib.suppress(StoreFailed):  # Nobody needs it.
        atomic_copy(empty, pattern)
