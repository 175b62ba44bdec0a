"""What SQLite says of a disk, as a person reads it."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from cloudedge.errors import StoreFailed
from edge.database import connect, disk_trouble


def test_who_may_not_write_is_told_so_and_not_to_mend_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    sqlite3.connect(path).execute("PRAGMA user_version = 1")
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    with (
        pytest.raises(StoreFailed, match=r"readonly database. Do it as a user who may write .*; nothing is lost"),
        disk_trouble(path),
    ):
        reader.execute("PRAGMA user_version = 2")


def test_anything_else_is_the_disks_trouble(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"no database at all" * 100)
    with (
        pytest.raises(StoreFailed, match=r"not a database. Free some space or mend the disk; nothing is lost"),
        disk_trouble(path),
    ):
        sqlite3.connect(path).execute("PRAGMA user_version")


def test_whoever_opens_a_database_that_another_makes_just_now_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(time, "sleep", lambda _: other.execute("COMMIT"))
        with closing(connect(path, "CREATE TABLE facts (name TEXT)", 1)) as database:
            assert database.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
