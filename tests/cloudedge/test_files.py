"""A file is there whole, old or new, whatever the disk does and whoever is killed."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudedge.errors import Conflict, NotFound, StoreFailed
from cloudedge.files import TEMPORARY, atomic_copy, atomic_place, atomic_write
from tests.waiting import PATIENCE, until


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def litter(folder: Path) -> list[Path]:
    return list(folder.rglob(f"{TEMPORARY}*"))


def run(program: str, *arguments: object) -> str:
    """Run a program in a process of its own; what it printed."""
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_file_is_made_with_its_folders_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    atomic_write(path, b"old")
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_folders_that_had_to_be_made_survive_a_power_cut_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was synchronised is seen at the system call: nothing else shows it without cutting the power."""
    synced: set[int] = set()
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    path = tmp_path / "a" / "b" / "file"
    atomic_write(path, b"content")
    assert {entry.stat().st_ino for entry in (path, path.parent, tmp_path / "a", tmp_path)} <= synced


def test_a_pipe_is_written_into_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    atomic_write(pipe, b"content")
    reader.join(PATIENCE)
    assert read == [b"content"]
    assert pipe.is_fifo()
    assert names(tmp_path) == ["pipe"]


@pytest.mark.parametrize("door", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_what_a_process_has_open_is_written_into_and_not_replaced(tmp_path: Path, door: str) -> None:
    program = """
        import sys
        from pathlib import Path
        from cloudedge.files import atomic_write
        atomic_write(Path(sys.argv[1]), b"content")
    """
    assert run(program, door) == "content"
    with (tmp_path / "redirected").open("ab") as file:
        for _ in range(2):
            subprocess.run([sys.executable, "-c", textwrap.dedent(program), door], stdout=file, check=True)
    assert (tmp_path / "redirected").read_bytes() == b"contentcontent"
    assert Path("/dev/stdout").is_symlink()


def test_a_link_to_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "link").symlink_to("other")
    atomic_write(tmp_path / "link", b"content")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "other").read_bytes() == b"other"


def test_a_file_written_once_is_never_replaced(tmp_path: Path) -> None:
    atomic_write(tmp_path / "file", b"first", once=True)
    with pytest.raises(Conflict, match="only once"):
        atomic_write(tmp_path / "file", b"second", once=True)
    with pytest.raises(Conflict, match="only once"):
        atomic_copy(Path(__file__), tmp_path / "file", once=True)
    assert (tmp_path / "file").read_bytes() == b"first"
    assert names(tmp_path) == ["file"]


def test_a_copy_is_of_the_same_bytes(tmp_path: Path) -> None:
    content = os.urandom(3 * 1024 * 1024 + 1)
    (tmp_path / "source").write_bytes(content)
    atomic_copy(tmp_path / "source", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


def test_a_source_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file .*source"):
        atomic_copy(tmp_path / "source", tmp_path / "copy")
    with pytest.raises(StoreFailed, match=f"Cannot read {tmp_path}"):
        atomic_copy(tmp_path, tmp_path / "copy")
    assert names(tmp_path) == []


def test_a_writer_that_breaks_leaves_everything_as_it_was(tmp_path: Path) -> None:
    atomic_write(tmp_path / "file", b"old")

    def breaks(file: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        atomic_place(tmp_path / "file", breaks)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert litter(tmp_path) == []


def test_a_reader_never_sees_a_half(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = {bytes([number]) * 100_000 for number in range(30)}
    atomic_write(path, min(contents))
    seen, stop = set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for content in sorted(contents):
        atomic_write(path, content)
    stop.set()
    reader.join()
    assert seen <= contents


def test_a_file_beyond_the_limit_leaves_the_old_one_and_names_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write(path, b"old")
    said = run(
        """
        import resource, sys
        from pathlib import Path
        from cloudedge.errors import StoreFailed
        from cloudedge.files import atomic_copy, atomic_write

        path, source = Path(sys.argv[1]), Path(sys.argv[2])
        source.write_bytes(bytes(200_000))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        for write in (lambda: atomic_write(path, bytes(200_000)), lambda: atomic_copy(source, path)):
            try:
                write()
            except StoreFailed as error:
                print(error)
        """,
        path,
        tmp_path / "source",
    )
    assert said.splitlines() == [f"Cannot write {path}: File too large. Files may not grow this large here (ulimit -f): "
                                 "raise the limit and start again; nothing is lost."] * 2  # fmt: skip
    assert path.read_bytes() == b"old"
    assert litter(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("only an administrator can mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_old_file_and_names_the_remedy(small_disk: Path) -> None:
    path = small_disk / "file"
    atomic_write(path, b"old")
    for once in (False, True):
        target = small_disk / "new" if once else path
        with pytest.raises(StoreFailed) as raised:
            atomic_write(target, bytes(2 * 1024 * 1024), once=once)
        assert str(raised.value) == (
            f"Cannot write {target}: No space left on device. "
            "The disk is full: free some space and start again; nothing is lost."
        )
    assert path.read_bytes() == b"old"
    assert names(small_disk) == ["file"]
    atomic_write(path, bytes(700_000))


def test_a_place_below_a_file_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreFailed, match=f"Cannot write {tmp_path}/file/below"):
        atomic_write(tmp_path / "file" / "below", b"")


def test_a_crash_before_the_rename_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write(path, b"old")
    program = """
        import sys, time
        from pathlib import Path
        from cloudedge.files import atomic_place

        def hang(file):
            file.write(b"new")
            file.flush()
            time.sleep(600)

        atomic_place(Path(sys.argv[1]), hang)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), str(path)])
    try:
        until(lambda: [part for part in litter(tmp_path) if part.read_bytes() == b"new"])
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.read_bytes() == b"old"
    atomic_write(path, b"newer")
    assert path.read_bytes() == b"newer"


def test_of_many_writers_killed_at_any_moment_none_leaves_a_half(tmp_path: Path) -> None:
    path = tmp_path / "file"
    size = 300_000
    program = f"""
        import itertools, sys
        from pathlib import Path
        from cloudedge.files import atomic_write

        for number in itertools.count():
            atomic_write(Path(sys.argv[1]), bytes([number % 256]) * {size})
    """
    for _ in range(3):
        path.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), str(path)])
        try:
            until(path.exists)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        content = path.read_bytes()
        assert content == content[:1] * size
