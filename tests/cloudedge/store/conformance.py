"""What every store does. A store's own tests inherit `StoreConformance` and give it a fixture `place`."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloudedge.documents import RemoteFile
from cloudedge.errors import Conflict, InvalidInput, InvalidModel, NotFound, StoreFailed
from cloudedge.store import Store
from cloudedge.transport import Transport
from tests.waiting import until

BAD_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/..",
    "a/./b",
    "a/.hidden",
    "a b",
    "a\n",
    "a\0b",
    "ä",
    "a\\b",
    "a?b",
    "a%2e",
    "-a",
    "a/" + "b" * 201,
    "/".join(["a" * 100] * 11),
]


FOREIGN = [
    "runs/",
    "runs/a/",
    "runs/new/",
    "runs/a/.hidden",
    "runs/a/New folder/notes.txt",
    "runs/a/Grüße.txt",
    "runs/New folder/notes.txt",
    "runs/ä/notes.txt",
]
"""What a console leaves there, with folder markers, and people do: none of it is an object of ours."""


@dataclass(frozen=True)
class Place:
    """An empty store, how an edge reaches what is in it, and how others put something there under a name of their own."""

    store: Store
    edge: Transport
    others_put: Callable[[str], object]


def contents(store: Store, prefix: str = "runs") -> dict[str, bytes]:
    """All objects below a prefix."""
    return {entry.key: store.get(entry.key, 10**9) for entry in store.list(prefix)}


class StoreConformance:
    """The suite."""

    former_folders_are_named = False
    """Whether the store may also name folders that had objects."""

    @pytest.fixture
    def store(self, place: Place) -> Store:
        return place.store

    @pytest.fixture
    def file(self, tmp_path: Path) -> Iterator[Path]:
        path = tmp_path / "local-file"
        path.write_bytes(bytes(range(256)) * 5000)
        yield path
        assert path.read_bytes() == bytes(range(256)) * 5000

    # Objects

    @pytest.mark.parametrize("content", [b"", b"\0\r\n\xff", bytes(3_000_000)])
    def test_what_is_put_is_got(self, store: Store, content: bytes) -> None:
        store.put("runs/a/object.json", content)
        assert store.get("runs/a/object.json", len(content)) == content

    def test_a_file_that_is_put_is_got(self, store: Store, file: Path) -> None:
        store.put_file("runs/a/model", file)
        assert store.get("runs/a/model", 10**9) == file.read_bytes()

    def test_a_file_that_is_gone_is_named(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="missing"):
            store.put_file("runs/a/model", tmp_path / "missing")
        assert contents(store) == {}

    def test_an_object_is_overwritten(self, store: Store, file: Path) -> None:
        store.put("runs/a", b"first, and longer")
        store.put("runs/a", b"second")
        assert store.get("runs/a", 100) == b"second"
        store.put_file("runs/a", file)
        assert store.get("runs/a", 10**9) == file.read_bytes()

    def test_an_object_written_once_stays(self, store: Store, file: Path) -> None:
        store.put("runs/a", b"first", once=True)
        with pytest.raises(Conflict):
            store.put("runs/a", b"second", once=True)
        with pytest.raises(Conflict):
            store.put_file("runs/a", file, once=True)
        assert contents(store) == {"runs/a": b"first"}

    def test_of_sixteen_writers_at_once_exactly_one_wins(self, store: Store) -> None:
        def write(number: int) -> bool:
            try:
                store.put("runs/a/claim", f"writer {number}".encode(), once=True)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(16) as writers:
            won = list(writers.map(write, range(16)))
        assert won.count(True) == 1
        assert contents(store) == {"runs/a/claim": f"writer {won.index(True)}".encode()}

    def test_readers_never_see_a_half(self, store: Store) -> None:
        versions = [bytes([number]) * 50_000 for number in range(20)]
        store.put("runs/a", versions[0])

        def read(_: int) -> bytes:
            return store.get("runs/a", 50_000)

        with ThreadPoolExecutor(4) as readers:
            seen = readers.map(read, range(100))
            for version in versions:
                store.put("runs/a", version)
        assert set(seen) <= set(versions)

    def test_no_more_is_read_than_allowed(self, store: Store) -> None:
        store.put("runs/a", b"12345")
        assert store.get("runs/a", 5) == b"12345"
        with pytest.raises(InvalidInput, match="more than the 4 bytes"):
            store.get("runs/a", 4)

    def test_what_is_not_there_is_named(self, store: Store) -> None:
        store.put("runs/a/object", b"1")
        for key in ("runs/b", "runs/a", "runs/a/object/below", "runs/a/obj"):
            with pytest.raises(NotFound, match=f"'{key}'"):
                store.get(key, 10)
            with pytest.raises(NotFound, match=f"'{key}'"), store.local(key):
                pass
            assert store.stat(key) is None

    def test_an_object_is_deleted_and_its_neighbours_stay(self, store: Store) -> None:
        for key in ("runs/a", "runs/a-b", "runs/c/d"):
            store.put(key, b"1")
        store.delete("runs/a")
        assert sorted(contents(store)) == ["runs/a-b", "runs/c/d"]

    def test_to_delete_what_is_not_there_is_no_error(self, store: Store) -> None:
        store.put("runs/a/object", b"1")
        for key in ("runs/b", "runs/a", "runs/a/object/below"):
            store.delete(key)
        assert contents(store) == {"runs/a/object": b"1"}

    def test_all_below_a_prefix_is_deleted_and_its_neighbours_stay(self, store: Store) -> None:
        for key in ("runs/a/x/y", "runs/a/1", "runs/a/2", "runs/ab/1", "runs/a-b", "run/a"):
            store.put(key, b"1")
        assert store.delete_below("runs/a") == 3
        assert sorted(contents(store)) == ["runs/a-b", "runs/ab/1"]
        assert store.folders("runs") == ("ab",) or self.former_folders_are_named
        assert store.delete_below("runs/a") == store.delete_below("nothing/here") == 0
        assert store.stat("run/a") is not None

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_a_bad_key_is_refused_everywhere(self, store: Store, file: Path, key: str) -> None:
        refused = pytest.raises(InvalidInput, match="no key of an object")
        with refused:
            store.put(key, b"1")
        with refused:
            store.put_file(key, file)
        with refused:
            store.get(key, 1)
        with refused, store.local(key):
            pass
        with refused:
            store.stat(key)
        with refused:
            list(store.list(key))
        with refused:
            store.folders(key)
        with refused, store.changes(key):
            pass
        with refused:
            store.delete(key)
        with refused:
            store.delete_below(key)
        with refused:
            store.download(key, "0" * 64, 1, 60)
        with refused:
            store.upload(key, max_bytes=1, once=True, expires_seconds=60)

    # Local files

    def test_an_object_is_a_local_file_for_a_while(self, store: Store, file: Path) -> None:
        store.put_file("runs/a/model", file)
        with store.local("runs/a/model") as path:
            assert path.read_bytes() == file.read_bytes()
        assert store.get("runs/a/model", 10**9) == file.read_bytes()

    def test_an_error_of_the_users_passes_through(self, store: Store) -> None:
        store.put("runs/a", b"1")
        with pytest.raises(FileNotFoundError, match="the user's"), store.local("runs/a"):
            raise FileNotFoundError("the user's")

    # Listings

    def test_a_listing_is_by_folder_and_sorted_by_key(self, store: Store) -> None:
        keys = ["runs/a/2", "runs/a/10", "runs/a/b/c/d", "runs/a-b/1", "runs/a.b", "runs/ab/1", "runs/a/B", "run/a"]
        for key in keys:
            store.put(key, key.encode())
        assert [entry.key for entry in store.list("runs")] == sorted(keys[:-1])
        assert [entry.key for entry in store.list("runs/a")] == ["runs/a/10", "runs/a/2", "runs/a/B", "runs/a/b/c/d"]
        assert list(store.list("runs/a/2")) == []
        assert list(store.list("nothing/here")) == []

    def test_an_entry_tells_size_and_time(self, store: Store) -> None:
        store.put("runs/first", b"123")
        store.put("runs/second", b"")
        first, second = store.list("runs")
        assert (first.key, first.size, second.key, second.size) == ("runs/first", 3, "runs/second", 0)
        assert first.modified <= second.modified
        assert store.stat("runs/first") == first

    def test_a_version_changes_with_every_new_content_and_only_then(self, store: Store) -> None:
        versions = []
        for number in range(30):
            store.put("runs/a", b"%02d" % number)
            (entry,) = store.list("runs")
            assert store.stat("runs/a") == entry
            versions.append(entry.version)
        store.put("runs/b", b"1")
        assert next(iter(store.list("runs"))).version == versions[-1]
        assert len(set(versions)) == 30

    def test_folders_are_those_that_have_objects(self, store: Store) -> None:
        for key in ("runs/b/x/y", "runs/a/1", "runs/a/2", "runs/file", "runs/a-b/1", "other/c/1"):
            store.put(key, b"1")
        assert store.folders("runs") == ("a", "a-b", "b")
        assert store.folders("runs/b") == ("x",)
        assert store.folders("runs/a") == ()
        assert store.folders("runs/file") == ()
        assert store.folders("nothing") == ()
        store.delete("runs/b/x/y")
        assert store.folders("runs") == ("a", "a-b") or self.former_folders_are_named

    def test_what_others_put_there_under_no_key_is_passed_over_and_goes_with_what_it_is_in(self, place: Place) -> None:
        ours = {"runs/a/1": b"1", "runs/b/x/2": b"2"}
        for key, content in ours.items():
            place.store.put(key, content)
        for name in FOREIGN:
            place.others_put(name)
        assert contents(place.store) == ours
        assert contents(place.store, "runs/a") == {"runs/a/1": b"1"}
        assert set(place.store.folders("runs")) - {"new"} == {"a", "b"}
        assert place.store.folders("runs/a") == ()
        place.store.delete_below("runs/a")
        assert contents(place.store) == {"runs/b/x/2": b"2"}
        assert "a" not in place.store.folders("runs") or self.former_folders_are_named

    # Changes

    def test_what_is_written_is_told_unless_a_listing_is_asked_for(self, store: Store) -> None:
        with store.changes("runs/a") as changes:
            assert changes() is None
            for number in range(10):
                key = f"runs/a/{number}"
                store.put("runs/ab", str(number).encode())
                store.put(key, b"1")
                until(lambda key=key: (told := changes()) is None or key in told)  # type: ignore[misc]
            until(lambda: changes() in (None, {}))

    # URLs

    def announced(self, store: Store, key: str, content: bytes) -> RemoteFile:
        store.put(key, content)
        return store.download(key, hashlib.sha256(content).hexdigest(), len(content), 3600)

    def test_an_edge_fetches_by_url(self, place: Place, tmp_path: Path) -> None:
        content = bytes(range(256)) * 5000
        place.edge.fetch(self.announced(place.store, "runs/a/model", content), tmp_path / "received")
        assert (tmp_path / "received").read_bytes() == content

    def test_an_edge_notices_that_it_got_another_object(self, place: Place, tmp_path: Path) -> None:
        file = self.announced(place.store, "runs/a/model", b"one model")
        place.store.put("runs/a/model", b"no! model")
        with pytest.raises(InvalidModel):
            place.edge.fetch(file, tmp_path / "received")

    def test_an_edge_may_ask_again_for_what_is_not_there_yet(self, place: Place, tmp_path: Path) -> None:
        file = place.store.download("runs/later", hashlib.sha256(b"1").hexdigest(), 1, 3600)
        with pytest.raises(StoreFailed):
            place.edge.fetch(file, tmp_path / "received")
        place.store.put("runs/later", b"1")
        place.edge.fetch(file, tmp_path / "received")

    def test_an_edge_puts_a_report_again_and_again(self, place: Place) -> None:
        target = place.store.upload("runs/a/report", max_bytes=100, once=False, expires_seconds=3600)
        for number in range(3):
            place.edge.put(target, f"report {number}".encode())
            assert place.store.get("runs/a/report", 100) == f"report {number}".encode()

    def test_an_edge_puts_a_result_once(self, place: Place, file: Path) -> None:
        size = file.stat().st_size
        target = place.store.upload("runs/a/result", max_bytes=size, once=True, expires_seconds=3600)
        assert target.once
        place.edge.put(target, file)
        with pytest.raises(Conflict):
            place.edge.put(target, b"another")
        assert contents(place.store) == {"runs/a/result": file.read_bytes()}

    def test_an_edge_puts_no_more_than_allowed(self, place: Place, file: Path) -> None:
        size = file.stat().st_size
        for once in (False, True):
            target = place.store.upload("runs/a/result", max_bytes=size - 1, once=once, expires_seconds=3600)
            with pytest.raises(InvalidInput, match=f"at most {size - 1}"):
                place.edge.put(target, file)
        assert contents(place.store) == {}

    def test_a_url_reaches_its_own_object_alone(self, place: Place, tmp_path: Path) -> None:
        store = place.store
        first = self.announced(store, "runs/a/first", b"first")
        self.announced(store, "runs/a/second", b"other")
        target = store.upload("runs/a/third", max_bytes=100, once=False, expires_seconds=3600)
        place.edge.fetch(first, tmp_path / "received")
        assert (tmp_path / "received").read_bytes() == b"first"
        place.edge.put(target, b"third")
        assert contents(store) == {"runs/a/first": b"first", "runs/a/second": b"other", "runs/a/third": b"third"}
