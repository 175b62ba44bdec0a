"""The sample store: what is kept, in which order, and what never comes twice."""

import errno
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cloudedge.data import is_held_out, read_records
from cloudedge.documents import DataFormat
from cloudedge.documents.data import SampleField
from cloudedge.errors import InvalidSamples, NotFound, StoreFailed
from edge.samples import tables
from edge.samples.store import SampleStore

DATA = DataFormat(storage="json-lines", fields=(SampleField(name="x"),), classes=("a", "b"), held_out=0.25)
Row = tuple[int, str]


def write(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"x": value, "label": label}) + "\n" for value, label in rows))
    return path


def kept(store: SampleStore, *, held_out: bool | None = None) -> list[Row]:
    collection = store.collection("order") or store.settle("order", 0)
    parts = (False, True) if held_out is None else (held_out,)
    return [
        (int(record.values["x"]), DATA.classes[record.label])
        for part in parts
        for record in store.records(DATA, collection, held_out=part)
    ]


@pytest.fixture
def store(tmp_path: Path) -> SampleStore:
    return SampleStore(tmp_path / "samples.db")


def test_files_are_taken_in_sorted_order_and_hidden_ones_passed_over(tmp_path: Path, store: SampleStore) -> None:
    folder = tmp_path / "in"
    write(folder / "b.jsonl", [(2, "b")])
    write(folder / "a.jsonl", [(1, "a")])
    write(folder / ".hidden.jsonl", [(3, "a")])
    write(folder / "..data" / "c.jsonl", [(4, "a")])
    assert store.collect(folder, DATA) == 2
    assert [sample.source for sample in store.query()] == [str(folder / "a.jsonl"), str(folder / "b.jsonl")]


def test_a_file_that_grows_adds_only_what_is_new(tmp_path: Path, store: SampleStore) -> None:
    path = write(tmp_path / "in" / "a.jsonl", [(1, "a"), (2, "b")])
    assert store.collect(path.parent, DATA) == 2
    assert store.collect(path.parent, DATA) == 0
    write(path, [(1, "a"), (2, "b"), (3, "a")])
    assert store.collect(path.parent, DATA) == 1


def test_a_bad_file_is_passed_over_with_its_reason_and_taken_once_it_is_mended(tmp_path: Path, store: SampleStore) -> None:
    folder = tmp_path / "in"
    write(folder / "good.jsonl", [(1, "a")])
    bad = write(folder / "bad.jsonl", [(2, "a"), (3, "c")])
    assert store.collect(folder, DATA) == 1
    (fault,) = store.bad_files()
    assert fault.path == str(bad)
    assert "line 2" in fault.fault
    assert "'c'" in fault.fault
    write(bad, [(2, "a"), (3, "b"), (4, "b")])
    assert store.collect(folder, DATA) == 3
    assert store.bad_files() == []


def test_a_file_that_was_bad_in_another_format_is_read_again(tmp_path: Path, store: SampleStore) -> None:
    path = write(tmp_path / "in" / "a.jsonl", [(1, "a")])
    assert store.collect(path.parent, DATA.model_copy(update={"label": "kind"})) == 0
    assert store.collect(path.parent, DATA) == 1


def test_a_file_copied_again_is_no_new_file(tmp_path: Path, store: SampleStore) -> None:
    path = write(tmp_path / "in" / "a.jsonl", [(1, "a")])
    store.collect(path.parent, DATA)
    os.utime(path, (0, 0))
    assert store.collect(path.parent, DATA) == 0


def mirrored(store: SampleStore, folder: Path, data: DataFormat = DATA) -> list[Row]:
    store.mirror(folder, data)
    store.unsettle("order")
    return kept(store)


