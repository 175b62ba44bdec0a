"""The mounted directory, as kubelet and the laptop's carrier write it."""

import os
from pathlib import Path

import pytest

from cloudedge.documents import Inbox
from cloudedge.errors import InvalidDocument
from cloudedge.mount import write_mount
from edge.runner.inbox import InboxDirectory
from tests.waiting import until


def put(directory: Path, generation: int) -> None:
    write_mount(directory, {"inbox.json": Inbox(edge="edge-1", generation=generation).to_json()})


def test_a_directory_that_is_not_there_says_nothing_and_is_not_dead(tmp_path: Path) -> None:
    inbox = InboxDirectory(tmp_path / "inbox")
    assert inbox.poll() is None
    assert not inbox.dead


def test_each_state_is_taken_once(tmp_path: Path) -> None:
    inbox = InboxDirectory(tmp_path)
    for generation in (1, 2):
        put(tmp_path, generation)
        taken = inbox.poll()
        assert taken is not None
        assert taken.generation == generation
        assert inbox.poll() is None


def test_what_could_not_be_put_into_effect_is_taken_again(tmp_path: Path) -> None:
    inbox = InboxDirectory(tmp_path)
    put(tmp_path, 1)
    assert inbox.poll() is not None
    inbox.retry()
    assert inbox.poll() is not None


def test_a_malformed_state_is_told_of_once(tmp_path: Path) -> None:
    inbox = InboxDirectory(tmp_path)
    write_mount(tmp_path, {"inbox.json": b"[]"})
    with pytest.raises(InvalidDocument):
        inbox.poll()
    assert inbox.poll() is None


@pytest.mark.parametrize("lost", ["link", "file"])
def test_an_inbox_that_was_there_and_is_gone_is_dead(tmp_path: Path, lost: str) -> None:
    inbox = InboxDirectory(tmp_path)
    put(tmp_path, 1)
    inbox.poll()
    (tmp_path / "..data" / "inbox.json" if lost == "file" else tmp_path / "..data").unlink()
    assert inbox.poll() is None
    assert not inbox.dead
    until(lambda: inbox.poll() is None and inbox.dead)


def test_a_removed_directory_that_is_still_mounted_is_dead_even_if_no_inbox_was_ever_seen_in_it(tmp_path: Path) -> None:
    mounted = tmp_path / "inbox"
    mounted.mkdir()
    descriptor = os.open(mounted, os.O_PATH)
    try:
        mounted.rmdir()
        inbox = InboxDirectory(Path(f"/proc/self/fd/{descriptor}"))  # Like a mount, it keeps what has no name any more.
        until(lambda: inbox.poll() is None and inbox.dead)
    finally:
        os.close(descriptor)


def test_an_inbox_that_comes_back_is_not_dead(tmp_path: Path) -> None:
    inbox = InboxDirectory(tmp_path)
    put(tmp_path, 1)
    inbox.poll()
    (tmp_path / "..data").unlink()
    inbox.poll()
    put(tmp_path, 2)
    assert inbox.poll() is not None
    assert not inbox.dead
