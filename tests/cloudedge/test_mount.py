"""A mounted directory is whole, old or new, for every reader and after every crash."""

import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from cloudedge.errors import NotFound, StoreFailed
from cloudedge.mount import DATA, read_mount, write_mount
from tests.waiting import until


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_mount(tmp_path / "mount", {"a": b"1", "b": b"2"})
    assert read_mount(tmp_path / "mount", "a") == b"1"
    assert read_mount(tmp_path / "mount", "b") == b"2"


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for directory in (tmp_path / "nothing", tmp_path, tmp_path / "file"):
        with pytest.raises(NotFound, match=f"no a mounted at {directory}"):
            read_mount(directory, "a")
    write_mount(tmp_path, {"a": b"1"})
    with pytest.raises(NotFound, match="no b mounted"):
        read_mount(tmp_path, "b")
    with pytest.raises(StoreFailed, match="Cannot read"):
        read_mount(tmp_path, ".")


def test_a_reader_finds_a_whole_state_however_often_it_is_replaced(tmp_path: Path) -> None:
    write_mount(tmp_path, {"a": b"0"})
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            write_mount(tmp_path, {"a": str(number).encode()})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [int(read_mount(tmp_path, "a")) for _ in range(2000)]
    finally:
        stop.set()
        writer.join()
    assert seen == sorted(seen)


def test_a_writer_killed_at_any_moment_leaves_a_whole_state(tmp_path: Path) -> None:
    program = """
        import itertools, sys
        from pathlib import Path
        from cloudedge.mount import write_mount

        for number in itertools.count():
            write_mount(Path(sys.argv[1]), {name: bytes([number % 256]) * 50_000 for name in "ab"})
    """
    for number in range(3):
        mount = tmp_path / str(number)
        writer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), str(mount)])
        try:
            until((mount / "b").exists)
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        content = read_mount(mount, "a")
        assert content == content[:1] * 50_000
        assert read_mount(mount, "b") == content
        write_mount(mount, {"a": b"1"})
        assert {path.name for path in mount.iterdir()} == {DATA, "a", str((mount / DATA).readlink())}


def test_a_full_disk_leaves_the_former_state_and_no_litter(tmp_path: Path) -> None:
    write_mount(tmp_path, {"a": b"1"})
    before = sorted(path.name for path in tmp_path.iterdir())
    program = """
        import resource, sys
        from pathlib import Path
        from cloudedge.errors import StoreFailed
        from cloudedge.mount import write_mount

        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        for _ in range(2):
            try:
                write_mount(Path(sys.argv[1]), {"a": bytes(2000)})
            except StoreFailed as error:
                print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.count(f"Cannot write {tmp_path}: File too large.") == 2
    assert read_mount(tmp_path, "a") == b"1"
    assert sorted(path.name for path in tmp_path.iterdir()) == before