def test_a_mirror_holds_what_its_folder_holds_now_as_if_read_for_the_first_time(tmp_path: Path, store: SampleStore) -> None:
    folder = tmp_path / "in"
    write(folder / "a.jsonl", [(1, "a"), (2, "a")])
    write(folder / "b.jsonl", [(3, "b"), (4, "b")])
    mirrored(store, folder)
    write(folder / "a.jsonl", [(1, "b"), (2, "a"), (5, "a")])  # A label was corrected.
    mirrored(store, folder)
    (folder / "b.jsonl").unlink()
    write(folder / "c.jsonl", [(6, "b")])
    fresh = SampleStore(tmp_path / "fresh.db")
    assert mirrored(store, folder) == mirrored(fresh, folder) == [(1, "b"), (2, "a"), (5, "a"), (6, "b")]
    assert [sample.number for sample in store.query()] == [sample.number for sample in fresh.query()]
    assert store.fingerprint(DATA, store.settle("order", 1)) == fresh.fingerprint(DATA, fresh.settle("order", 1))


def test_a_mirror_follows_to_another_folder_and_to_another_label(tmp_path: Path, store: SampleStore) -> None:
    write(tmp_path / "one" / "a.jsonl", [(1, "a")])
    write(tmp_path / "two" / "a.jsonl", [(2, "b")])
    mirrored(store, tmp_path / "one")
    assert mirrored(store, tmp_path / "two") == [(2, "b")]
    (tmp_path / "two" / "a.jsonl").write_text('{"x": 2, "label": "b", "kind": "a"}\n')
    assert mirrored(store, tmp_path / "two") == [(2, "b")]
    assert mirrored(store, tmp_path / "two", DATA.model_copy(update={"label": "kind"})) == [(2, "a")]


def test_a_mirror_keeps_what_was_added_or_deleted_by_hand(tmp_path: Path, store: SampleStore) -> None:
    folder = tmp_path / "in"
    write(folder / "b.jsonl", [(1, "a"), (2, "b")])
    store.add(write(tmp_path / "by-hand.jsonl", [(9, "a")]), DATA)
    mirrored(store, folder)
    store.delete([sample.id for sample in store.query("b")])
    write(folder / "a.jsonl", [(3, "b")])
    assert sorted(mirrored(store, folder)) == [(1, "a"), (3, "b"), (9, "a")]
    write(folder / "b.jsonl", [(1, "a"), (2, "b"), (4, "b")])
    assert sorted(mirrored(store, folder)) == [(1, "a"), (3, "b"), (4, "b"), (9, "a")]


def test_a_mirror_is_as_fresh_after_a_file_grew_amid_an_order_or_one_came_before_the_others(
    tmp_path: Path, store: SampleStore
) -> None:
    folder = tmp_path / "in"
    write(folder / "b.jsonl", [(1, "a"), (2, "b")])
    mirrored(store, folder)
    write(folder / "b.jsonl", [(1, "b"), (2, "b"), (3, "a")])
    assert store.collect(folder, DATA) == 2  # As an order does that looks for more, and keeps what it has.
    assert store.count() == 4
    assert mirrored(store, folder) == mirrored(SampleStore(tmp_path / "fresh.db"), folder)
    write(folder / "a.jsonl", [(4, "b"), (5, "b")])
    assert mirrored(store, folder) == mirrored(SampleStore(tmp_path / "fresher.db"), folder)


def test_a_sample_that_was_collected_before_it_was_added_by_hand_stays_with_its_file_gone(
    tmp_path: Path, store: SampleStore
) -> None:
    path = write(tmp_path / "in" / "a.jsonl", [(1, "a"), (2, "b")])
    other = write(tmp_path / "in" / "b.jsonl", [(3, "b")])
    mirrored(store, path.parent)
    assert store.add(path, DATA) == 0
    path.unlink()
    other.unlink()
    assert mirrored(store, path.parent) == [(1, "a"), (2, "b")]


def test_a_bad_file_that_is_gone_is_bad_no_more(tmp_path: Path, store: SampleStore) -> None:
    bad = write(tmp_path / "in" / "bad.jsonl", [(2, "c")])
    store.collect(bad.parent, DATA)
    assert [file.path for file in store.bad_files(DATA)] == [str(bad)]
    bad.unlink()
    store.collect(bad.parent, DATA)
    assert store.bad_files() == []


