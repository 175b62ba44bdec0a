"""Samples in the store are the folder that was put there."""

from pathlib import Path

import pytest

from cloudedge.errors import InvalidInput, NotFound
from cloudedge.store import DirectoryStore
from components.shared import datasets


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for name, content in {"a/1.csv": "1", "a/2.csv": "22", "b.csv": "333", ".hidden": "x", "a/.tmp/4.csv": "y"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
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


def test_a_file_whose_name_cannot_be_a_key_stops_all_before_any_is_put(store: DirectoryStore, source: Path) -> None:
    (source / "two words.csv").write_text("1")
    with pytest.raises(InvalidInput, match=r"datasets/line-3/two words\.csv.*letters, digits"):
        list(datasets.put(store, "line-3", source))
    assert datasets.names(store) == ()
