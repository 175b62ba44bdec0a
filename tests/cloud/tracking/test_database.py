"""MLflow's database on a laptop: at the right place, and whole however often its making was cut short."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloud.tracking import Relay, TrackingLog, TrackingRecord, address_of, database
from cloudedge.errors import InvalidInput
from cloudedge.store import DirectoryStore
from tests.cloud.tracking import told
from tests.cloud.tracking.told import START, point

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.filterwarnings(*told.WARNINGS_OF_MLFLOW)

ODD = "a?b=c#d%20e%3F 'f' \"g\" $HOME\\n:@; Süd 温度"


@pytest.mark.parametrize("name", ["plain", "a b", "a?mode=memory", "a#b", "50%", "a%20b", "Süd", "a'b", 'a"b', ":memory:", ODD])
def test_an_address_leads_to_its_file_in_a_folder_of_any_name(name: str) -> None:
    file = Path("/home") / name / "mlflow.db"

    assert database.file_of(address_of(file)) == file


def test_an_address_that_was_given_out_before_is_the_same() -> None:
    assert address_of(Path("/home/Süd 1/cloudedge-home/mlflow.db")) == "sqlite:////home/Süd 1/cloudedge-home/mlflow.db"


def test_a_folder_of_which_mlflow_cannot_be_told_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"cannot keep a database in '/home/a\\udcffb', .*: choose another folder"):
        address_of(Path(os.fsdecode(b"/home/a\xffb/mlflow.db")))


def test_the_figures_are_in_the_home_whatever_its_name(store: DirectoryStore, tmp_path: Path) -> None:
    home = tmp_path / "below" / ODD
    home.mkdir(parents=True)
    told_of_a_run(store, home / "mlflow.db")

    assert names_of_runs(home / "mlflow.db") == ["digits"]
    assert list(home.parent.iterdir()) == [home]


def test_every_database_that_was_cut_is_known_by_its_tables(client: "MlflowClient", tracking_uri: str, tmp_path: Path) -> None:
    finished = database.file_of(tracking_uri)
    assert finished
    with closing(sqlite3.connect(finished)) as whole:
        schema = [sql for (sql,) in whole.execute("SELECT sql FROM sqlite_master WHERE sql NOTNULL ORDER BY rowid")]
        assert database.is_whole(finished)
    cut = tmp_path / "mlflow.db"
    cut.touch()
    with closing(sqlite3.connect(cut)) as making:
        for statement in schema:
            assert not database.is_whole(cut)
            if not statement.startswith("CREATE TABLE sqlite_"):
                making.execute(statement)
    assert len(schema) > 20
    assert not database.is_whole(cut)
    assert not database.is_whole(tmp_path / "none.db")


@pytest.mark.parametrize("statements", [3, 60])
def test_a_database_that_a_kill_left_half_made_gets_every_figure(
    store: DirectoryStore, tmp_path: Path, statements: int
) -> None:
    file = tmp_path / "mlflow.db"
    make_until(file, statements)
    assert len(tables(file)) > 0
    (tmp_path / "mlflow.db-journal").write_bytes(b"of the database before")
    os.utime(file, (0, 0))

    told_of_a_run(store, file)

    assert names_of_runs(file) == ["digits"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "store"]


def test_a_database_that_somebody_else_is_making_is_waited_for(
    client: "MlflowClient", tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = database.file_of(tracking_uri)
    assert finished
    file = tmp_path / "mlflow.db"
    file.touch()
    inode = file.stat().st_ino
    monkeypatch.setattr("cloud.tracking.database.time.sleep", lambda _: file.write_bytes(finished.read_bytes()))

    database.ensure_whole(file)

    assert file.stat().st_ino == inode


@pytest.mark.parametrize("kept", ["as it was", "damaged", "unwritable", "nowhere"])
def test_an_empty_database_is_made_once_for_all_homes_of_a_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", {"unwritable": "/dev/null", "nowhere": "~"}.get(kept, str(cache)))
    homes = [tmp_path / "a", tmp_path / "b"]
    for home in homes:
        home.mkdir()
        database.ensure_whole(home / "mlflow.db")
        for pattern in cache.glob("cloudedge/*") if kept == "damaged" else ():
            pattern.write_bytes(pattern.read_bytes()[:10_000])

    for home in homes:
        told_of_a_run(DirectoryStore(home / "store"), home / "mlflow.db")
        assert names_of_runs(home / "mlflow.db") == ["digits"]
        with closing(sqlite3.connect(home / "mlflow.db")) as made:
            found = made.execute("SELECT experiment_id, artifact_location FROM experiments ORDER BY 1").fetchall()
        assert [number for number, _ in found[:2]] == [0, 1]
        assert all(place.startswith(home.as_uri()) for _, place in found)
    assert len(list(cache.glob("cloudedge/*"))) == (kept in ("as it was", "damaged"))
    assert not Path("~").exists()


def told_of_a_run(store: DirectoryStore, file: Path) -> None:
    TrackingLog(store, "digits").append([TrackingRecord(at=START, metrics=(point("accuracy", 0.5, 0),))], "pretrain")
    assert Relay(store, "digits", address_of(file), "cloudedge").push() == 1


def names_of_runs(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as found:
        return [name for (name,) in found.execute("SELECT name FROM runs")]


def tables(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as found:
        return [name for (name,) in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def make_until(file: Path, statements: int) -> None:
    """Let MLflow make a database until it has changed it so many times."""
    from sqlalchemy import Engine, event

    left = statements

    def cut(_: object, __: object, statement: str, *___: object) -> None:
        nonlocal left
        if statement.lstrip().upper().startswith(("CREATE", "ALTER", "INSERT", "DROP", "UPDATE")):
            left -= 1
            if left < 0:
                raise SystemExit

    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    event.listen(Engine, "before_cursor_execute", cut)
    try:
        with pytest.raises(SystemExit):
            SqlAlchemyStore(address_of(file), str(file.parent))  # type: ignore[no-untyped-call]
    finally:
        event.remove(Engine, "before_cursor_execute", cut)
    # As if it had been another process.
    SqlAlchemyStore._engine_map.pop(address_of(file)).dispose()
