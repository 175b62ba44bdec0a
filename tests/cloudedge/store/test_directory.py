"""The store as a directory."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cloudedge.errors import Conflict, InvalidInput, NotFound, StoreFailed
from cloudedge.files import TEMPORARY
from cloudedge.store import DirectoryStore
from cloudedge.transport import Transport
from tests.cloudedge.store.conformance import Place, StoreConformance, contents


class TestDirectoryStore(StoreConformance):
    """The suite that every store passes."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        root = tmp_path / "the store"

        def others_put(name: str) -> None:
            path = root / name
            (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                path.write_bytes(b"1")

        return Place(DirectoryStore(root), Transport([root]), others_put)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


def test_what_a_crash_left_half_written_is_no_object(store: DirectoryStore) -> None:
    store.put("runs/a/object", b"1")
    (store.root / "runs" / "a" / f"{TEMPORARY}x").write_bytes(b"half")
    (store.root / "runs" / "b").mkdir()
    (store.root / "runs" / "b" / f"{TEMPORARY}y").write_bytes(b"half")
    assert contents(store) == {"runs/a/object": b"1"}
    assert store.folders("runs") == ("a",)


def test_a_url_of_another_store_is_refused(tmp_path: Path, store: DirectoryStore) -> None:
    other = DirectoryStore(tmp_path / "other")
    target = other.upload("runs/a", max_bytes=9, once=False, expires_seconds=60)
    with pytest.raises(InvalidInput, match="--files-root"):
        Transport([store.root]).put(target, b"1")


def test_a_store_below_a_relative_folder_gives_whole_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    target = DirectoryStore(Path("store")).upload("runs/a", max_bytes=9, once=False, expires_seconds=60)
    assert target.url == (tmp_path / "store" / "runs" / "a").as_uri()


@pytest.fixture
def looping(store: DirectoryStore) -> DirectoryStore:
    """A store that cannot be read, for an administrator neither."""
    store.put("runs/a/object", b"1")
    (store.root / "runs" / "a" / "object").unlink()
    (store.root / "runs" / "a" / "object").symlink_to("object")
    (store.root / "loop").symlink_to("loop")
    return store


def test_a_disk_that_cannot_be_read_is_told_of(looping: DirectoryStore) -> None:
    failed = pytest.raises(StoreFailed, match=f"Cannot read {looping.root}.*Check the disk")
    with failed:
        looping.get("runs/a/object", 10)
    with failed:
        looping.stat("runs/a/object")
    with failed, looping.local("runs/a/object"):
        pass
    with failed:
        list(looping.list("runs"))
    with failed:
        list(looping.list("loop"))
    with failed:
        looping.folders("loop")


NAMES = st.sampled_from(["a", "b", "a-b", "a.b"])
FOLDERS = st.lists(NAMES, min_size=1, max_size=2).map(lambda names: "/".join(f"{name}.d" for name in names))
KEYS = st.builds("{}/{}".format, FOLDERS, NAMES)
"""Folders end in .d, for no object's key is another's folder."""


class AsADictionary(RuleBasedStateMachine):
    """A store is a dictionary, whatever is done in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = DirectoryStore(Path(self.folder.name) / "store")
        self.model: dict[str, bytes] = {}

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(key=KEYS, content=st.binary(max_size=9))
    def put(self, key: str, content: bytes) -> None:
        self.store.put(key, content)
        self.model[key] = content

    @rule(key=KEYS, content=st.binary(max_size=9))
    def put_once(self, key: str, content: bytes) -> None:
        try:
            self.store.put(key, content, once=True)
        except Conflict:
            assert key in self.model
        else:
            assert key not in self.model
            self.model[key] = content

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.store.delete(key)
        self.model.pop(key, None)

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        try:
            found = self.store.get(key, 9)
        except NotFound:
            assert key not in self.model
        else:
            assert found == self.model[key]

    @rule(prefix=FOLDERS)
    def list_below(self, prefix: str) -> None:
        below = sorted(key for key in self.model if key.startswith(f"{prefix}/"))
        assert [entry.key for entry in self.store.list(prefix)] == below
        deeper = {key[len(prefix) + 1 :].split("/")[0] for key in below if "/" in key[len(prefix) + 1 :]}
        assert self.store.folders(prefix) == tuple(sorted(deeper))

    @invariant()
    def nothing_half_is_left(self) -> None:
        assert not [name for _, _, names in os.walk(self.store.root) for name in names if name.startswith(TEMPORARY)]


TestAsADictionary = AsADictionary.TestCase
TestAsADictionary.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
