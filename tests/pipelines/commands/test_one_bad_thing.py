"""One bad thing stops only itself: with any one item broken, what comes of all others is the same, and the bad one is named."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.faults import Faults
from cloud.inboxes import usable
from cloud.inboxes.directory import FILE
from cloud.runs.run import Run
from cloud.runs.state import BETWEEN_STEPS
from cloud.step import step
from cloud.stores import open_store
from cloudedge.documents import Inbox
from cloudedge.errors import CloudedgeError
from cloudedge.mount import DATA
from cloudedge.store import DirectoryStore, Store
from tests.cloud.runs.builders import Cloud, order
from tests.cluster.object_store import User
from tests.s3_server import s3_server
from tests.terminal import Cloudedge, Ended, called


@pytest.fixture(autouse=True)
def _no_power_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many worlds are made here, and no disk need outlive them."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


EDGES = ("edge-1", "edge-2", "edge-3")
OTHERS = ("edge-1", "edge-3")


# Inboxes


def saying(content: bytes) -> Callable[[Path], object]:
    return lambda mount: (mount / FILE).resolve().write_bytes(content)


def another_edges(mount: Path) -> None:
    saying((mount.with_name("edge-1") / FILE).read_bytes())(mount)


def a_folder_in_its_place(mount: Path) -> None:
    path = (mount / FILE).resolve()
    path.unlink()
    path.mkdir()


def a_link_that_leads_nowhere(mount: Path) -> None:
    shutil.rmtree(mount / (mount / DATA).readlink())


def twice(edge: str) -> bytes:
    """An inbox in which one order stands twice."""
    said = Inbox(edge=edge, generation=5, orders=(order("run", edge),)).model_dump_json()
    found = order("run", edge).model_dump_json()
    return said.replace(found, f"{found},{found}").encode()


INBOX_BREAKINGS: dict[str, Callable[[Path], object]] = {
    "nothing in it": saying(b""),
    "cut off": saying(b'{"edge": "edge-2", "gen'),
    "not UTF-8": saying(b"\xff\xfe"),
    "a list": saying(b"[]"),
    "a field missing": saying(b'{"edge": "edge-2"}'),
    "of a newer version": saying(b'{"schema_version": 99, "edge": "edge-2", "generation": 1}'),
    "an order twice": saying(twice("edge-2")),
    "another edge's": another_edges,
    "the file missing": lambda mount: (mount / FILE).resolve().unlink(),
    "a folder": a_folder_in_its_place,
    "a link that leads nowhere": a_link_that_leads_nowhere,
}


def world(folder: Path) -> Cloud:
    """Three edges, each with an order of three runs: one that is cancelled, one that died, one that is over."""
    cloud = Cloud(folder, *EDGES)
    for name, state in (("asked", "running"), ("dead", "running"), ("over", "finished")):
        cloud.run(name, state).store.put(f"runs/{name}/alive", BETWEEN_STEPS)
        cloud.dispatch(name, *EDGES)
    return cloud


def in_place(cloud: Cloud, *arguments: str) -> Ended:
    """A command, in the world's own place."""
    return called(*arguments, environment=environment(cloud.store.root.as_uri(), cloud))


def environment(store: str, cloud: Cloud) -> dict[str, str]:
    folder = cloud.inboxes.root.parent
    credentials = User("user", "12345678").environment
    places = {"STORE": store, "INBOXES": cloud.inboxes.root.as_uri(), "SCRATCH": str(folder / "scratch")}
    return {**credentials, **{f"CLOUDEDGE_{name}": value for name, value in places.items()}}


def a_failing_step(cloud: Cloud) -> str:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment(cloud.store.root.as_uri(), cloud).items():
            patched.setenv(name, value)
        with pytest.raises(CloudedgeError, match="on purpose"), step("asked", "fails"):
            raise CloudedgeError("It fails on purpose.")
    return ""


REAP = ("tasks", "reap", "--silent-seconds", "0", "--between-seconds", "0")

LOOPS_OVER_INBOXES: dict[str, tuple[Callable[[Cloud], Any], int]] = {
    "the edges": (lambda cloud: cloud.inboxes.edges(), 0),
    "tasks cancel": (lambda cloud: in_place(cloud, "tasks", "cancel", "asked"), 2),
    "tasks reap": (lambda cloud: in_place(cloud, *REAP), 2),
    "tasks delete": (lambda cloud: in_place(cloud, "tasks", "delete", "over"), 0),
    "a step that fails": (a_failing_step, 0),
}
"""Each with the exit code of a command that could not do its part."""