def downgrade(database: sqlite3.Connection, version: int) -> None:
    """Make a store what an older version would have made of the same files: of equal samples it kept one."""
    script = ["DROP INDEX samples_by_class", "DROP INDEX samples_by_source", "DROP INDEX samples_of_version_2"]
    script += [
        "ALTER TABLE samples RENAME TO new",
        "CREATE TABLE samples (id INTEGER PRIMARY KEY AUTOINCREMENT, form TEXT NOT NULL, digest TEXT NOT NULL, "
        "label INTEGER NOT NULL, ordinal INTEGER NOT NULL, content BLOB, source TEXT NOT NULL, added_at TEXT NOT NULL, "
        "by_hand INTEGER NOT NULL DEFAULT 0, UNIQUE (form, digest))",
        "INSERT OR IGNORE INTO samples SELECT id, form, digest, label, ordinal, content, source, added_at, by_hand FROM new",
        "UPDATE sqlite_sequence SET seq = 1000 WHERE name = 'samples'",
        "DROP TABLE new",
        "CREATE INDEX samples_by_class ON samples (form, label, ordinal)",
        "ALTER TABLE files DROP COLUMN inode",
    ]
    if version == 1:
        script += [
            "DROP TABLE files",
            "CREATE TABLE files (reading TEXT, path TEXT, size INTEGER, changed INTEGER, fault TEXT)",
            "INSERT INTO files VALUES ('r', 'p', 1, 1, NULL)",
            "ALTER TABLE samples DROP COLUMN by_hand",
        ]
    for statement in (*script, f"PRAGMA user_version = {version}"):
        database.execute(statement)


@pytest.fixture
def older(tmp_path: Path) -> Callable[[int], SampleStore]:
    """The store after an upgrade from a version."""

    def upgraded(version: int) -> SampleStore:
        database = sqlite3.connect(tmp_path / "samples.db", isolation_level=None)
        downgrade(database, version)
        database.close()
        return SampleStore(tmp_path / "samples.db")

    return upgraded


@pytest.mark.parametrize("version", [1, 2])
def test_a_store_of_a_version_before_is_brought_up_to_date_and_keeps_its_samples(
    version: int, tmp_path: Path, store: SampleStore, older: Callable[[int], SampleStore]
) -> None:
    folder = tmp_path / "in"
    write(folder / "a.jsonl", [(1, "a"), (2, "b")])
    store.collect(folder, DATA)
    store = older(version)
    assert store.collect(folder, DATA) == 0
    assert store.count() == 2
    assert mirrored(store, folder) == [(1, "a"), (2, "b")]


def test_after_an_upgrade_equal_rows_come_in_and_nothing_counts_twice(
    tmp_path: Path, store: SampleStore, older: Callable[[int], SampleStore]
) -> None:
    folder = tmp_path / "in"
    write(folder / "a.jsonl", [(1, "a"), (1, "a"), (2, "b")])
    write(folder / "copy.jsonl", [(1, "a"), (1, "a"), (2, "b")])
    write(folder / "gone.jsonl", [(3, "b"), (4, "b")])
    write(tmp_path / "by-hand.jsonl", [(5, "a"), (2, "b")])
    store.collect(folder, DATA)
    store.add(tmp_path / "by-hand.jsonl", DATA)
    (folder / "gone.jsonl").rename(folder / "renamed.jsonl")
    store.collect(folder, DATA)
    store = older(2)
    assert store.count() == 5  # As version 2 had it: each once.
    settled = store.settle("before", 0)
    assert settled.last_sample <= 1000
    assert store.collect(folder, DATA) == 4
    assert store.collect(folder, DATA) == 0
    assert store.add(tmp_path / "by-hand.jsonl", DATA) <= 1
    assert store.add(tmp_path / "by-hand.jsonl", DATA) == 0
    counts = Counter(kept(store))
    assert counts[(1, "a")] == 4
    assert (counts[(3, "b")], counts[(4, "b")], counts[(5, "a")]) == (1, 1, 1)
    assert store.has_more(DATA, settled)


