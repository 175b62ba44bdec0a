"""What is found in folders as people, programs and accidents fill them: every file once, or one named fault."""

import errno
import os
import socket
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloudedge.names import is_passed_over
from cloudedge.places import files_below, found_at, is_utf8, shown_path, subfolders


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path


def good(root: Path) -> list[str]:
    return [str(found.path.relative_to(root)) for found in files_below(root) if found.fault is None]


def faults(root: Path) -> dict[str, str]:
    return {str(found.path.relative_to(root)): found.fault for found in files_below(root) if found.fault is not None}


def test_files_are_found_in_sorted_order_at_any_depth(tmp_path: Path) -> None:
    for name in ("b.csv", "a/z/2.csv", "a/1.csv", "a b/1.csv"):
        write(tmp_path / name)
    assert good(tmp_path) == ["a/1.csv", "a/z/2.csv", "a b/1.csv", "b.csv"]
    assert [found.path.name for found in files_below(tmp_path, lambda name: name.startswith("2"))] == ["2.csv"]


@pytest.mark.parametrize(
    "name",
    [
        ".hidden",
        ".DS_Store",
        ".ipynb_checkpoints",
        "__MACOSX",
        "lost+found",
        "@eaDir",
        "$RECYCLE.BIN",
        "System Volume Information",
    ],
)
def test_hidden_and_system_folders_are_passed_over(name: str, tmp_path: Path) -> None:
    write(tmp_path / name / "a.csv")
    write(tmp_path / "hall-1" / "a.csv")
    assert is_passed_over(name)
    assert good(tmp_path) == ["hall-1/a.csv"]
    assert subfolders(tmp_path) == [tmp_path / "hall-1"]


def test_linked_folders_and_files_are_followed(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "week" / "1.csv")
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "one.csv").symlink_to(tmp_path / "elsewhere" / "week" / "1.csv")
    assert good(root) == ["linked/week/1.csv", "one.csv"]
    assert faults(root) == {}
    assert subfolders(root) == [root / "linked"]


def test_a_link_back_to_a_folder_that_it_lies_in_adds_nothing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root / "a" / "b" / "1.csv")
    (root / "a" / "b" / "up").symlink_to(root / "a")
    (root / "self").symlink_to(".")
    assert good(root) == ["a/b/1.csv"]
    assert faults(root) == {}


@pytest.mark.parametrize("target", ["..", "../..", "/"])
def test_a_link_out_to_what_is_around_the_folder_is_a_fault(target: str, tmp_path: Path) -> None:
    root = tmp_path / "data" / "cloud"
    write(tmp_path / "data" / "test" / "1.csv")
    write(root / "2.csv")
    (root / "more").symlink_to(target)
    assert good(root) == ["2.csv"]
    assert "whose files are found without it: remove the link" in faults(root)["more"]


def test_of_two_ways_to_one_folder_the_link_is_a_fault(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root / "good" / "1.png")
    write(root / "worn" / "2.png")
    write(tmp_path / "elsewhere" / "3.png")
    (root / "good" / "also").symlink_to(root / "worn")
    (root / "a").symlink_to(tmp_path / "elsewhere")
    (root / "b").symlink_to(tmp_path / "elsewhere")
    assert good(root) == ["a/3.png", "good/1.png", "worn/2.png"]
    assert {name: fault.split(",")[0] for name, fault in faults(root).items()} == {
        "b": f"leads to {root / 'a'}",
        "good/also": f"leads to {root / 'worn'}",
    }


def test_what_would_let_a_reader_wait_is_named_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "null.csv").symlink_to("/dev/null")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    (tmp_path / "gone.csv").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as listening:
        folder = os.open(tmp_path, os.O_RDONLY)
        try:
            listening.bind(f"/proc/self/fd/{folder}/socket.csv")  # The whole path may be longer than a socket's can be.
        finally:
            os.close(folder)
        found = faults(tmp_path)
    assert found["pipe.csv"] == "is a named pipe, not a file of samples: take it away"
    assert found["socket.csv"] == "is a socket, not a file of samples: take it away"
    assert found["null.csv"] == "is a device, not a file of samples: take it away"
    assert found["loop.csv"].startswith("cannot be read: Too many levels of symbolic links")
    assert found["gone.csv"].startswith("cannot be read: No such file")
    assert good(tmp_path) == []


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "closed" / "1.csv")
    scan = os.scandir

    def scandir(folder: Path) -> object:
        if folder.name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert faults(tmp_path) == {"closed": "cannot be listed: Permission denied; check its rights"}


def test_where_there_is_no_folder_there_are_no_files(tmp_path: Path) -> None:
    assert files_below(tmp_path / "nowhere") == []


NAMES = st.binary(min_size=1, max_size=40).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)


@settings(deadline=None)
@given(folder=NAMES, file=NAMES)
@example(folder=b"\x80", file=b".hidden")
def test_a_file_of_any_name_is_found_or_named_in_a_text_that_can_be_written(
    tmp_path_factory: pytest.TempPathFactory, folder: bytes, file: bytes
) -> None:
    root = tmp_path_factory.mktemp("any")
    path = root / os.fsdecode(folder)
    path.mkdir()
    (path / os.fsdecode(file)).touch()
    named = not is_utf8(path)  # Nobody looks into a folder that cannot be told.
    hidden = is_passed_over(os.fsdecode(folder)) or (is_passed_over(os.fsdecode(file)) and not named)
    found = files_below(root)
    assert len(found) == (0 if hidden else 1)
    for one in found:
        assert one.told().isprintable()
        assert (one.fault is None) == is_utf8(one.path)
        assert (found_at(one.path).fault is None) == (one.fault is None)
        assert one.fault is None or one.fault == "has a name that is not UTF-8: rename it"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"S\xfcd.csv", r"S\xfcd.csv"),
        ("Süd 温.csv".encode(), "Süd 温.csv"),
        (b"two\nlines\x1b[2J", r"two\nlines\x1b[2J"),
        ("\ud800".encode("utf-8", "surrogatepass"), r"\xed\xa0\x80"),
    ],
)
def test_a_path_is_shown_on_one_line_with_what_cannot_be_printed_escaped(name: bytes, shown: str) -> None:
    assert shown_path(os.fsdecode(name)) == shown
