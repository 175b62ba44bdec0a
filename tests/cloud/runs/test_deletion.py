"""A deleted run is gone whole, whoever interrupts it; one that somebody works on is not touched."""

import contextlib
import itertools
import os
import time
from pathlib import Path

import pytest

from cloud.faults import Faults
from cloud.runs import deletion
from cloud.runs.deletion import delete, require_over, untouched
from cloud.runs.events import record
from cloud.runs.lifecycle import cancel
from cloud.runs.run import Run, run_ids
from cloud.runs.state import BETWEEN_STEPS, OVER
from cloud.step import step
from cloudedge.documents import TrainingTask
from cloudedge.errors import Conflict, InvalidInput, NotFound, StoreFailed
from tests.cloud.runs.builders import DATA, Cloud
from tests.cloud.watched_store import WatchedStore
from tests.components.cloud import content


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path, "edge-1", "edge-2")


def sign_of_life(run: Run, said: bytes, seconds_ago: float) -> None:
    run.store.put(run.key("alive"), said)
    age(run, "alive", seconds_ago)


def age(run: Run, name: str, seconds_ago: float) -> None:
    with run.store.local(run.key(name)) as path:
        os.utime(path, (time.time() - seconds_ago,) * 2)


def full_run(cloud: Cloud, name: str = "run", state: str | None = "finished") -> Run:
    run = cloud.run(name, state)
    for key in (run.pretrained_key, run.fused_key(1), run.round_key(1, "results", "edge-1-1", "manifest.json")):
        run.store.put(key, b"1")
    record(run.store, name, "tester", "created")
    sign_of_life(run, BETWEEN_STEPS, 0)
    return run


def objects(cloud: Cloud) -> dict[str, bytes]:
    return content(cloud.store, "runs")


def test_all_of_a_run_goes_and_its_neighbours_stay(cloud: Cloud) -> None:
    full_run(cloud, "run-2")
    kept = objects(cloud)
    full_run(cloud)
    cloud.dispatch("run", "edge-1")
    cloud.dispatch("run-2", "edge-1", "edge-2")
    deletion, count = delete(cloud.store, cloud.inboxes, "run", "tester", Faults())
    assert (deletion.name, deletion.actor, count) == ("run", "tester", 7)
    assert objects(cloud) == kept
    assert not (cloud.store.root / "runs" / "run").exists()
    assert list(run_ids(cloud.store)) == ["run-2"]
    with pytest.raises(NotFound, match=r"The run 'run' was deleted on 2.* UTC by tester\."):
        Run(cloud.store, "run").task()
    assert cloud.open_orders() == ["run-2.1.edge-1.1", "run-2.1.edge-2.1"]


def test_to_delete_again_says_who_did_and_removes_what_came_since(cloud: Cloud) -> None:
    run = full_run(cloud)
    first, _ = delete(cloud.store, cloud.inboxes, "run", "tester", Faults())
    assert delete(cloud.store, cloud.inboxes, "run", "somebody else", Faults()) == (first, 0)
    cloud.store.put(run.round_key(1, "reports", "edge-1-1.json"), b"of an edge that was offline")
    require_over(cloud.store, "run")
    assert delete(cloud.store, cloud.inboxes, "run", "somebody else", Faults()) == (first, 1)
    assert objects(cloud) == {}


def test_unknown_and_misnamed_runs_get_answers_of_their_own(cloud: Cloud) -> None:
    full_run(cloud)
    for ask in (
        lambda name: require_over(cloud.store, name),
        lambda name: delete(cloud.store, cloud.inboxes, name, "tester", Faults()),
    ):
        with pytest.raises(NotFound, match="There is no run 'nothing'; there are: run"):
            ask("nothing")
        with pytest.raises(InvalidInput, match="is not a name of a task"):
            ask("../run")


@pytest.mark.parametrize("state", [None, "running"])
@pytest.mark.parametrize(("said", "seconds"), [(b"", 590), (BETWEEN_STEPS, 3590)])
def test_a_run_under_way_is_refused_until_it_is_cancelled(cloud: Cloud, state: str | None, said: bytes, seconds: float) -> None:
    run = full_run(cloud, state=state)
    sign_of_life(run, said, seconds)
    before = objects(cloud)
    with pytest.raises(Conflict, match=r"Run run is under way: cancel it first \(cloudedge tasks cancel run\)"):
        delete(cloud.store, cloud.inboxes, "run", "tester", Faults())
    assert objects(cloud) == before
    assert run.deletion() is None
    cancel(cloud.store, cloud.inboxes, "run", "tester", Faults())
    delete(cloud.store, cloud.inboxes, "run", "tester", Faults())
    assert objects(cloud) == {}


@pytest.mark.parametrize("state", ["finished", "failed", "stopped"])
def test_a_step_that_may_still_be_ending_is_waited_for(cloud: Cloud, state: str) -> None:
    run = full_run(cloud, state=state)
    sign_of_life(run, b"", 110)
    age(run, "state.json", 100)
    with pytest.raises(Conflict, match="sign of life 110 s ago, and may still be at work: delete it in two minutes"):
        delete(cloud.store, cloud.inboxes, "run", "tester", Faults())
    sign_of_life(run, b"", 130)
    delete(cloud.store, cloud.inboxes, "run", "tester", Faults())
    assert objects(cloud) == {}


