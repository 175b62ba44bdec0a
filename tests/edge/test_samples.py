"""The sample store: what is kept, in which order, and what never comes twice."""

import json
import os
import sqlite3
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudedge.data import is_held_out
from cloudedge.documents import DataFormat
from cloudedge.documents.data import Field
from cloudedge.errors import InvalidSamples, NotFound
from edge.samples import SampleStore

DATA = DataFormat(storage="json-lines", fields=(Field(name="x"),), classes=("a", "b"), held_out=0.25)
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
    mirrored(store, path.parent)
    assert store.add(write(tmp_path / "by-hand.jsonl", [(1, "a")]), DATA) == 0
    path.unlink()
    assert mirrored(store, path.parent) == [(1, "a")]


def test_a_bad_file_that_is_gone_is_bad_no_more(tmp_path: Path, store: SampleStore) -> None:
    bad = write(tmp_path / "in" / "bad.jsonl", [(2, "c")])
    store.collect(bad.parent, DATA)
    assert [file.path for file in store.bad_files(DATA)] == [str(bad)]
    bad.unlink()
    store.collect(bad.parent, DATA)
    assert store.bad_files() == []


def test_a_store_of_the_version_before_is_brought_up_to_date_and_keeps_its_samples(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "a.jsonl", [(1, "a"), (2, "b")])
    SampleStore(tmp_path / "samples.db").collect(folder, DATA)
    database = sqlite3.connect(tmp_path / "samples.db", isolation_level=None)
    for statement in (
        "DROP TABLE files",
        "CREATE TABLE files (reading TEXT, path TEXT, size INTEGER, changed INTEGER, fault TEXT)",
        "INSERT INTO files VALUES ('r', 'p', 1, 1, NULL)",
        "ALTER TABLE samples DROP COLUMN by_hand",
        "PRAGMA user_version = 1",
    ):
        database.execute(statement)
    database.close()

    store = SampleStore(tmp_path / "samples.db")
    assert store.collect(folder, DATA) == 0
    assert store.count() == 2
    assert mirrored(store, folder) == [(1, "a"), (2, "b")]


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
    scaled = DATA.model_copy(update={"fields": (Field(name="x", scale=0.5),), "held_out": 0.4, "storage": "csv"})
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


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(-1000, 1000), st.sampled_from("ab")), max_size=60), cuts=st.integers(1, 5))
def test_each_sample_is_kept_once_and_held_out_by_its_number_in_its_class(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], cuts: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    store = SampleStore(folder / "samples.db")
    for number in range(cuts):
        write(folder / "in" / f"{number}.jsonl", rows[number * len(rows) // cuts : (number + 1) * len(rows) // cuts])
        store.collect(folder / "in", DATA)
    distinct = list(dict.fromkeys(rows))
    classes = {label: [row for row in distinct if row[1] == label] for label in "ab"}
    held = {row for part in classes.values() for index, row in enumerate(part) if is_held_out(index, DATA.held_out)}
    assert kept(store, held_out=True) == [row for row in distinct if row in held]
    assert kept(store, held_out=False) == [row for row in distinct if row not in held]


def test_values_come_back_as_they_were(tmp_path: Path, store: SampleStore) -> None:
    data = DataFormat(storage="npz", fields=(Field(name="x", shape=(2, 3), dtype="int16"),), classes=("a", "b"))
    values = numpy.arange(24, dtype="int16").reshape(4, 2, 3)
    path = tmp_path / "a.npz"
    numpy.savez(path, x=values, label=numpy.array([0, 1, 1, 0]))
    store.add(path, data)
    found = list(store.records(data, store.settle("order", 0), held_out=False))
    assert [record.label for record in found] == [0, 1, 1, 0]
    numpy.testing.assert_array_equal(numpy.stack([record.values["x"] for record in found]), values)