def left_to_others(cloud: Cloud) -> dict[str, list[str]]:
    """Open orders of the edges whose inboxes are sound."""
    return {edge: [one.id for one in cloud.inboxes.read(edge).orders] for edge in OTHERS}


@pytest.fixture(scope="module")
def of_the_sound() -> dict[str, Any]:
    """What each loop came to where nothing is broken, once it was run there."""
    return {}


@pytest.mark.parametrize("loop", LOOPS_OVER_INBOXES)
@pytest.mark.parametrize("breaking", INBOX_BREAKINGS)
def test_one_inbox_that_cannot_be_used_changes_nothing_for_the_other_edges(
    tmp_path: Path, of_the_sound: dict[str, Any], loop: str, breaking: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, code = LOOPS_OVER_INBOXES[loop]
    if loop not in of_the_sound:
        sound = world(tmp_path / "sound")
        of_the_sound[loop] = run(sound), left_to_others(sound)
    capsys.readouterr()
    broken = world(tmp_path / "broken")
    INBOX_BREAKINGS[breaking](broken.inboxes.root / "edge-2")

    found = run(broken)

    expected, left = of_the_sound[loop]
    assert left_to_others(broken) == left
    if isinstance(found, Ended):
        assert (expected.code, found.code) == (0, code)
        assert found.err.count("is not a valid inbox") == 1
        newer = breaking == "of a newer version"
        assert ("use that version of cloudedge" if newer else f"remove {broken.inboxes.root / 'edge-2'}") in found.err
    elif loop == "a step that fails":
        assert capsys.readouterr().out.count("is not a valid inbox") == 1
    else:
        assert found == expected


@given(st.dictionaries(st.sampled_from(EDGES), st.sampled_from(sorted(INBOX_BREAKINGS)), max_size=3))
@settings(max_examples=20)
def test_whichever_inboxes_are_broken_all_others_are_read_and_each_of_those_is_named(
    tmp_path_factory: pytest.TempPathFactory, broken: dict[str, str]
) -> None:
    cloud = Cloud(tmp_path_factory.mktemp("some"), *EDGES, "source")
    for edge, breaking in broken.items():
        if breaking == "another edge's":
            saying((cloud.inboxes.root / "source" / FILE).read_bytes())(cloud.inboxes.root / edge)
        else:
            INBOX_BREAKINGS[breaking](cloud.inboxes.root / edge)
    # Said to be of edge-2, these are sound but for whose they are.
    faults, said = Faults(), list[str]()
    read = [inbox.edge for inbox in usable(cloud.inboxes, faults)]
    faults.tell(said.append)
    assert read == [edge for edge in (*EDGES, "source") if edge not in broken]
    assert len(said) == len(broken)
    assert all(any(f"/{edge}" in message for message in said) for edge in broken)


def test_what_is_no_edges_inbox_is_named_and_keeps_no_command_from_its_work(tmp_path: Path) -> None:
    cloud = world(tmp_path)
    root = cloud.inboxes.root
    shutil.copytree(root / "edge-1", root / "Edge 1", symlinks=True)
    (root / "notes.txt").write_text("not ours")
    (root / "folder").mkdir()

    done = in_place(cloud, "tasks", "cancel", "asked")

    assert (done.code, done.out) == (0, "Run asked is cancelled.\n")
    assert done.err.startswith(f"{root}/Edge 1 is not a valid inbox:")
    assert [order for order in cloud.open_orders() if order.startswith("asked")] == []


# Runs

CONTENTS = (b"", b"{", b"\xff\xfe", b"[]", b'{"schema_version": 99}', b"x" * 100)

PLACES = (
    "runs/broken/task.json",
    "runs/broken/state.json",
    "runs/broken/cancelled.json",
    "runs/broken/alive",
    "runs/broken/kubeflow.json",
    "runs/broken/evaluation.json",
    "runs/broken/pretrained/record.json",
    "runs/broken/rounds/000001/dispatch.json",
    "runs/broken/rounds/000001/wait.json",
    "runs/broken/rounds/000001/fusion.json",
    "runs/broken/events/20260101T000000.000000Z-abcdef.json",
    "runs/broken/events/notes.txt",
    "runs/no-run/notes.txt",
    "runs/notes.txt",
    "reaper/deleted/broken.json",
    "reaper/deleted/no-run.json",
    "reaper/under-way/broken",
    "reaper/under-way/no-run",
    "reaper/under-way/Notes.txt",
    "datasets/no-dataset/notes.txt",
    "datasets/No_Dataset/list.json",
    "datasets/notes.txt",
)
"""Objects that belong to one run or to nobody."""

LOOPS_OVER_RUNS: dict[str, tuple[str, ...]] = {
    "list": ("tasks", "list", "--json"),
    "reap": (*REAP, "--json"),
    "cancel another": ("tasks", "cancel", "alive"),
    "delete another": ("tasks", "delete", "over"),
    "delete by age": ("tasks", "delete", "--older-than", "0d", "--yes", "--json"),
    "events of another": ("events", "over"),
    "datasets": ("data", "list"),
}

READING = ("list", "events of another", "datasets")
"""Those that change nothing, so that one world is enough for them."""


@pytest.fixture(params=["a directory", "an S3"])
def open_target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], tuple[str, Store]]]:
    """Opens an empty store of a name, and says its address."""
    if request.param == "a directory":
        yield lambda name: ((tmp_path / name / "store").as_uri(), DirectoryStore(tmp_path / name / "store"))
        return
    with s3_server() as server, pytest.MonkeyPatch.context() as patched:
        for name, value in User("user", "12345678").environment.items():
            patched.setenv(name, value)

        def opened(name: str) -> tuple[str, Store]:
            address = f"{server.url}/{name}"
            return address, open_store(address, for_edges="", scratch=tmp_path / "scratch", patience_seconds=5)

        yield opened