def test_after_an_upgrade_what_was_deleted_stays_deleted_and_files_that_are_gone_keep_their_samples(
    tmp_path: Path, store: SampleStore, older: Callable[[int], SampleStore]
) -> None:
    folder = tmp_path / "in"
    write(folder / "a.jsonl", [(1, "a"), (2, "b")])
    write(folder / "gone.jsonl", [(3, "b")])
    store.collect(folder, DATA)
    store.delete([next(iter(store.query())).id])
    (folder / "gone.jsonl").unlink()
    store = older(2)
    assert store.collect(folder, DATA) == 0
    assert kept(store) == [(2, "b"), (3, "b")]
    write(folder / "new.jsonl", [(3, "b")])
    assert store.collect(folder, DATA) == 1
    assert store.mirror(folder, DATA) == 2
    store.unsettle("order")
    assert kept(store) == [(2, "b"), (3, "b")]


def test_an_upgrade_that_is_cut_off_begins_anew(tmp_path: Path, store: SampleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.collect(write(tmp_path / "in" / "a.jsonl", [(1, "a"), (2, "b")]).parent, DATA)
    database = sqlite3.connect(tmp_path / "samples.db", isolation_level=None)
    downgrade(database, 2)
    database.close()
    whole = tables.UPGRADES[2]
    for cut in range(len(whole)):
        monkeypatch.setattr(tables, "UPGRADES", {2: (*whole[:cut], "SELECT no_such_function()")})
        with pytest.raises(StoreFailed):
            SampleStore(tmp_path / "samples.db")
    monkeypatch.setattr(tables, "UPGRADES", {2: whole})
    assert SampleStore(tmp_path / "samples.db").count() == 2


def test_bad_files_are_those_of_the_format_asked_for(tmp_path: Path, store: SampleStore) -> None:
    path = write(tmp_path / "in" / "a.jsonl", [(1, "a")])
    labelled_otherwise = DATA.model_copy(update={"label": "kind"})
    store.collect(path.parent, labelled_otherwise)
    store.collect(path.parent, DATA)
    assert store.bad_files(DATA) == []
    assert store.bad_files(labelled_otherwise) == store.bad_files() != []


def test_a_deleted_sample_does_not_come_back_with_its_file_but_does_by_hand(tmp_path: Path, store: SampleStore) -> None:
    path = write(tmp_path / "in" / "a.jsonl", [(1, "a"), (2, "b")])
    store.collect(path.parent, DATA)
    first = next(iter(store.query()))
    assert store.delete([first.id]) == 1
    write(path, [(1, "a"), (2, "b"), (3, "b")])
    assert store.collect(path.parent, DATA) == 1
    assert store.count() == 2
    assert store.add(path, DATA) == 1
    assert store.count() == 3


def test_deleting_what_is_not_there_deletes_nothing(tmp_path: Path, store: SampleStore) -> None:
    store.add(write(tmp_path / "a.jsonl", [(1, "a")]), DATA)
    with pytest.raises(NotFound, match="no sample 7"):
        store.delete([1, 7])
    assert store.count() == 1


def test_adding_a_bad_file_by_hand_adds_nothing(tmp_path: Path, store: SampleStore) -> None:
    with pytest.raises(InvalidSamples):
        store.add(write(tmp_path / "a.jsonl", [(1, "a"), (2, "c")]), DATA)
    assert store.count() == 0


def test_samples_serve_every_task_that_reads_the_same_fields(tmp_path: Path, store: SampleStore) -> None:
    store.add(write(tmp_path / "a.jsonl", [(1, "a")]), DATA)
    scaled = DATA.model_copy(update={"fields": (SampleField(name="x", scale=0.5),), "held_out": 0.4, "storage": "csv"})
    other = DATA.model_copy(update={"classes": ("b", "a")})
    collection = store.settle("order", 0)
    assert len(list(store.records(scaled, collection, held_out=False))) == 1
    assert list(store.records(other, collection, held_out=False)) == []


def test_work_keeps_the_samples_that_it_was_settled_on(tmp_path: Path, store: SampleStore) -> None:
    store.add(write(tmp_path / "a.jsonl", [(1, "a")]), DATA)
    first = store.settle("order", 0)
    assert not store.has_more(DATA, first)
    store.add(write(tmp_path / "b.jsonl", [(2, "a")]), DATA)
    assert store.has_more(DATA, first)
    assert store.collection("order") == first
    assert len(kept(store)) == 1
    second = store.settle("order", 1)
    assert store.collection("order") == second
    assert store.fingerprint(DATA, first) != store.fingerprint(DATA, second)
    store.unsettle("order")
    assert store.collection("order") is None


ROWS = st.lists(st.tuples(st.integers(-2, 2), st.sampled_from("ab")), max_size=20)


@settings(max_examples=25, deadline=None)
@given(rows=ROWS, cuts=st.integers(1, 5))
def test_each_sample_counts_equal_or_not_and_is_held_out_by_its_number_in_its_class(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], cuts: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    store = SampleStore(folder / "samples.db")
    for number in range(cuts):
        write(folder / "in" / f"{number}.jsonl", rows[number * len(rows) // cuts : (number + 1) * len(rows) // cuts])
        store.collect(folder / "in", DATA)
    parts: tuple[list[Row], list[Row]] = ([], [])
    counts: Counter[str] = Counter()
    for row in rows:
        parts[is_held_out(counts[row[1]], DATA.held_out)].append(row)
        counts[row[1]] += 1
    assert (kept(store, held_out=False), kept(store, held_out=True)) == parts


@settings(max_examples=25, deadline=None)
@given(files=st.dictionaries(st.sampled_from("abc"), ROWS, min_size=1), again=st.integers(0, 2), more=ROWS)
def test_an_edge_counts_what_the_cloud_counts_however_often_it_reads(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, list[Row]], again: int, more: list[Row]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    store = SampleStore(folder / "samples.db")
    for name, rows in files.items():
        write(folder / "in" / f"{name}.jsonl", rows)
    store.collect(folder / "in", DATA)
    name = next(iter(files))
    write(folder / "in" / f"{name}.jsonl", files[name] + more)
    for number in range(again + 1):
        os.utime(folder / "in" / f"{name}.jsonl", (number, number))
        store.collect(folder / "in", DATA)
    in_the_cloud = [(int(record.values["x"]), DATA.classes[record.label]) for record in read_records(folder / "in", DATA)]
    assert Counter(kept(store)) == Counter(in_the_cloud)


def test_equal_rows_of_one_file_of_two_files_and_of_a_copy_all_count(tmp_path: Path, store: SampleStore) -> None:
    folder = tmp_path / "in"
    write(folder / "monday.jsonl", [(20, "a"), (20, "a")])
    assert store.collect(folder, DATA) == 2
    write(folder / "tuesday.jsonl", [(20, "a")])
    assert store.collect(folder, DATA) == 1
    shutil.copy2(folder / "monday.jsonl", folder / "copy.jsonl")
    assert store.collect(folder, DATA) == 2
    (folder / "tuesday.jsonl").unlink()
    write(folder / "wednesday.jsonl", [(20, "a"), (21, "a")])
    assert store.collect(folder, DATA) == 2
    assert store.count() == 7


def test_one_of_equal_samples_is_deleted_for_good_and_the_other_stays(tmp_path: Path, store: SampleStore) -> None:
    path = write(tmp_path / "in" / "a.jsonl", [(1, "a"), (1, "a")])
    store.collect(path.parent, DATA)
    store.delete([next(iter(store.query())).id])
    write(path, [(1, "a"), (1, "a"), (1, "a")])
    assert store.collect(path.parent, DATA) == 1
    assert store.count() == 2


def test_a_renamed_file_is_the_same_file_and_what_was_deleted_of_it_stays_deleted(tmp_path: Path, store: SampleStore) -> None:
    folder = tmp_path / "in"
    write(folder / "a.jsonl", [(1, "a"), (1, "a"), (2, "b")])
    store.collect(folder, DATA)
    store.delete([next(iter(store.query())).id])
    (folder / "a.jsonl").rename(folder / "b.jsonl")
    assert store.collect(folder, DATA) == 0
    assert {sample.source for sample in store.query()} == {str(folder / "b.jsonl")}
    (folder / "sub").mkdir()
    (folder / "b.jsonl").rename(folder / "sub" / "c.jsonl")
    assert sorted(mirrored(store, folder)) == [(1, "a"), (2, "b")]


def test_a_file_that_grew_and_was_renamed_between_two_looks_counts_once(tmp_path: Path, store: SampleStore) -> None:
    rows: list[Row] = [(number, "a") for number in range(10)]
    path = write(tmp_path / "in" / "today.jsonl", rows)
    store.collect(path.parent, DATA)
    with path.open("a") as file:
        file.write('{"x": 1, "label": "a"}\n')
    path.rename(path.with_name("2026-11-26.jsonl"))
    assert store.collect(path.parent, DATA) == 1


def test_a_file_that_is_rotated_while_it_grows_counts_once_and_its_successor_is_another(
    tmp_path: Path, store: SampleStore
) -> None:
    folder = tmp_path / "in"
    now, before, long_before = folder / "0.jsonl", folder / "1.jsonl", folder / "2.jsonl"
    write(now, [(1, "a"), (2, "a")])
    write(before, [(1, "a"), (3, "a")])
    write(long_before, [(5, "b")])
    store.collect(folder, DATA)
    with now.open("a") as file:
        file.write('{"x": 1, "label": "a"}\n')
    before.rename(long_before)
    now.rename(before)
    write(now, [(1, "a"), (2, "a")])
    assert store.collect(folder, DATA) == 3
    assert Counter(kept(store)) == Counter([(1, "a")] * 4 + [(2, "a")] * 2 + [(3, "a"), (5, "b")])
    assert store.collect(folder, DATA) == 0


def test_a_file_is_no_other_one_under_a_new_name_just_because_it_looks_alike(tmp_path: Path, store: SampleStore) -> None:
    folder = tmp_path / "in"
    os.utime(write(folder / "a.jsonl", [(1, "a"), (2, "b")]), (1, 1))
    store.collect(folder, DATA)
    (folder / "a.jsonl").unlink()
    os.utime(write(folder / "b.jsonl", [(3, "a"), (4, "b")]), (1, 1))
    assert store.collect(folder, DATA) == 2
    (folder / "b.jsonl").unlink()
    os.utime(write(folder / "c.jsonl", [(3, "a"), (4, "b")]), (2, 2))
    assert store.collect(folder, DATA) == 2


def test_a_file_that_was_added_by_hand_is_known_by_its_whole_path(
    tmp_path: Path, store: SampleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        write(tmp_path / name / "a.jsonl", [(1, "a")])
    for name in ("one", "two"):
        monkeypatch.chdir(tmp_path / name)
        assert store.add(Path("a.jsonl"), DATA) == 1
        assert store.add(Path("a.jsonl"), DATA) == store.add(tmp_path / name, DATA) == 0
    assert [sample.source for sample in store.query(source="a.jsonl")] == [str(tmp_path / "two" / "a.jsonl")]
    assert len(list(store.query(source=str(tmp_path)))) == 2
    assert list(store.query(source=str(tmp_path / "on"))) == []


def test_a_file_that_may_not_be_read_is_read_once_it_may(
    tmp_path: Path, store: SampleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "in" / "a.jsonl", [(1, "a")])

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refuse)
        assert store.collect(path.parent, DATA) == 0
    assert [file.fault for file in store.bad_files()] == [
        f"{path} cannot be read: Permission denied. Check the file and its rights."
    ]
    assert store.collect(path.parent, DATA) == 1
    assert store.bad_files() == []


def test_what_cannot_be_read_in_a_directory_is_named_and_the_rest_is_taken(tmp_path: Path, store: SampleStore) -> None:
    folder = tmp_path / "in"
    write(folder / "a.jsonl", [(1, "a")])
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "loop.jsonl").symlink_to("loop.jsonl")
    (folder / "out").symlink_to("..")
    latin = folder / os.fsdecode(b"S\xfcd.jsonl")
    latin.touch()
    for _ in range(2):
        store.collect(folder, DATA)
        assert [file.fault[len(str(folder)) + 1 :].split(":")[0].split(", ")[0] for file in store.bad_files()] == [
            r"S\xfcd.jsonl has a name that is not UTF-8",
            "loop.jsonl cannot be read",
            f"out leads to {tmp_path}",
            "pipe.jsonl is a named pipe",
        ]
    assert mirrored(store, folder) == [(1, "a")]
    assert mirrored(store, folder) == [(1, "a")]
    latin.rename(folder / "Süd.jsonl")
    (folder / "pipe.jsonl").unlink()
    store.collect(folder, DATA)
    assert [Path(file.path).name for file in store.bad_files()] == ["loop.jsonl", "out"]


def test_an_image_has_the_class_of_a_folder_in_the_directory_of_samples(tmp_path: Path, store: SampleStore) -> None:
    field = SampleField(name="x", shape=(1, 1, 1), dtype="uint8")
    data = DataFormat(storage="image-folder", fields=(field,), classes=("good", "worn"))
    for folder in ("good/in/worn/day", "good/in", "good/in/worn/good"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        Image.new("L", (1, 1)).save(tmp_path / folder / "a.png")
    assert store.collect(tmp_path / "good" / "in", data) == 1, store.bad_files()
    assert [sample.label for sample in store.query()] == ["worn"]
    assert len(store.bad_files()) == 2
    assert (
        store.add(tmp_path / "good" / "in" / "worn" / "day" / "a.png", data.model_copy(update={"classes": ("x", "day")})) == 1
    )


NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: b"/" not in name and b"\0" not in name)


@settings(max_examples=50, deadline=None)
@given(name=NAMES)
def test_a_file_of_any_name_gives_its_samples_or_is_named_once(tmp_path_factory: pytest.TempPathFactory, name: bytes) -> None:
    folder = tmp_path_factory.mktemp("any")
    store = SampleStore(folder / "samples.db")
    write(folder / "sample", [(1, "a")])
    (folder / "in").mkdir()
    (folder / "sample").rename(folder / "in" / os.fsdecode(name + b".jsonl"))
    for take in (store.collect, store.collect, store.mirror):
        take(folder / "in", DATA)
        hidden = name.startswith(b".")
        assert store.count() + len(store.bad_files()) == (0 if hidden else 1)
        json.dumps([file.fault for file in store.bad_files()]).encode()


def test_values_come_back_as_they_were(tmp_path: Path, store: SampleStore) -> None:
    data = DataFormat(storage="npz", fields=(SampleField(name="x", shape=(2, 3), dtype="int16"),), classes=("a", "b"))
    values = numpy.arange(24, dtype="int16").reshape(4, 2, 3)
    path = tmp_path / "a.npz"
    numpy.savez(path, x=values, label=numpy.array([0, 1, 1, 0]))
    store.add(path, data)
    found = list(store.records(data, store.settle("order", 0), held_out=False))
    assert [record.label for record in found] == [0, 1, 1, 0]
    numpy.testing.assert_array_equal(numpy.stack([record.values["x"] for record in found]), values)
