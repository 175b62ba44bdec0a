"""Inboxes as directories that look like kubelet's mounts."""

import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cloud.inboxes import DirectoryInboxes, Inboxes, UnusableInbox
from cloud.inboxes.base import anew
from cloud.inboxes.directory import FILE
from cloudedge.documents import Inbox, parse
from cloudedge.errors import StoreFailed
from tests.cloud.inboxes.conformance import InboxConformance, Spoil, adding, newer_inboxes
from tests.cloud.runs.builders import order


class TestDirectoryInboxes(InboxConformance):
    """The suite that every carrier passes."""

    @pytest.fixture
    def inboxes(self, tmp_path: Path) -> Inboxes:
        return DirectoryInboxes(tmp_path / "the inboxes")

    @pytest.fixture
    def spoil(self, tmp_path: Path) -> Spoil:
        return lambda edge, text: (tmp_path / "the inboxes" / edge / FILE).resolve().write_text(text)


@pytest.fixture
def inboxes(tmp_path: Path) -> DirectoryInboxes:
    return DirectoryInboxes(tmp_path / "inboxes")


def test_an_inbox_is_written_as_kubelet_mounts_a_config_map(inboxes: DirectoryInboxes) -> None:
    inboxes.enroll("edge-1")
    inbox = inboxes.update("edge-1", adding(order("run", "edge-1")))
    mount = inboxes.root / "edge-1"
    target = (mount / "..data").readlink()
    assert re.fullmatch(r"\.\.\d{4}_\d\d_\d\d_\d\d_\d\d_\d\d\.\w+", str(target))
    assert (mount / FILE).readlink() == Path("..data") / FILE
    assert {path.name for path in mount.iterdir()} == {"..data", FILE, str(target)}
    assert (mount / FILE).read_bytes() == inbox.to_json()


def test_four_processes_that_update_at_once_lose_nothing(inboxes: DirectoryInboxes) -> None:
    inboxes.enroll("edge-1")
    program = """
import sys
from pathlib import Path
from cloud.inboxes import DirectoryInboxes
from tests.cloud.runs.builders import order
inboxes, first = DirectoryInboxes(Path(sys.argv[1])), int(sys.argv[2])
sys.stdin.readline()
for number in range(first, first + 10):
    inboxes.update("edge-1", lambda orders: [*orders, order("run", "edge-1", number)])
"""
    command = [sys.executable, "-c", program, str(inboxes.root)]
    writers = [subprocess.Popen([*command, str(number * 10)], stdin=subprocess.PIPE, text=True) for number in range(4)]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    inbox = inboxes.read("edge-1")
    assert sorted(int(order.step) for order in inbox.orders) == list(range(40))


def test_a_runner_that_looks_during_200_updates_sees_whole_inboxes_that_never_grow_older(inboxes: DirectoryInboxes) -> None:
    """As the edge looks: through the link, below what it led to; what was replaced in between it looks at again."""
    inboxes.enroll("edge-1")
    mount = inboxes.root / "edge-1"
    seen: list[bytes] = [b""]
    gone: list[Path] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.0002):
            folder = mount / (mount / "..data").readlink()
            try:
                content = (folder / FILE).read_bytes()
            except FileNotFoundError:
                gone.append(folder)
            else:
                if content != seen[-1]:
                    seen.append(content)

    runner = threading.Thread(target=look)
    runner.start()
    for number in range(200):
        inboxes.update("edge-1", lambda _, number=number: [order("run", "edge-1", number)])  # type: ignore[misc]
    stop.set()
    runner.join()
    found = [parse(Inbox, content, "inbox") for content in seen[1:]]
    assert [inbox.generation for inbox in found] == sorted({inbox.generation for inbox in found})
    assert all([int(order.step) for order in inbox.orders] == [inbox.generation - 1][: inbox.generation] for inbox in found)
    assert len(gone) == len(set(gone))


def test_what_is_no_inbox_is_told_of_and_an_empty_one_takes_its_place_when_the_edge_is_enrolled(
    inboxes: DirectoryInboxes, caplog: pytest.LogCaptureFixture
) -> None:
    inboxes.enroll("edge-1")
    (inboxes.root / "edge-1" / FILE).resolve().write_bytes(b"{}")
    with pytest.raises(UnusableInbox, match="(?s)edge: missing.*The next 'cloudedge run'"):
        inboxes.update("edge-1", adding(order("run", "edge-1")))
    inboxes.enroll("edge-1")
    assert inboxes.read("edge-1") == anew("edge-1", b"{}")
    (told,) = caplog.messages
    assert "whatever orders it held are lost" in told


def test_an_empty_inbox_is_newer_than_the_one_whose_place_it_takes(inboxes: DirectoryInboxes) -> None:
    """A runner ahead of its clock would not follow it else."""
    inboxes.enroll("edge-1")
    (inboxes.root / "edge-1" / FILE).resolve().write_bytes(b'{"edge": "other", "generation": 5000000000}')
    inboxes.enroll("edge-1")
    assert inboxes.read("edge-1").generation == 5_000_000_001


def test_an_inbox_of_a_newer_version_is_not_replaced(inboxes: DirectoryInboxes) -> None:
    inboxes.enroll("edge-1")
    inbox = inboxes.update("edge-1", adding(order("run", "edge-1")))
    file = (inboxes.root / "edge-1" / FILE).resolve()
    for newer in newer_inboxes(inbox).values():
        file.write_text(newer)
        with pytest.raises(UnusableInbox, match="use that version of cloudedge"):
            inboxes.enroll("edge-1")
        assert file.read_text() == newer


def test_a_crash_in_the_middle_of_enrolling_is_mended_by_enrolling(inboxes: DirectoryInboxes) -> None:
    (inboxes.root / "edge-1" / "..2026_07_01_12_00_00.x").mkdir(parents=True)
    assert inboxes.edges() == []
    inboxes.enroll("edge-1")
    assert inboxes.read("edge-1").generation == 0


def test_a_place_that_is_no_folder_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    inboxes = DirectoryInboxes(tmp_path / "file")
    assert inboxes.edges() == []
    with pytest.raises(StoreFailed, match="Cannot write"):
        inboxes.enroll("edge-1")


ROUNDS = st.sets(st.integers(1, 4))


class AsSets(RuleBasedStateMachine):
    """An inbox is a set of orders with a count of its changes, whatever is done in whatever order."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.inboxes = DirectoryInboxes(Path(self.folder.name))
        self.model: dict[str, tuple[int, set[int]]] = {}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(edge=st.sampled_from(["edge-1", "edge-2"]))
    def enroll(self, edge: str) -> None:
        self.inboxes.enroll(edge)
        self.model.setdefault(edge, (0, set()))

    @rule(edge=st.sampled_from(["edge-1", "edge-2"]), rounds=ROUNDS)
    def want(self, edge: str, rounds: set[int]) -> None:
        if edge in self.model:
            self.inboxes.update(edge, lambda _: [order("run", edge, number) for number in sorted(rounds)])
            generation, former = self.model[edge]
            self.model[edge] = (generation + (rounds != former), rounds)

    @invariant()
    def inboxes_are_as_wanted(self) -> None:
        found = {edge: self.inboxes.read(edge) for edge in self.inboxes.edges()}
        assert {
            edge: (inbox.generation, {int(order.step) for order in inbox.orders}) for edge, inbox in found.items()
        } == self.model


TestAsSets = AsSets.TestCase
TestAsSets.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
