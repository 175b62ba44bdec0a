"""Runs end once, for everybody, and leave no edge at work; those that live are left alone."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.faults import Faults
from cloud.runs import under_way
from cloud.runs.closing import close_orders
from cloud.runs.events import events
from cloud.runs.lifecycle import cancel, reap
from cloud.runs.run import Run, run_ids
from cloud.runs.state import BETWEEN_STEPS, set_state
from cloud.runs.step_records import RunState
from cloud.step import step
from cloudedge.errors import Conflict, InvalidInput, NotFound
from cloudedge.store import Store
from tests.cloud.runs.builders import NOW, Cloud
from tests.cloud.watched_store import WatchedStore

SILENT = 600.0
BETWEEN = 3600.0


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path, "edge-1", "edge-2", "edge-3")


def reaped(cloud: Cloud) -> dict[str, list[str]]:
    return dict(reap(cloud.store, cloud.inboxes, "tester", SILENT, BETWEEN, Faults()))


def sign_of_life(run: Run, seconds_ago: float) -> None:
    """What a step leaves while it works; its age is that of the file."""
    age(run, "alive", seconds_ago)


def age(run: Run, name: str, seconds_ago: float) -> None:
    key = run.key(name)
    if run.store.stat(key) is None:
        run.store.put(key, b"")
    with run.store.local(key) as path:
        os.utime(path, (time.time() - seconds_ago,) * 2)


def actions(cloud: Cloud, run: str) -> list[str]:
    return [event.action for _, event in events(cloud.store, run)]


# Cancelling


def test_a_cancelled_run_is_cancelled_and_its_edges_stop(cloud: Cloud) -> None:
    run = cloud.run("run", "running")
    cloud.dispatch("run", "edge-1", "edge-3")
    cloud.dispatch("other", "edge-1", "edge-2")
    assert cancel(cloud.store, cloud.inboxes, "run", "tester", Faults())
    state = run.state()
    assert state is not None
    assert (state.state, state.message, state.exit_code) == ("cancelled", "By tester.", 7)
    assert cloud.open_orders() == ["other.1.edge-1.1", "other.1.edge-2.1"]
    ((_, event),) = events(cloud.store, "run")
    assert (event.actor, event.action, event.details) == (
        "tester",
        "cancelled",
        {"closed": ["run.1.edge-1.1", "run.1.edge-3.1"]},
    )


def test_to_cancel_again_changes_nothing(cloud: Cloud) -> None:
    run = cloud.run("run", "running")
    assert cancel(cloud.store, cloud.inboxes, "run", "tester", Faults())
    state = run.state()
    assert not cancel(cloud.store, cloud.inboxes, "run", "somebody else", Faults())
    assert run.state() == state
    assert actions(cloud, "run") == ["cancelled"]


def test_to_cancel_again_closes_what_was_dispatched_meanwhile(cloud: Cloud) -> None:
    cloud.run("run", "running")
    cancel(cloud.store, cloud.inboxes, "run", "tester", Faults())
    cloud.dispatch("run", "edge-2")
    assert not cancel(cloud.store, cloud.inboxes, "run", "tester", Faults())
    assert cloud.open_orders() == []


@pytest.mark.parametrize("state", [None, "running", "failed", "stopped"])
def test_a_run_that_is_not_finished_can_be_cancelled(cloud: Cloud, state: str | None) -> None:
    run = cloud.run("run", state)
    assert cancel(cloud.store, cloud.inboxes, "run", "tester", Faults())
    assert (found := run.state()) is not None
    assert found.state == "cancelled"


def test_unknown_finished_and_misnamed_runs_get_answers_of_their_own(cloud: Cloud) -> None:
    run = cloud.run("done", "finished")
    with pytest.raises(NotFound, match="There is no run 'nothing'; there are: done"):
        cancel(cloud.store, cloud.inboxes, "nothing", "tester", Faults())
    with pytest.raises(Conflict, match="done is finished since 2026-07-01"):
        cancel(cloud.store, cloud.inboxes, "done", "tester", Faults())
    with pytest.raises(InvalidInput, match="is not a name of a task"):
        cancel(cloud.store, cloud.inboxes, "../done", "tester", Faults())
    assert (state := run.state()) is not None
    assert state.state == "finished"
    assert list(run_ids(cloud.store)) == ["done"]


def test_a_cancelled_run_stays_cancelled_whatever_its_steps_write(cloud: Cloud) -> None:
    run = cloud.run("run", "running")
    cancel(cloud.store, cloud.inboxes, "run", "tester", Faults())
    for state in ("running", "finished", "failed", "stopped"):
        assert not set_state(run, RunState.model_validate({"state": state, "at": NOW}))
        # Even by a step that looked before and writes after.
        run.put(run.key("state.json"), RunState.model_validate({"state": state, "at": NOW}))
        assert (found := run.state()) is not None
        assert found.state == "cancelled"


def test_of_many_that_cancel_at_once_one_does(cloud: Cloud) -> None:
    run = cloud.run("run", "running")
    cloud.dispatch("run", "edge-1", "edge-2", "edge-3")
    with ThreadPoolExecutor(8) as people:
        fresh = list(people.map(lambda n: cancel(cloud.store, cloud.inboxes, "run", f"person {n}", Faults()), range(8)))
    assert fresh.count(True) == 1
    assert (state := run.state()) is not None
    assert state.message == f"By person {fresh.index(True)}."
    assert cloud.open_orders() == []


def test_a_step_that_writes_its_state_meanwhile_does_not_undo_a_cancel(cloud: Cloud) -> None:
    for number in range(20):
        run = cloud.run(f"run-{number}", "running")
        with ThreadPoolExecutor(2) as both:
            fresh = both.submit(cancel, cloud.store, cloud.inboxes, run.id, "tester", Faults())
            both.submit(set_state, run, RunState(state="failed", exit_code=8, at=datetime.now(UTC))).result()
        assert fresh.result()
        assert (state := run.state()) is not None
        assert state.state == "cancelled"


# Closing orders


def test_only_the_orders_of_a_run_are_closed(cloud: Cloud) -> None:
    cloud.dispatch("run", "edge-1", "edge-2")
    cloud.dispatch("run-2", "edge-2", "edge-3")
    untouched = cloud.inboxes.read("edge-3")
    assert close_orders(cloud.inboxes, "run", Faults()) == (["run.1.edge-1.1", "run.1.edge-2.1"], True)
    assert close_orders(cloud.inboxes, "run", Faults()) == ([], True)
    assert cloud.open_orders() == ["run-2.1.edge-2.1", "run-2.1.edge-3.1"]
    assert cloud.inboxes.read("edge-3") == untouched
    assert [order.run for order in cloud.inboxes.read("edge-2").orders] == ["run-2"]


# Reaping


@pytest.mark.parametrize("state", ["failed", "stopped", "finished"])
def test_orders_of_a_run_that_is_over_are_closed(cloud: Cloud, state: str) -> None:
    run = cloud.run("run", state)
    sign_of_life(run, 5)
    cloud.dispatch("run", "edge-1")
    assert reaped(cloud) == {"run": ["run.1.edge-1.1"]}
    assert cloud.open_orders() == []
    assert actions(cloud, "run") == ["reaped"]
    assert reaped(cloud) == {}


def test_orders_of_a_cancelled_run_are_closed(cloud: Cloud) -> None:
    run = cloud.run("run", "running")
    cancel(cloud.store, cloud.inboxes, "run", "tester", Faults())
    sign_of_life(run, 0)
    cloud.dispatch("run", "edge-1")
    assert reaped(cloud) == {"run": ["run.1.edge-1.1"]}


@pytest.mark.parametrize("state", [None, "running"])
def test_orders_of_a_run_that_gives_no_sign_of_life_are_closed(cloud: Cloud, state: str | None) -> None:
    run = cloud.run("run", state)
    sign_of_life(run, SILENT + 1)
    cloud.dispatch("run", "edge-1", "edge-2")
    assert reaped(cloud) == {"run": ["run.1.edge-1.1", "run.1.edge-2.1"]}
    assert cloud.open_orders() == []


def test_a_run_whose_next_step_has_not_begun_is_given_longer(cloud: Cloud) -> None:
    run = cloud.run("run", "running")
    run.store.put(run.key("alive"), BETWEEN_STEPS)
    cloud.dispatch("run", "edge-1")
    age(run, "alive", BETWEEN - 60)
    assert reaped(cloud) == {}
    age(run, "alive", BETWEEN + 1)
    assert reaped(cloud) == {"run": ["run.1.edge-1.1"]}
    assert (state := run.state()) is not None
    assert (state.state, state.message) == ("stopped", "No sign of life for 3600 s.")


def test_a_dead_run_is_called_stopped_whether_it_has_orders_or_not(cloud: Cloud) -> None:
    run = cloud.run("run", "running")
    sign_of_life(run, SILENT + 1)
    assert reaped(cloud) == {}
    assert (state := run.state()) is not None
    assert (state.state, state.message, state.exit_code) == ("stopped", "No sign of life for 600 s.", 8)


def test_orders_of_a_run_that_nobody_knows_are_closed_and_make_no_run(cloud: Cloud) -> None:
    cloud.dispatch("gone", "edge-1")
    assert reaped(cloud) == {"gone": ["gone.1.edge-1.1"]}
    assert list(run_ids(cloud.store)) == []


@pytest.mark.parametrize("state", [None, "running"])
def test_a_living_run_is_left_alone(cloud: Cloud, state: str | None) -> None:
    run = cloud.run("run", state)
    sign_of_life(run, SILENT - 60)
    cloud.dispatch("run", "edge-1")
    before = run.state()
    assert reaped(cloud) == {}
    assert cloud.open_orders() == ["run.1.edge-1.1"]
    assert run.state() == before


@pytest.mark.parametrize("state", ["failed", "stopped"])
def test_a_run_whose_failed_step_is_repeated_lives(cloud: Cloud, state: str) -> None:
    run = cloud.run("run", state)
    age(run, "state.json", 100)
    sign_of_life(run, 50)
    cloud.dispatch("run", "edge-1")
    assert reaped(cloud) == {}
    assert cloud.open_orders() == ["run.1.edge-1.1"]
    sign_of_life(run, SILENT + 1)
    assert reaped(cloud) == {"run": ["run.1.edge-1.1"]}


def finished_runs(cloud: Cloud, count: int) -> None:
    for number in range(count):
        run = cloud.run(f"done-{number}", "finished")
        run.store.put(run.key("alive"), BETWEEN_STEPS)
        under_way.enter(run.store, run.id)


def requests_of_a_look(cloud: Cloud) -> list[tuple[str, str]]:
    store = WatchedStore(cloud.store)
    list(reap(store.as_store, cloud.inboxes, "tester", SILENT, BETWEEN, Faults()))
    return store.requests


def test_runs_that_are_over_cost_the_reaper_nothing(tmp_path: Path) -> None:
    looks = []
    for count in (0, 100):
        cloud = Cloud(tmp_path / str(count), "edge-1")
        finished_runs(cloud, count)
        sign_of_life(cloud.run("living", "running"), 10)
        under_way.enter(cloud.store, "living")
        reaped(cloud)
        looks.append(requests_of_a_look(cloud))
    assert looks[0] == looks[1]
    assert len(looks[0]) < 12


def test_a_run_that_cannot_be_read_holds_up_no_other_and_is_named(cloud: Cloud) -> None:
    for name in ("a-broken-one", "dead"):
        sign_of_life(cloud.run(name, "running"), SILENT + 1)
        cloud.dispatch(name, "edge-1")
    cloud.store.put("runs/a-broken-one/state.json", b"{")
    faults, said = Faults(), list[str]()
    closed = dict(reap(cloud.store, cloud.inboxes, "tester", SILENT, BETWEEN, faults))
    assert closed == {"a-broken-one": ["a-broken-one.1.edge-1.1"], "dead": ["dead.1.edge-1.1"]}
    assert faults.error() is None
    faults.tell(said.append)
    (told,) = said
    assert "runs/a-broken-one/state.json is not a valid runstate" in told
    assert "cloudedge tasks delete a-broken-one" in told


def test_the_runs_of_a_store_that_knows_no_list_of_those_under_way_are_put_on_it_once(cloud: Cloud) -> None:
    """An older version wrote none; and a person may have emptied the reaper's folder."""
    finished_runs(cloud, 3)
    for name in ("dead", "living"):
        sign_of_life(cloud.run(name, "running"), SILENT + 1 if name == "dead" else 10)
    cloud.store.delete_below("reaper")
    (cloud.store.root / "runs" / "New folder").mkdir()
    (cloud.store.root / "runs" / "New folder" / "notes.txt").write_text("not ours")
    reaped(cloud)
    assert (state := Run(cloud.store, "dead").state()) is not None
    assert state.state == "stopped"
    assert under_way.listed(cloud.store) == {"living"}


