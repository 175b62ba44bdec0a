"""What surrounds every step: however it ends, the run says how, and no order stays open."""

import errno
import os
import signal
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.runs.closing import are_closed
from cloud.runs.events import events
from cloud.runs.state import set_state
from cloud.runs.step_records import RunState
from cloud.step import Step, step
from cloud.tracking import NOTE_TAG, TrackingLog
from cloudedge.documents import Phase
from cloudedge.errors import InvalidInput, StoreFailed
from cloudedge.store import DirectoryStore
from components.collaborative_training.fuse.step import fuse_round
from tests.cloud.tracking.told import WARNINGS_OF_MLFLOW
from tests.components.cloud import Cloud
from tests.digits import EDGES, digits_task


def test_a_mistake_of_ours_is_a_failure_with_a_message_and_closes_the_orders(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()

    with pytest.raises(ZeroDivisionError), step("digits", "wait-1"):
        1 / 0  # noqa: B018

    state = cloud.run.state()
    assert state is not None
    assert (state.state, state.exit_code) == ("failed", 1)
    assert state.message == "wait-1 broke: ZeroDivisionError: division by zero"
    assert cloud.open_orders() == []


def test_ctrl_c_stops_the_run_and_mlflow_is_told(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()

    with pytest.raises(KeyboardInterrupt), step("digits", "wait-1"):
        raise KeyboardInterrupt

    state = cloud.run.state()
    assert state is not None
    assert (state.state, state.exit_code, state.message) == ("stopped", 130, "wait-1 was terminated.")
    assert cloud.open_orders() == []
    (told,) = TrackingLog(cloud.store, "digits").read("end").records
    assert told.status == "killed"
    assert told.tags[NOTE_TAG].startswith("**Run stopped.** ")


def test_a_second_termination_does_not_end_the_way_out_of_the_first(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.pretrained().dispatched()
    put, ends = DirectoryStore.put, list[int]()

    def put_and_terminate(store: DirectoryStore, key: str, content: bytes) -> None:
        put(store, key, content)
        if key == cloud.run.key("state.json"):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(DirectoryStore, "put", put_and_terminate)
    former = signal.signal(signal.SIGTERM, lambda number, _: ends.append(number))
    try:
        with pytest.raises(SystemExit), step("digits", "wait-1"):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, former)

    assert ends == []
    assert cloud.open_orders() == []


def test_a_termination_while_mlflow_is_told_of_what_is_done_closes_the_orders_too(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.pretrained().dispatched()
    monkeypatch.setattr(Step, "relay", lambda _, **__: os.kill(os.getpid(), signal.SIGTERM))

    with pytest.raises(SystemExit), step("digits", "wait-1"):
        pass

    state = cloud.run.state()
    assert state is not None
    assert state.state == "stopped"
    assert cloud.open_orders() == []


@pytest.mark.parametrize("ending", [SystemExit(143), InvalidInput("No.")], ids=["it was ended", "it failed"])
def test_a_step_that_is_repeated_has_its_run_run_again(cloud: Cloud, ending: BaseException) -> None:
    cloud.pretrained().round(1, EDGES)
    with pytest.raises(type(ending)), step("digits", "fuse-1"):
        raise ending

    with step("digits", "fuse-1") as work:
        assert work.resumed
        state = cloud.run.state()
        assert state is not None
        assert state.state == "running", "or another run's dispatch would take what it orders next out of the inboxes"
    with step("digits", "evaluate") as work:
        assert not work.resumed


def test_another_runs_dispatch_leaves_the_orders_of_a_run_whose_step_was_repeated(cloud: Cloud) -> None:
    cloud.pretrained(rounds=2).round(1, EDGES)
    with pytest.raises(SystemExit), step("digits", "fuse-1"):
        raise SystemExit(143)
    fuse_round("digits", 1)
    cloud.dispatched(2)

    replace(cloud, task=digits_task("other")).pretrained().dispatched()

    assert {order.run for order in cloud.orders(EDGES[0])} == {"digits", "other"}


def test_no_step_has_a_finished_run_run_again(cloud: Cloud) -> None:
    cloud.pretrained()
    finished = RunState(state="finished", at=datetime.now(UTC))
    set_state(cloud.run, finished)

    with step("digits", "report") as work:
        assert not work.resumed
    assert cloud.run.state() == finished


def test_the_operation_log_says_which_orders_a_failing_step_closed(cloud: Cloud) -> None:
    before = datetime.now(UTC)
    cloud.pretrained(edges=("edge-1",)).dispatched()
    assert not are_closed(cloud.run, before)

    with pytest.raises(InvalidInput), step("digits", "wait-1"):
        raise InvalidInput("No.")

    assert [event.details["closed"] for _, event in events(cloud.store, "digits") if event.action == "failed"] == [
        ["digits.1.edge-1.1"]
    ]
    assert are_closed(cloud.run, before)
    assert not are_closed(cloud.run, datetime.now(UTC))


def test_a_full_disk_keeps_its_own_message_though_nothing_can_be_recorded(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.pretrained().dispatched()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def work_until_it_is_full() -> None:
        with step("digits", "wait-1") as work:
            monkeypatch.setattr(os, "fsync", full)
            work.log("waited")

    with pytest.raises(StoreFailed, match="The disk is full: free some space and start again; nothing is lost"):
        work_until_it_is_full()

    monkeypatch.undo()


def test_a_step_tells_its_duration_when_it_is_done_and_not_when_it_fails(cloud: Cloud) -> None:
    cloud.pretrained()
    with step("digits", "good"):
        pass
    with pytest.raises(InvalidInput), step("digits", "bad"):
        raise InvalidInput("No.")

    done = [event.details["step"] for _, event in events(cloud.store, "digits") if event.action == "step-done"]
    assert done == ["pretrain", "good"]


@pytest.mark.filterwarnings(*WARNINGS_OF_MLFLOW)
def test_an_unreachable_mlflow_holds_up_no_step(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLOUDEDGE_TRACKING_URI", f"sqlite:///{tmp_path / 'nowhere' / 'mlflow.db'}")

    cloud.pretrained().dispatched()
    cloud.report("edge-1", Phase.TRAINING)

    assert [name for name, _ in TrackingLog(cloud.store, "digits").versions()] == ["create", "pretrain"]


def test_without_its_settings_a_step_names_all_that_it_misses(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDEDGE_STORE")
    monkeypatch.delenv("CLOUDEDGE_INBOXES")

    with pytest.raises(InvalidInput) as refused, step(cloud.task.id, "pretrain"):
        pass

    assert "CLOUDEDGE_STORE" in str(refused.value)
    assert "CLOUDEDGE_INBOXES" in str(refused.value)
