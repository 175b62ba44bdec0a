"""The directory that is replaced as a whole."""

import threading
from pathlib import Path

import pytest

from cloudedge.errors import StoreFailed
from cloudedge.mount import write_mount


def test_it_looks_as_kubelet_leaves_it(tmp_path: Path) -> None:
    write_mount(tmp_path, {"inbox.json": b"1", "other": b"2"})
    assert (tmp_path / "inbox.json").readlink() == Path("..data/inbox.json")
    target = (tmp_path / "..data").readlink()
    assert str(target).startswith("..20")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["..data", str(target), "inbox.json", "other"])
    assert (tmp_path / "inbox.json").read_bytes() == b"1"


def test_a_new_state_replaces_all_of_the_former(tmp_path: Path) -> None:
    write_mount(tmp_path, {"inbox.json": b"1", "other": b"2"})
    before = (tmp_path / "..data").readlink()
    write_mount(tmp_path, {"inbox.json": b"3"})
    assert (tmp_path / "inbox.json").read_bytes() == b"3"
    assert not (tmp_path / before).exists()
    assert not (tmp_path / "other").is_symlink()


def test_a_reader_never_sees_two_states_mixed(tmp_path: Path) -> None:
    write_mount(tmp_path, {"a": b"0", "b": b"0"})
    seen = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            folder = tmp_path / (tmp_path / "..data").readlink()
            try:
                seen.append(((folder / "a").read_bytes(), (folder / "b").read_bytes()))
            except FileNotFoundError:
                continue  # Replaced in between; a reader looks again.

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 50):
        content = str(number).encode()
        write_mount(tmp_path, {"a": content, "b": content})
    stop.set()
    reader.join()
    assert seen
    assert all(a == b for a, b in seen)


def test_what_a_dead_writer_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "..2020_01_01").mkdir()
    write_mount(tmp_path, {"a": b"1"})
    assert not (tmp_path / "..2020_01_01").exists()


def test_a_place_that_is_no_directory_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreFailed, match="Cannot write"):
        write_mount(tmp_path / "file" / "inbox", {"a": b"1"})