def test_a_step_puts_its_run_on_the_list_again(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cloud.run("run", "failed")
    reaped(cloud)
    assert under_way.listed(cloud.store) == set()
    for name, value in {
        "store": cloud.store.root.as_uri(),
        "inboxes": cloud.inboxes.root.as_uri(),
        "scratch": tmp_path,
    }.items():
        monkeypatch.setenv(f"CLOUDEDGE_{name.upper()}", str(value))
    with step("run", "again"):
        assert under_way.listed(cloud.store) == {"run"}


def test_a_run_whose_step_begins_while_the_reaper_leaves_it_stays_on_the_list(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody would ever look at it again, were it to die in that step."""
    run = cloud.run("run", "failed")
    sign_of_life(run, SILENT + 1)
    under_way.enter(cloud.store, "run")
    leave = under_way.leave

    def leaves_as_a_step_begins(store: Store, name: str) -> None:
        under_way.enter(cloud.store, "run")
        sign_of_life(run, 0)
        leave(store, name)

    monkeypatch.setattr(under_way, "leave", leaves_as_a_step_begins)
    reaped(cloud)
    assert under_way.listed(cloud.store) == {"run"}


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_reaper_whose_clock_is_wrong_harms_no_living_run(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """Ages are by the store's clock alone; the reaper's own is set wrong here."""
    living, dead = cloud.run("living", "running"), cloud.run("dead", "running")
    sign_of_life(living, 10)
    sign_of_life(dead, SILENT + 10)
    cloud.dispatch("living", "edge-1")
    cloud.dispatch("dead", "edge-2")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + hours * 3600)
    assert reaped(cloud) == {"dead": ["dead.1.edge-2.1"]}


def test_a_reaper_in_the_middle_of_a_dispatch_takes_nothing_from_it(cloud: Cloud) -> None:
    living = cloud.run("living", "running")
    sign_of_life(living, 0)
    for number in range(3):
        cloud.run(f"dead-{number}", "failed")
    stop = threading.Event()
    closed: list[str] = []

    def keep_reaping() -> None:
        while not stop.is_set():
            for orders in reaped(cloud).values():
                closed.extend(orders)

    reaper = threading.Thread(target=keep_reaping)
    reaper.start()
    try:
        for number in range(3):
            for edge in ("edge-1", "edge-2", "edge-3"):
                cloud.dispatch(f"dead-{number}", edge)
                if number == 0:
                    cloud.dispatch("living", edge)
    finally:
        stop.set()
        reaper.join()
    closed += [order for orders in reaped(cloud).values() for order in orders]
    assert cloud.open_orders() == [f"living.1.edge-{number}.1" for number in (1, 2, 3)]
    assert sorted(closed) == [f"dead-{run}.1.edge-{edge}.1" for run in range(3) for edge in (1, 2, 3)]