def runs_in(store: Store, folder: Path) -> Cloud:
    """Runs of every state, one of which will be broken."""
    cloud = Cloud(folder, "edge-1")
    cloud.store = store  # type: ignore[assignment]
    for name, state in (("alive", "running"), ("broken", "running"), ("over", "finished"), ("failed", "failed")):
        cloud.run(name, state)
        store.put(f"runs/{name}/alive", BETWEEN_STEPS)
        store.put(f"reaper/under-way/{name}", b"")
        cloud.dispatch(name, "edge-1")
    store.put("reaper/looked-through", b"")
    return cloud


def of_others(done: Ended) -> Any:
    """What a command said on standard output, but for the run that is broken."""
    if not done.out.startswith(("[", "{")):
        return done.out
    if isinstance(done.json, dict):
        return {name: value for name, value in done.json.items() if name != "broken"}
    return [{**row, "at": None, "since": None, "seen": None} for row in done.json if row["id"] not in ("broken", "no-run")]


def standing(cloud: Cloud) -> dict[str, Any]:
    """How the other runs stand, and which orders of theirs are open."""
    states = {name: (found := Run(cloud.store, name).state()) and found.state for name in ("alive", "over", "failed")}
    return {**states, "orders": [one for one in cloud.open_orders() if not one.startswith("broken")]}


@pytest.mark.parametrize("loop", LOOPS_OVER_RUNS)
def test_one_object_that_nobody_can_read_changes_nothing_for_the_other_runs(
    open_target: Callable[[str], tuple[str, Store]], tmp_path: Path, loop: str
) -> None:
    arguments = LOOPS_OVER_RUNS[loop]
    address, store = open_target("sound")
    sound = runs_in(store, tmp_path / "sound")
    expected = called(*arguments, environment=environment(address, sound))
    assert expected.code == 0
    for number, place in enumerate(PLACES):
        content = CONTENTS[number % len(CONTENTS)]
        if number == 0 or loop not in READING:
            address, store = open_target(f"broken-{number}")
            broken = runs_in(store, tmp_path / f"broken-{number}")
        former = store.get(place, 10_000) if store.stat(place) else None
        store.put(place, content)

        done = called(*arguments, environment=environment(address, broken))

        assert (done.code, of_others(done)) == (0, of_others(expected)), f"{place}: {content!r}: {done.err}"
        assert standing(broken) == standing(sound), place
        store.put(place, former) if former is not None else store.delete(place)


