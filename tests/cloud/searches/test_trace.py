"""Searches that are over stay in the store, whatever becomes of their runs, and whatever devices say."""

from pathlib import Path
from typing import Any

import pytest

from cloud.searches import trace
from cloudedge.documents.automl import TraceRow
from cloudedge.store import DirectoryStore
from tests.cloud.searches.rows import happened, keep, kept


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


def test_what_is_kept_is_read(store: DirectoryStore) -> None:
    rows = happened(3)
    keep(store, rows[:2])
    keep(store, rows[2:])
    assert kept(store) == rows


def test_a_store_without_searches_has_none(store: DirectoryStore) -> None:
    assert kept(store) == []


def test_a_search_counts_once_and_stays_as_it_was_first_told(store: DirectoryStore) -> None:
    (row,) = happened(1)
    keep(store, [row, row.model_copy(update={"trials": (), "best": None})])
    keep(store, [row.model_copy(update={"why": "another"})])
    assert kept(store) == [row]


@pytest.mark.parametrize(
    "id",
    [
        "",
        "../../runs/a",
        "a.search.hall-1.1/../x",
        "search.search.hall-1",
        "search.search.hall-2.1",
        "-.search.hall-1.1",
        "search.search.hall-1.1\n",
    ],
)
def test_a_search_that_is_not_named_after_an_order_to_its_device_is_not_kept(store: DirectoryStore, id: str) -> None:
    one, other = happened(2)
    keep(store, [one.model_copy(update={"id": id}), other])
    assert kept(store) == [other]


def stored(row: TraceRow, **changes: Any) -> bytes:
    return row.model_copy(update=changes).model_dump_json().encode()


def test_what_cannot_be_read_is_passed_over_and_named(store: DirectoryStore) -> None:
    one, two = happened(2)
    keep(store, [one])
    strange = {
        "automl/trace/another.json": stored(two),
        "automl/trace/search.search.hall-1.2.json": b"{",
        "automl/trace/search.search.hall-1.3.json": b"[" * 100_000,
        "automl/trace/search.search.hall-1.4.json": stored(two, device="hall-2"),
        "automl/trace/search.search.hall-1.5.json": b'{"id": "search.search.hall-1.5"}',
    }
    for key, content in strange.items():
        store.put(key, content)
    assert kept(store) == [one]
    assert {key for key, row in trace.entries(store) if row is None} == set(strange)


def test_a_deleted_run_leaves_its_searches(store: DirectoryStore) -> None:
    rows = happened(1)
    keep(store, rows)
    store.put("runs/search/task.json", b"{}")
    store.delete_below("runs/search")
    assert kept(store) == rows
