"""Which meta model leads searches."""

import hashlib
from pathlib import Path

import pytest

from cloud.searches import meta_models
from cloudedge.automl.meta.files import SHIPPED
from cloudedge.automl.meta.model import MetaModel
from cloudedge.errors import InvalidInput, InvalidModel, NotFound
from cloudedge.store import DirectoryStore


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Another meta model than the shipped one."""
    shipped = MetaModel.load()
    folder = tmp_path / "trained"
    MetaModel(shipped.card.model_copy(update={"trained_on": "searches"}), shipped._network).save(folder)
    return folder


def settled(store: DirectoryStore, folder: Path, run: str, *, passed: bool = True) -> meta_models.MetaModelRecord:
    record = meta_models.put(store, folder, run=run, searches=60, passed=passed)
    meta_models.settle(store, record)
    return record


def read(store: DirectoryStore, record: meta_models.MetaModelRecord, folder: Path) -> MetaModel:
    meta_models.bring(store, record, folder)
    return MetaModel.load(folder)


def test_the_shipped_one_is_put_into_the_store_once(store: DirectoryStore, tmp_path: Path) -> None:
    first, second = meta_models.shipped(store), meta_models.shipped(store)
    assert first == second
    assert first.run == ""
    for file in (first.weights, first.card):
        content = store.get(file.key, file.size)
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)
    assert len(list(store.list("automl"))) == 2
    assert read(store, first, tmp_path / "read").card == MetaModel.load(SHIPPED).card


def test_of_a_store_in_which_none_was_trained_there_is_no_newest_one(store: DirectoryStore) -> None:
    meta_models.shipped(store)
    assert meta_models.newest(store) is meta_models.newest_refused(store) is None


def test_a_newest_one_that_cannot_be_read_is_named_with_the_way_out(store: DirectoryStore) -> None:
    store.put("automl/newest.json", b"{}")

    with pytest.raises(
        InvalidInput, match=r"(?s)^automl/newest.json is not a valid .*\nDelete automl/newest.json from the store: "
    ):
        meta_models.newest(store)


def test_one_that_passed_is_the_newest_one_and_stays_when_its_run_is_deleted(
    store: DirectoryStore, trained: Path, tmp_path: Path
) -> None:
    record = settled(store, trained, "meta-1")
    assert meta_models.newest(store) == record == meta_models.of_run(store, "meta-1")
    store.delete_below("runs/meta-1")
    assert meta_models.newest(store) == record == meta_models.of_run(store, "meta-1")
    assert read(store, record, tmp_path / "read").card.trained_on == "searches"


def test_one_leads_once_it_is_settled_and_an_older_one_does_not_take_its_place_again(
    store: DirectoryStore, trained: Path
) -> None:
    record = meta_models.put(store, trained, run="meta-1")
    assert meta_models.newest(store) is None
    meta_models.settle(store, record)
    newer = settled(store, SHIPPED, "meta-2")
    meta_models.settle(store, record)
    assert meta_models.newest(store) == newer


def test_files_that_were_altered_or_are_gone_are_not_used(store: DirectoryStore, trained: Path, tmp_path: Path) -> None:
    record = settled(store, trained, "meta-1")
    store.put(record.card.key, b"{}")
    with pytest.raises(InvalidModel, match="was altered in the store"):
        meta_models.bring(store, record, tmp_path / "read")
    store.delete(record.weights.key)
    with pytest.raises(NotFound):
        meta_models.bring(store, record, tmp_path / "read")


def test_one_that_was_refused_leads_nothing(store: DirectoryStore, trained: Path) -> None:
    passed, refused = settled(store, SHIPPED, "meta-1"), settled(store, trained, "meta-2", passed=False)
    assert meta_models.newest(store) == passed
    assert meta_models.newest_refused(store) == refused
    with pytest.raises(NotFound, match="'meta-2' did not pass its gate. Give 'shipped' .*'meta-1' for the newest one"):
        meta_models.of_run(store, "meta-2")


def test_a_run_that_trained_none_is_said_with_the_way_out(store: DirectoryStore) -> None:
    with pytest.raises(NotFound, match="'other' is not in the store. Give 'shipped'"):
        meta_models.of_run(store, "other")
    with pytest.raises(InvalidInput, match="'../x' is not a name of a run"):
        meta_models.of_run(store, "../x")