def a_file(folder: Path) -> None:
    folder.write_text("not ours")


def a_link_to_itself(folder: Path) -> None:
    folder.symlink_to(folder.name)


def a_link_to_nothing(folder: Path) -> None:
    folder.symlink_to("nothing")


@pytest.mark.parametrize("loop", LOOPS_OVER_RUNS)
@pytest.mark.parametrize(
    ("put", "place"),
    [
        (a_file, "runs/broken"),
        (a_file, "runs/broken/rounds"),
        (a_file, "datasets/broken"),
        (a_link_to_itself, "runs/broken"),
        (a_link_to_itself, "datasets/broken"),
        (a_link_to_nothing, "reaper/under-way/broken"),
    ],
)
def test_what_stands_in_the_place_of_a_folder_changes_nothing_for_the_other_runs(
    tmp_path: Path, put: Callable[[Path], None], place: str, loop: str
) -> None:
    sound, broken = (runs_in(DirectoryStore(tmp_path / name / "store"), tmp_path / name) for name in ("sound", "broken"))
    path = broken.store.root / place
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    put(path)

    expected, done = (in_place(cloud, *LOOPS_OVER_RUNS[loop]) for cloud in (sound, broken))

    assert of_others(done) == of_others(expected), done.err
    assert standing(broken) == standing(sound)
    assert done.code == 0 or "broken" in done.err


@pytest.mark.parametrize("name", ["task.json", "state.json", "cancelled.json", "evaluation.json"])
@pytest.mark.parametrize("content", CONTENTS)
def test_a_run_that_cannot_be_read_is_listed_as_such_with_the_way_to_be_rid_of_it_which_works(
    tmp_path: Path, cloudedge: Cloudedge, name: str, content: bytes
) -> None:
    store = DirectoryStore(tmp_path / "store")
    runs_in(store, tmp_path)
    store.put(f"runs/broken/{name}", content)

    listed = cloudedge("tasks", "list", "--home", tmp_path, "--json")

    (row,) = [row for row in listed.json if row["id"] == "broken"]
    assert (listed.code, row["state"]) == (0, "unreadable")
    assert f"runs/broken/{name} is not a valid" in listed.err
    assert "To be rid of that run: cloudedge tasks delete broken" in listed.err
    told = cloudedge("tasks", "delete", "broken", "--home", tmp_path)
    if "cancel it first (cloudedge tasks cancel broken)" in told.err:
        assert cloudedge("tasks", "cancel", "broken", "--home", tmp_path).code == 0
        told = cloudedge("tasks", "delete", "broken", "--home", tmp_path)
    assert told.code == 0
    assert "broken" not in cloudedge("tasks", "list", "--home", tmp_path).out


def test_a_word_on_a_deleted_run_that_cannot_be_read_is_replaced_when_the_run_is_deleted_again(
    tmp_path: Path, cloudedge: Cloudedge
) -> None:
    store = DirectoryStore(tmp_path / "store")
    runs_in(store, tmp_path)
    store.put("reaper/deleted/over.json", b"{")
    assert cloudedge("tasks", "delete", "over", "--home", tmp_path).code == 0
    deletion = Run(store, "over").deletion()
    assert deletion is not None


def test_an_operation_that_cannot_be_read_stands_in_its_place(tmp_path: Path, cloudedge: Cloudedge) -> None:
    store = DirectoryStore(tmp_path / "store")
    runs_in(store, tmp_path)
    assert cloudedge("tasks", "cancel", "alive", "--home", tmp_path).code == 0
    store.put("runs/alive/events/20250101T000000.000000Z-abcdef.json", b"{")
    rows = cloudedge("events", "alive", "--home", tmp_path, "--json").json
    assert [row["action"] for row in rows] == ["unreadable", "cancelled"]


def test_a_step_that_was_left_dead_is_found_whatever_stands_in_its_sign_of_life(tmp_path: Path) -> None:
    cloud = runs_in(DirectoryStore(tmp_path / "store"), tmp_path)
    cloud.store.put("runs/broken/alive", b"written by hand, and longer than what a step writes there")
    done = in_place(cloud, *REAP, "--json")
    assert (done.code, done.err) == (0, "")
    assert "broken" in done.json
