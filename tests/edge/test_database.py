"""What SQLite says of a disk, as a person reads it."""

import sqlite3
from pathlib import Path

import pytest

from cloudedge.errors import StoreFailed
from edge.database import disk_trouble


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