@pytest.mark.parametrize("said", [OVER, BETWEEN_STEPS])
def test_a_run_whose_last_step_has_said_to_be_done_is_deleted_at_once(cloud: Cloud, said: bytes) -> None:
    run = full_run(cloud, state="failed")
    sign_of_life(run, said, 0)
    age(run, "state.json", 100 if said == OVER else -1)
    delete(cloud.store, cloud.inboxes, "run", "tester", Faults())
    assert objects(cloud) == {}


def test_a_step_that_begins_meanwhile_keeps_its_run(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    run = full_run(cloud, state="failed")
    sign_of_life(run, OVER, 0)
    before = objects(cloud)
    put = Run.put

    def begins_a_step(deleted: Run, key: str, document: object) -> None:
        put(deleted, key, document)  # type: ignore[arg-type]
        sign_of_life(run, b"", 0)

    monkeypatch.setattr(Run, "put", begins_a_step)
    with pytest.raises(Conflict, match="under way"):
        delete(cloud.store, cloud.inboxes, "run", "tester", Faults())
    assert objects(cloud) == {**before, run.key("alive"): b""}
    assert run.deletion() is None


def test_a_step_that_begins_once_its_run_was_said_to_be_deleted_does_no_work(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = full_run(cloud, state="failed")
    sign_of_life(run, OVER, 0)
    at_work: list[str] = []
    for name, value in {
        "store": cloud.store.root.as_uri(),
        "inboxes": cloud.inboxes.root.as_uri(),
        "scratch": tmp_path,
    }.items():
        monkeypatch.setenv(f"CLOUDEDGE_{name.upper()}", str(value))

    def begins_a_step(*_: object) -> list[str]:
        with pytest.raises(NotFound, match="deleted on .* by tester"), step("run", "fuse-1"):
            at_work.append("fuse-1")
        return []

    monkeypatch.setattr(deletion, "close_orders", begins_a_step)
    delete(cloud.store, cloud.inboxes, "run", "tester", Faults())
    assert at_work == []
    assert objects(cloud) == {}


def test_wherever_it_is_interrupted_the_run_is_whole_or_unseen_and_the_same_command_removes_the_rest(cloud: Cloud) -> None:
    task = TrainingTask(name="run", id="run", data=DATA)
    other = task.model_copy(update={"seed": 7})
    for most in itertools.count():
        run = full_run(cloud)
        whole = objects(cloud)
        dying = WatchedStore(cloud.store, most)
        done = False
        with contextlib.suppress(StoreFailed):
            delete(dying.as_store, cloud.inboxes, "run", "tester", Faults())
            done = True
        assert list(run_ids(cloud.store)) == [] or objects(cloud) == whole
        if run.deletion() and objects(cloud):
            # Nobody begins a run upon what is left of another.
            with pytest.raises(
                Conflict, match="deleted by tester, and not all of it is gone yet: 'cloudedge tasks delete run'"
            ):
                run.create(other)
        delete(cloud.store, cloud.inboxes, "run", "tester", Faults())
        assert objects(cloud) == {}
        assert run.create(other)
        assert run.deletion() is None
        cloud.store.delete_below("runs")
        if done:
            break
    assert most > 10


def test_what_others_put_among_the_runs_is_nobodys_concern(cloud: Cloud) -> None:
    full_run(cloud)
    foreign = cloud.store.root / "runs" / "New folder" / "notes.txt"
    foreign.parent.mkdir()
    foreign.write_text("not ours")
    assert list(run_ids(cloud.store)) == ["run"]
    assert untouched(cloud.store, 0, Faults()) == ["run"]
    delete(cloud.store, cloud.inboxes, "run", "tester", Faults())
    assert foreign.read_text() == "not ours"


def test_a_run_whose_documents_cannot_be_read_can_be_deleted(cloud: Cloud) -> None:
    run = full_run(cloud)
    for name in ("task.json", "state.json"):
        cloud.store.put(run.key(name), b"{")
    delete(cloud.store, cloud.inboxes, "run", "tester", Faults())
    assert objects(cloud) == {}


def test_old_are_those_that_are_over_and_that_nobody_has_touched(cloud: Cloud) -> None:
    for name, state, said, seconds in (
        ("fresh", "finished", BETWEEN_STEPS, 80),
        ("old", "finished", BETWEEN_STEPS, 120),
        ("waiting", "running", BETWEEN_STEPS, 120),
        ("dead", "running", b"", 601),
    ):
        run = full_run(cloud, name, state)
        sign_of_life(run, said, seconds)
        age(run, "state.json", seconds)
    for name in ("remains", "recent-remains"):
        full_run(cloud, name)
        delete(cloud.store, cloud.inboxes, name, "tester", Faults())
        cloud.store.put(f"runs/{name}/rounds/000001/reports/edge-1-1.json", b"late")
    age(Run(cloud.store, "remains"), "rounds/000001/reports/edge-1-1.json", 120)
    assert untouched(cloud.store, 100, Faults()) == ["dead", "old", "remains"]
    assert untouched(cloud.store, 10_000, Faults()) == []
