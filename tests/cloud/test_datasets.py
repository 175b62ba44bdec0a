"""Samples in the store are the folder that was put there."""

import contextlib
import itertools
import os
import shutil
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cloud import datasets
from cloudedge.errors import InvalidInput, InvalidModel, NotFound, StoreFailed
from cloudedge.store import DirectoryStore, Store
from tests.cloud.watched_store import WatchedStore
from tests.components.cloud import content


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for name, text in {"a/1.csv": "1", "a/2.csv": "22", "b.csv": "333", ".hidden": "x", "a/.tmp/4.csv": "y"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_what_is_put_is_found_on_another_machine(store: DirectoryStore, source: Path, tmp_path: Path) -> None:
    told = list(datasets.put(store, "line-3", source))
    assert sorted((path.name, size) for path, size in told) == [("1.csv", 1), ("2.csv", 2), ("b.csv", 3)]
    folder = datasets.local_folder(store, "store:line-3", tmp_path / "scratch")
    assert files(folder) == {"a/1.csv": "1", "a/2.csv": "22", "b.csv": "333"}
    assert datasets.names(store) == ("line-3",)


def test_what_is_here_whole_is_not_brought_again(store: DirectoryStore, source: Path, tmp_path: Path) -> None:
    list(datasets.put(store, "line-3", source))
    folder = datasets.local_folder(store, "store:line-3", tmp_path / "scratch")
    datasets.delete(store, "line-3")
    assert datasets.local_folder(store, "store:line-3", tmp_path / "scratch") == folder


def test_what_is_put_again_replaces_what_was_there(store: DirectoryStore, source: Path, tmp_path: Path) -> None:
    list(datasets.put(store, "line-3", source))
    (source / "a" / "1.csv").unlink()
    (source / "b.csv").write_text("4")
    list(datasets.put(store, "line-3", source))
    assert files(datasets.local_folder(store, "store:line-3", tmp_path / "scratch")) == {"a/2.csv": "22", "b.csv": "4"}
    list(datasets.put(store, "line-3", source / "b.csv"))
    assert files(datasets.local_folder(store, "store:line-3", tmp_path / "other")) == {"b.csv": "4"}


def test_a_path_is_itself(store: DirectoryStore, tmp_path: Path) -> None:
    assert datasets.local_folder(store, "/data/cloud", tmp_path) == Path("/data/cloud")


def test_what_is_not_there_is_named(store: DirectoryStore, source: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no dataset 'line-4' in the store; there are: none\. .*cloudedge data put line-4"):
        datasets.local_folder(store, "store:line-4", tmp_path)
    list(datasets.put(store, "line-3", source))
    with pytest.raises(NotFound, match="there are: line-3"):
        datasets.delete(store, "line-4")
    with pytest.raises(InvalidInput, match="is not a name of a dataset"):
        datasets.local_folder(store, "store:../runs", tmp_path)
    with pytest.raises(NotFound, match="no file in"):
        list(datasets.put(store, "line-3", tmp_path / "missing"))


def test_of_files_without_a_list_it_is_said_that_they_are_to_be_put_again(
    store: DirectoryStore, source: Path, tmp_path: Path
) -> None:
    """An older version put none."""
    store.put("datasets/line-3/a/1.csv", b"1")
    next(datasets.put(store, "line-4", source))
    for name in ("line-3", "line-4"):
        again = rf"'{name}' is not there whole: .* older version .* Put it again: cloudedge data put {name} FOLDER"
        with pytest.raises(NotFound, match=again):
            datasets.local_folder(store, f"store:{name}", tmp_path)
        with pytest.raises(NotFound, match=again):
            datasets.require(store, name)


def test_linked_folders_go_along_and_what_cannot_be_read_stops_all(store: DirectoryStore, source: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "5.csv").write_text("5")
    (source / "linked").symlink_to(tmp_path / "elsewhere")
    (source / "__MACOSX").mkdir()
    (source / "__MACOSX" / "6.csv").write_text("6")
    assert {path.name for path, _ in datasets.put(store, "line-3", source)} == {"1.csv", "2.csv", "5.csv", "b.csv"}
    os.mkfifo(source / "pipe.csv")
    with pytest.raises(InvalidInput, match=r"pipe\.csv is a named pipe"):
        list(datasets.put(store, "line-4", source))
    with pytest.raises(InvalidInput, match=r"pipe\.csv is a named pipe"):
        list(datasets.put(store, "line-4", source / "pipe.csv"))
    (source / "pipe.csv").rename(source / os.fsdecode(b"S\xfcd.csv"))
    with pytest.raises(InvalidInput, match=r"S\\xfcd\.csv has a name that is not UTF-8: rename it"):
        list(datasets.put(store, "line-4", source))
    assert datasets.names(store) == ("line-3",)


def test_what_cannot_be_put_is_named_all_at_once_before_any_is(store: DirectoryStore, source: Path) -> None:
    list(datasets.put(store, "line-3", source / "b.csv"))
    (source / "two words.csv").write_text("1")
    (source / "S\udcfcd.csv").write_text("1")
    (source / "a" / "linked").symlink_to(source.parent)
    (source / "a" / "broken.csv").symlink_to("nowhere")
    os.mkfifo(source / "pipe.csv")
    with pytest.raises(InvalidInput) as refused:
        list(datasets.put(store, "line-3", source))
    title, *faults = str(refused.value).splitlines()
    assert title == f"{source} cannot be put into the store:"
    assert sorted(faults) == sorted(
        [
            f"  - {source}/two words.csv cannot be a key: rename it: "
            "use letters, digits, '.', '_' and '-', a letter or digit first",
            f"  - {source}/S\\xfcd.csv has a name that is not UTF-8: rename it",
            f"  - {source}/a/linked leads to {source.parent}, whose files are found without it: remove the link",
            f"  - {source}/a/broken.csv cannot be read: No such file or directory; check it and its rights",
            f"  - {source}/pipe.csv is a named pipe, not a file of samples: take it away",
        ]
    )
    assert set(content(store, "datasets").values()) >= {b"333"}
    assert len(content(store, "datasets")) == 2


def test_so_many_files_that_cannot_be_put_are_counted(store: DirectoryStore, source: Path) -> None:
    for number in range(25):
        (source / f"file {number}").write_text("1")
    with pytest.raises(InvalidInput, match="  - and 5 more$"):
        list(datasets.put(store, "line-3", source))


# Whole, or not at all


OLD = {"a/1.csv": "1", "a/2.csv": "22", "b.csv": "333"}
NEW = {"a/2.csv": "different", "c.csv": "4"}


def write(folder: Path, wanted: dict[str, str]) -> Path:
    for name, text in wanted.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def fetched(store: Store, folder: Path) -> dict[str, str]:
    shutil.rmtree(folder, ignore_errors=True)
    return files(datasets.local_folder(store, "store:line-3", folder))


def test_wherever_a_put_is_interrupted_the_former_dataset_or_the_new_one_is_there_whole(
    store: DirectoryStore, tmp_path: Path
) -> None:
    old, new = write(tmp_path / "old", OLD), write(tmp_path / "new", NEW)
    seen = []
    for most in itertools.count():
        list(datasets.put(store, "line-3", old))
        dying = WatchedStore(store, most)
        done = False
        with contextlib.suppress(StoreFailed):
            list(datasets.put(dying.as_store, "line-3", new))
            done = True
        seen.append(fetched(store, tmp_path / "scratch"))
        if done:
            break
    before = seen.count(OLD)
    assert before > 2
    assert seen == [OLD] * before + [NEW] * (len(seen) - before)


def test_wherever_a_first_put_or_a_removal_is_interrupted_the_dataset_is_whole_or_unseen(
    store: DirectoryStore, tmp_path: Path
) -> None:
    new = write(tmp_path / "new", NEW)

    def whole_or_unseen() -> bool:
        return datasets.names(store) == () or fetched(store, tmp_path / "scratch") == NEW

    for most in range(12):
        with contextlib.suppress(StoreFailed):
            list(datasets.put(WatchedStore(store, most).as_store, "line-3", new))
        assert whole_or_unseen()
        list(datasets.put(store, "line-3", new))
        with contextlib.suppress(StoreFailed):
            datasets.delete(WatchedStore(store, most).as_store, "line-3")
        assert whole_or_unseen()
        with contextlib.suppress(NotFound):
            datasets.delete(store, "line-3")
        assert content(store, "datasets") == {}


def test_a_put_that_was_interrupted_sends_only_what_is_missing(store: DirectoryStore, tmp_path: Path) -> None:
    old = write(tmp_path / "old", OLD)
    interrupted = datasets.put(store, "line-3", old)
    next(interrupted)
    next(interrupted)
    again = WatchedStore(store)
    list(datasets.put(again.as_store, "line-3", old))
    assert [key.rpartition("/")[2] for asked, key in again.requests if asked == "put_file"] == ["b.csv"]


def test_of_two_that_put_at_once_one_is_there_whole(store: DirectoryStore, tmp_path: Path) -> None:
    puts = [datasets.put(store, "line-3", write(tmp_path / name, wanted)) for name, wanted in (("old", OLD), ("new", NEW))]
    for pair in itertools.zip_longest(*puts):
        assert any(pair)
        assert datasets.names(store) == () or fetched(store, tmp_path / "scratch") in (OLD, NEW)
    assert fetched(store, tmp_path / "scratch") in (OLD, NEW)


@pytest.mark.parametrize(("one", "other"), [(OLD, NEW), (NEW, OLD)])
def test_whenever_somebody_else_puts_meanwhile_one_of_the_two_datasets_is_there_whole(
    store: DirectoryStore, tmp_path: Path, one: dict[str, str], other: dict[str, str]
) -> None:
    """Who puts again what is there sends nothing; who takes its place removes it."""
    old, ours, theirs = (write(tmp_path / at, wanted) for at, wanted in (("0", OLD), ("1", one), ("2", other)))
    for nth in itertools.count():
        list(datasets.put(store, "line-3", old))
        watched = WatchedStore(store, before=(nth, lambda: list(datasets.put(store, "line-3", theirs))))
        list(datasets.put(watched.as_store, "line-3", ours))
        assert fetched(store, tmp_path / "scratch") in (one, other)
        if ("put", "datasets/line-3/list.json") in watched.requests[:nth]:
            break


def test_a_dataset_that_is_replaced_while_it_is_fetched_is_fetched_anew(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = write(tmp_path / "old", OLD), write(tmp_path / "new", NEW)
    list(datasets.put(store, "line-3", old))
    local = store.local

    def replaced_meanwhile(key: str) -> AbstractContextManager[Path]:
        if key.endswith("a/2.csv"):
            list(datasets.put(store, "line-3", new))
        return local(key)

    monkeypatch.setattr(store, "local", replaced_meanwhile)
    assert fetched(store, tmp_path / "scratch") == NEW


def test_what_was_put_long_ago_and_never_listed_goes_with_the_next_put(store: DirectoryStore, tmp_path: Path) -> None:
    next(datasets.put(store, "line-3", write(tmp_path / "old", OLD)))
    store.put("datasets/line-3/by-an-older-version.csv", b"1")
    for path in (store.root / "datasets").rglob("*"):
        os.utime(path, (time.time() - 90_000,) * 2)
    next(datasets.put(store, "line-3", write(tmp_path / "other", {"other.csv": "5"})))  # By somebody who is at it.
    list(datasets.put(store, "line-3", write(tmp_path / "new", NEW)))
    kept = {"a/2.csv", "c.csv", "other.csv", "list.json"}
    assert {"/".join(key.split("/")[3:]) or "list.json" for key in content(store, "datasets")} == kept


def test_a_file_that_was_altered_in_the_store_is_named(store: DirectoryStore, tmp_path: Path) -> None:
    list(datasets.put(store, "line-3", write(tmp_path / "old", OLD)))
    (altered,) = (store.root / "datasets").rglob("b.csv")
    altered.write_text("334")
    with pytest.raises(InvalidModel, match=r"b.csv' is not the file that was put.*cloudedge data put line-3 FOLDER"):
        fetched(store, tmp_path / "scratch")


def test_a_file_that_changes_while_it_is_put_is_named_and_the_former_dataset_stays(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = write(tmp_path / "old", OLD), write(tmp_path / "new", NEW)
    list(datasets.put(store, "line-3", old))
    put_file = store.put_file

    def changed_meanwhile(key: str, path: Path) -> None:
        path.write_text("changed")
        put_file(key, path)

    monkeypatch.setattr(store, "put_file", changed_meanwhile)
    with pytest.raises(InvalidInput, match="a/2.csv' was changed while it was put"):
        list(datasets.put(store, "line-3", new))
    assert fetched(store, tmp_path / "scratch") == OLD


def test_a_file_that_cannot_be_read_is_named(store: DirectoryStore, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "b.csv")
    with pytest.raises(InvalidInput, match=r"b\.csv cannot be read: give this user the right to"):
        list(datasets.put(store, "line-3", source))
