"""Waiting: quorum, deadline, stragglers and absentees, and what everybody is told of them."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud.faults import Faults
from cloud.inboxes import DirectoryInboxes, Inboxes
from cloud.orders.watch import OrderWatch
from cloud.patience import Away
from cloud.runs.events import events
from cloud.runs.lifecycle import cancel, reap
from cloud.runs.state import BETWEEN_STEPS, OVER
from cloud.settings import Settings
from cloud.tracking import NOTE_TAG, TrackingLog
from cloudedge.documents import EpochRecord, Phase
from cloudedge.errors import Cancelled, QuorumMissed
from cloudedge.store import Changes, DirectoryStore, Entry
from components.collaborative_training.fuse.step import fuse_round
from components.wait.step import wait_step
from tests.components.cloud import Cloud, content, manifest, scores, trained
from tests.components.cloud import epochs as epochs_of
from tests.digits import EDGES
from tests.waiting import until


def test_when_all_have_delivered_the_round_is_over(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    for edge in EDGES:
        cloud.deliver(edge)

    assert cloud.waited() == 3

    record = cloud.run.waited("1")
    assert record is not None
    assert [(one.edge, one.step, one.attempt) for one in record.delivered] == [(edge, "1", 1) for edge in EDGES]
    assert (record.missing, record.late) == ((), {})


def test_an_edge_that_says_done_before_its_manifest_is_seen_is_waited_for(cloud: Cloud) -> None:
    # A listing is no snapshot: it may hold an edge's last report and not yet the manifest that was written before it.
    cloud.pretrained().dispatched()
    for edge in EDGES:
        cloud.report(edge, Phase.DONE, [0.1, 0.2])
    watch = OrderWatch.of(cloud.run, "1")

    watch.look()

    assert all(watched.pending for watched in watch.edges.values())
    for edge in EDGES:
        cloud.deliver(edge)
    assert cloud.waited() == 3


def test_with_its_quorum_a_round_does_not_wait_for_stragglers(cloud: Cloud) -> None:
    cloud.pretrained(quorum=2).dispatched()
    cloud.deliver("edge-1")
    cloud.deliver("edge-2")
    cloud.report("edge-3", Phase.TRAINING, [0.1, 0.2])

    assert cloud.waited() == 2

    record = cloud.run.waited("1")
    assert record is not None
    assert [(one.edge, one.reason) for one in record.missing] == [("edge-3", "still training, 2 of 40 epochs")]
    assert record.late == {"edge-3": "1"}


def test_what_holds_a_straggler_up_is_said(cloud: Cloud) -> None:
    cloud.pretrained(quorum=2).dispatched()
    cloud.deliver("edge-1")
    cloud.deliver("edge-2")
    cloud.report("edge-3", Phase.ACCEPTED, error="Cannot enter the control group /line.", kind="StoreFailed")

    cloud.waited()

    record = cloud.run.waited("1")
    assert record is not None
    assert record.missing[0].reason == "still accepted, 0 of 40 epochs; held up: Cannot enter the control group /line."


def test_in_the_grace_time_stragglers_may_still_deliver(cloud: Cloud) -> None:
    cloud.pretrained(quorum=2, straggler_grace_seconds=300).dispatched()
    cloud.deliver("edge-1")
    cloud.deliver("edge-2")
    order = cloud.orders("edge-3")[0]
    results: list[int] = []
    waiting = threading.Thread(target=lambda: results.append(cloud.waited()))
    waiting.start()
    until(lambda: cloud.store.stat(cloud.run.key("tracking/records/wait-000001-000000.json")))
    cloud.deliver("edge-3", order=order)
    waiting.join()

    assert results == [3]


def test_at_the_deadline_a_round_below_its_quorum_fails_and_names_each_absentee(cloud: Cloud) -> None:
    cloud.pretrained(round_deadline_seconds=0.2, quorum=2).dispatched()
    cloud.deliver("edge-1")
    cloud.report("edge-2", Phase.COLLECTING)

    with pytest.raises(QuorumMissed) as missed:
        cloud.waited()

    assert str(missed.value).splitlines() == [
        "Round 1 got 1 results of the 2 it needs before the deadline:",
        "  - edge-2: still collecting, 0 of 40 epochs",
        "  - edge-3: no sign of life since the order was issued; is the edge online?",
        "Mend what is wrong there, if anything is, and run the same task again, which goes on here; "
        "or allow a smaller quorum or a later deadline in a new task.",
    ]


def test_where_one_edge_alone_was_asked_nobody_speaks_of_a_smaller_quorum(cloud: Cloud) -> None:
    cloud.pretrained(edges=(EDGES[0],)).dispatched()
    cloud.report(EDGES[0], Phase.FAILED, error="No detector judges by the model.")

    with pytest.raises(QuorumMissed) as missed:
        cloud.waited()

    assert str(missed.value).splitlines() == [
        "Round 1 got no result, and none can come any more:",
        "  - edge-1: failed: No detector judges by the model.",
        "Mend what is wrong there, if anything is, and run the same task again, which goes on here; "
        "or allow a later deadline in a new task.",
    ]


def test_a_round_ends_at_once_when_its_quorum_is_out_of_reach(cloud: Cloud) -> None:
    cloud.pretrained(quorum=3).dispatched()
    cloud.report("edge-1", Phase.FAILED, error="This edge has no samples to train on.")

    with pytest.raises(QuorumMissed, match="and no more can come") as missed:
        cloud.waited()

    assert "  - edge-1: failed: This edge has no samples to train on." in str(missed.value)


def test_what_an_edge_gives_as_its_reason_can_only_be_read(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.pretrained().dispatched()
    cloud.report("edge-1", Phase.FAILED, error="\x1b[2J\u202e ![x](http://nowhere/seen) <img src=x>")

    with pytest.raises(QuorumMissed) as missed:
        cloud.waited()

    assert not {"\x1b", "\u202e"} & {*str(missed.value), *capsys.readouterr().out}
    (told,) = TrackingLog(cloud.store, cloud.task.id).read("end").records
    assert "![" not in told.tags[NOTE_TAG]
    assert "<img" not in told.tags[NOTE_TAG]


def test_where_training_diverged_everywhere_nobody_is_told_to_run_the_same_task_again(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    for edge in EDGES:
        cloud.report(edge, Phase.FAILED, error="Training diverged in epoch 1: the loss is nan.", kind="Diverged")

    with pytest.raises(QuorumMissed) as missed:
        cloud.waited()

    assert str(missed.value).splitlines()[4:] == [
        "Training that diverged does so again with the same task: start a new one, under another id, with a smaller "
        "collaboration.training.learning_rate, or another optimizer or loss."
    ]


def test_where_it_diverged_at_some_the_others_are_worth_another_try(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    cloud.report("edge-1", Phase.FAILED, error="Training diverged.", kind="Diverged")
    cloud.report("edge-2", Phase.FAILED, error="Broken sensor.")

    with pytest.raises(QuorumMissed) as missed:
        cloud.waited()

    other, diverged = str(missed.value).splitlines()[-2:]
    assert "run the same task again, which goes on here" in other
    assert diverged.startswith("Training that diverged does so again with the same task")


def test_a_failed_step_closes_its_orders_and_says_why(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    cloud.report("edge-1", Phase.FAILED, error="Broken sensor.")

    with pytest.raises(QuorumMissed):
        cloud.waited()

    assert cloud.open_orders() == []
    state = cloud.run.state()
    assert state is not None
    assert (state.state, state.exit_code) == ("failed", 6)
    assert "edge-1: failed: Broken sensor." in state.message
    assert [event.action for _, event in events(cloud.store, cloud.task.id)][-1] == "failed"
    assert TrackingLog(cloud.store, cloud.task.id).read("end").records[0].status == "failed"


def test_after_a_missed_quorum_the_run_goes_on_with_what_was_delivered(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    cloud.deliver("edge-1")
    cloud.report("edge-2", Phase.FAILED)
    with pytest.raises(QuorumMissed):
        cloud.waited()

    cloud.pretrained().dispatched()

    assert cloud.open_orders() == ["digits.1.edge-2.2", "digits.1.edge-3.2"]
    for edge in ("edge-2", "edge-3"):
        cloud.deliver(edge)
    assert cloud.waited() == 3
    record = cloud.run.waited("1")
    assert record is not None
    assert [one.attempt for one in record.delivered] == [1, 2, 2]


def test_a_late_model_joins_the_next_round_and_its_edge_gets_no_second_order(cloud: Cloud) -> None:
    cloud.pretrained(quorum=2)
    cloud.dispatched()
    cloud.deliver("edge-1")
    cloud.deliver("edge-2")
    cloud.report("edge-3", Phase.TRAINING, [0.1])
    cloud.waited()
    fuse_round(cloud.task.id, 1)

    assert cloud.dispatched(2) == 3
    assert [order.id for order in cloud.orders("edge-3")] == ["digits.1.edge-3.1"]
    cloud.deliver("edge-1")
    late = cloud.deliver("edge-3", 0.7)
    assert cloud.waited(2) == 2
    record = fuse_round(cloud.task.id, 2)

    assert record is not None
    assert [(c.edge, c.round) for c in record.contributions] == [("edge-1", 2), ("edge-3", 1)]
    assert late.read_bytes()
    assert [one.edge for one in record.left_out] == ["edge-2"]


def test_a_late_edge_whose_order_was_closed_takes_part_as_the_others_do(cloud: Cloud) -> None:
    cloud.pretrained(quorum=2)
    cloud.dispatched()
    cloud.deliver("edge-1")
    cloud.deliver("edge-2")
    cloud.report("edge-3", Phase.TRAINING, [0.1])
    cloud.waited()
    fuse_round(cloud.task.id, 1)
    cloud.dispatched(2)
    for edge in ("edge-1", "edge-2"):
        cloud.report(edge, Phase.FAILED)
    with pytest.raises(QuorumMissed):
        cloud.waited(2)

    cloud.dispatched(2)

    assert cloud.open_orders() == ["digits.2.edge-1.2", "digits.2.edge-2.2", "digits.2.edge-3.1"]


def test_a_straggler_that_never_gave_a_sign_gets_the_next_rounds_order(cloud: Cloud) -> None:
    cloud.pretrained(quorum=2).round(1, ["edge-1", "edge-2"])

    cloud.dispatched(2)

    assert [order.id for order in cloud.orders("edge-3")] == ["digits.2.edge-3.1"]


def test_results_that_are_no_results_count_as_missing(cloud: Cloud) -> None:
    cloud.pretrained(quorum=1).dispatched()
    cloud.deliver("edge-1")
    other = cloud.orders("edge-3")[0]
    foreign = manifest(other, trained(other, samples=3))
    cloud.store.put(cloud.run.manifest_key(cloud.orders("edge-2")[0]), foreign.to_json())
    cloud.store.put(cloud.run.manifest_key(cloud.orders("edge-3")[0]), b'{"result": {"kind": "train", "samples": -1}}')

    assert cloud.waited() == 1

    record = cloud.run.waited("1")
    assert record is not None
    reasons = {one.edge: one.reason for one in record.missing}
    assert "is about digits.1.edge-3.1, not digits.1.edge-2.1" in reasons["edge-2"]
    assert "result.train.samples: found -1; give 0 or more" in reasons["edge-3"]
    logged = [event.details for _, event in events(cloud.store, cloud.task.id) if event.action == "left-out"]
    assert {one["edge"]: one["reason"] for one in logged} == reasons


def test_a_report_that_is_none_costs_its_edge_no_result(cloud: Cloud) -> None:
    cloud.pretrained(edges=("edge-1", "edge-2"), quorum=1, round_deadline_seconds=0.5).dispatched()
    for edge in ("edge-1", "edge-2"):
        cloud.store.put(cloud.run.report_key(cloud.orders(edge)[0]), b'{"epoch": "many"}')
    cloud.deliver("edge-1")

    assert cloud.waited() == 1

    record = cloud.run.waited("1")
    assert record is not None
    assert [one.edge for one in record.delivered] == ["edge-1"]
    assert record.missing[0].reason.startswith("sent a report that is not believed: ")
    logged = [event.details for _, event in events(cloud.store, cloud.task.id) if event.action == "misreported"]
    assert sorted(one["edge"] for one in logged) == ["edge-1", "edge-2"]


def test_after_a_report_that_is_none_the_next_one_counts(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    watch = OrderWatch.of(cloud.run, "1")
    cloud.store.put(cloud.run.report_key(cloud.orders("edge-1")[0]), b"{")
    watch.look()
    assert watch.edges["edge-1"].pending
    cloud.report("edge-1", Phase.FAILED, error="Broken sensor.")
    watch.look()

    assert watch.edges["edge-1"].state() == "failed: Broken sensor."
    assert not watch.edges["edge-1"].pending


def test_a_refused_result_is_asked_for_anew_when_the_run_goes_on(cloud: Cloud) -> None:
    cloud.pretrained(edges=("edge-1",)).dispatched()
    cloud.store.put(cloud.run.manifest_key(cloud.orders("edge-1")[0]), b"{")
    with pytest.raises(QuorumMissed, match="it is not JSON"):
        cloud.waited()

    cloud.dispatched()

    assert cloud.open_orders() == ["digits.1.edge-1.2"]
    cloud.deliver("edge-1")
    assert cloud.waited() == 1


def test_an_older_report_never_replaces_a_newer_one(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    watch = OrderWatch.of(cloud.run, "1")
    cloud.report("edge-1", Phase.TRAINING, [0.1, 0.2], sequence=5)
    watch.look()
    cloud.report("edge-1", Phase.ACCEPTED, sequence=4)
    watch.look()

    report = watch.edges["edge-1"].report
    assert report is not None
    assert report.phase is Phase.TRAINING


def test_repeated_after_its_end_it_changes_nothing(cloud: Cloud) -> None:
    cloud.pretrained(quorum=2).dispatched()
    for edge in EDGES[:2]:
        cloud.deliver(edge)
    cloud.waited()
    before = content(cloud.store, cloud.run.key("rounds"), cloud.run.key("tracking"))
    cloud.deliver("edge-3")

    assert cloud.waited() == 2
    after = content(cloud.store, cloud.run.key("rounds"), cloud.run.key("tracking"))
    assert {key: after[key] for key in before} == before


def test_a_step_that_is_done_says_so_to_the_reaper_and_so_does_one_that_failed(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    assert cloud.store.get(cloud.run.key("alive"), 100) == BETWEEN_STEPS
    cloud.report("edge-1", Phase.FAILED)
    with pytest.raises(QuorumMissed):
        cloud.waited()
    assert cloud.store.get(cloud.run.key("alive"), 100) == OVER


def test_a_wait_that_begins_after_the_run_was_taken_for_dead_asks_the_edges_again(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    cloud.deliver("edge-1")
    assert dict(reap(cloud.store, cloud.inboxes, "reaper", 0, 0, Faults())) == {
        "digits": [f"digits.1.{edge}.1" for edge in EDGES]
    }
    results: list[int] = []
    waiting = threading.Thread(target=lambda: results.append(cloud.waited()))
    waiting.start()
    until(lambda: cloud.open_orders() == ["digits.1.edge-2.2", "digits.1.edge-3.2"])
    assert (state := cloud.run.state()) is not None
    assert state.state == "running"
    for edge in ("edge-2", "edge-3"):
        cloud.deliver(edge)
    waiting.join()

    assert results == [3]


def test_cancelling_the_run_ends_the_wait_and_closes_its_orders(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            cloud.waited()
        except BaseException as error:
            errors.append(error)

    alive = cloud.store.stat(cloud.run.key("alive"))
    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: cloud.store.stat(cloud.run.key("alive")) != alive)
    cancel(cloud.store, cloud.inboxes, cloud.task.id, "somebody", Faults())
    waiting.join()

    assert [type(error) for error in errors] == [Cancelled]
    assert cloud.open_orders() == []


# The signal may come between a file's opening and its `with`: the file is then closed as it is forgotten.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_terminated_step_closes_its_orders_and_the_run_is_stopped(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    alive = cloud.store.stat(cloud.run.key("alive"))

    def terminate() -> None:
        until(lambda: cloud.store.stat(cloud.run.key("alive")) != alive)
        os.kill(os.getpid(), signal.SIGTERM)

    former = signal.getsignal(signal.SIGTERM)
    killer = threading.Thread(target=terminate)
    killer.start()
    with pytest.raises(SystemExit) as end:
        cloud.waited()
    killer.join()

    assert end.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is former
    assert cloud.open_orders() == []
    state = cloud.run.state()
    assert state is not None
    assert (state.state, state.exit_code) == ("stopped", 130)


class CountingStore(DirectoryStore):
    """Counts what is asked of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.calls: Counter[str] = Counter()

    def get(self, key: str, max_bytes: int) -> bytes:
        self.calls["get " + key.rpartition("/")[2]] += 1
        return super().get(key, max_bytes)

    def list(self, prefix: str) -> Iterator[Entry]:
        self.calls["list"] += 1
        return super().list(prefix)


def test_a_look_lists_reports_and_results_and_reads_only_what_changed(cloud: Cloud) -> None:
    edges = tuple(f"edge-{number}" for number in range(1, 31))
    cloud.pretrained(edges=edges).dispatched()
    for edge in edges:
        cloud.report(edge, Phase.TRAINING, [0.1])
    store = CountingStore(cloud.store.root)
    watch = OrderWatch.of(type(cloud.run)(store, cloud.task.id), "1")
    store.calls.clear()

    watch.look()
    assert store.calls == {"list": 2, **{f"get {edge}-1.json": 1 for edge in edges}}

    store.calls.clear()
    assert [watch.look() for _ in range(10)] == [[]] * 10
    assert store.calls == {"list": 20}

    store.calls.clear()
    cloud.report("edge-7", Phase.TRAINING, [0.1, 0.2], sequence=2)
    assert [watched.order.edge for watched in watch.look()] == ["edge-7"]
    assert store.calls == {"list": 2, "get edge-7-1.json": 1}


def test_to_open_a_round_is_one_object_however_many_take_part(cloud: Cloud) -> None:
    cloud.pretrained(edges=tuple(f"edge-{number}" for number in range(1, 31))).dispatched()
    store = CountingStore(cloud.store.root)

    watch = OrderWatch.of(type(cloud.run)(store, cloud.task.id), "1")

    assert store.calls == {"get dispatch.json": 1}
    assert {edge: watched.order.id for edge, watched in watch.edges.items()} == {
        edge: cloud.orders(edge)[0].id for edge in watch.edges
    }


def test_a_poll_of_the_step_costs_the_same_with_many_silent_edges(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.pretrained(edges=tuple(f"edge-{number}" for number in range(1, 31))).dispatched()
    store = CountingStore(cloud.store.root)
    monkeypatch.setattr(Settings, "open_store", lambda self: store)

    def cancel_in_time() -> None:
        until(lambda: store.calls["list"] > 6)
        cancel(cloud.store, cloud.inboxes, cloud.task.id, "somebody", Faults())

    canceller = threading.Thread(target=cancel_in_time)
    canceller.start()
    with pytest.raises(Cancelled):
        wait_step(cloud.task.id, "1")
    canceller.join()

    each_poll = {"list", "get cancelled.json"}
    assert {name: count for name, count in store.calls.items() if name not in each_poll and count > 2} == {}
    assert all(store.calls[name] <= store.calls["list"] + 3 for name in each_poll)


def test_edges_that_have_not_accepted_are_hurried_while_the_step_waits(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.pretrained(quorum=3).dispatched()
    accepted: list[dict[str, bool]] = []

    @contextmanager
    def nudging(_: Inboxes, edges: Collection[str], has_accepted: Callable[[str], bool]) -> Iterator[None]:
        accepted.append({edge: has_accepted(edge) for edge in edges})
        yield
        accepted.append({edge: has_accepted(edge) for edge in edges})

    monkeypatch.setattr(DirectoryInboxes, "nudging", nudging)
    cloud.report("edge-1", Phase.ACCEPTED)
    cloud.report("edge-2", Phase.FAILED)

    with pytest.raises(QuorumMissed):
        cloud.waited()

    assert accepted == [dict.fromkeys(EDGES, False), {"edge-1": True, "edge-2": True, "edge-3": False}]


class DeafStore(DirectoryStore):
    """Says that nothing was written, whatever was."""

    @contextmanager
    def changes(self, prefix: str) -> Iterator[Changes]:
        yield dict


def test_at_the_deadline_a_result_that_was_not_told_counts(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.pretrained(round_deadline_seconds=0.5).dispatched()
    store = DeafStore(cloud.store.root)
    monkeypatch.setattr(Settings, "open_store", lambda self: store)
    watch = OrderWatch.of(type(cloud.run)(store, cloud.task.id), "1")
    with watch.told():
        watch.look()
        for edge in EDGES:
            cloud.deliver(edge)
        assert watch.look() == []

    assert cloud.waited() == 3


def test_each_epoch_of_an_edge_is_told_once(cloud: Cloud) -> None:
    cloud.pretrained(quorum=1).dispatched()
    orders = {edge: cloud.orders(edge)[0] for edge in EDGES}
    log = TrackingLog(cloud.store, cloud.task.id)
    waiting = threading.Thread(target=cloud.waited)
    cloud.report("edge-1", Phase.TRAINING, [0.1])
    waiting.start()
    until(lambda: len(waits(log)) == 1)
    cloud.report("edge-1", Phase.TRAINING, [0.1, 0.2], sequence=2)
    until(lambda: len(waits(log)) == 2)
    cloud.report("edge-2", Phase.FAILED, [0.3], error="Broken.", sequence=2)
    until(lambda: len(waits(log)) == 3)
    cloud.deliver("edge-1", order=orders["edge-1"])
    waiting.join()

    told = [record for name in waits(log) for record in log.read(name).records]
    points = [(record.child, p.key, p.step) for record in told for p in record.metrics]
    assert len(points) == len(set(points))
    accuracies = {(record.child, p.step): p.value for record in told for p in record.metrics if p.key == "accuracy"}
    assert accuracies == {("edge/edge-1", 0): 0.1, ("edge/edge-1", 1): 0.2, ("edge/edge-2", 0): 0.3}
    assert {record.child: record.status for record in told} == {"edge/edge-1": "finished", "edge/edge-2": "failed"}
    assert [record.status for record in told if record.edge == "edge-1"] == ["running", None, "finished"]


def test_an_edges_epochs_go_on_from_round_to_round_and_no_claim_runs_into_the_next_one(cloud: Cloud) -> None:
    cloud.pretrained()
    epochs = cloud.task.collaboration.training.epochs
    cloud.round(1, EDGES)
    cloud.dispatched(2)
    (order,) = cloud.orders("edge-1")
    claimed = EpochRecord(epoch=1000, train_loss=1, scores=scores(0.9), seconds=0.1)
    cloud.deliver("edge-1", order=order, history=(*epochs_of([0.5, 0.6]), claimed))
    for edge in EDGES[1:]:
        cloud.deliver(edge)
    cloud.waited(2)

    log = TrackingLog(cloud.store, cloud.task.id)
    told = [record for name in waits(log) for record in log.read(name).records if record.child == "edge/edge-1"]
    points = [point for record in told for point in record.metrics]
    accuracy = [(point.step, point.value) for point in points if point.key == "accuracy"]
    begin = epochs + 1
    assert accuracy == [(0, 0.4), (1, 0.8), (begin, 0.5), (begin + 1, 0.6), (begin + epochs, 0.9)]
    by_round = {(point.key, point.step): point.value for point in points if point.key.startswith("round/")}
    assert by_round == {
        **{("round/received_accuracy", number): 0.4 for number in (1, 2)},
        **{("round/trained_accuracy", number): 0.8 for number in (1, 2)},
        **{("round/samples", number): 12 for number in (1, 2)},
    }


def waits(log: TrackingLog) -> list[str]:
    return [name for name, _ in log.versions() if name.startswith("wait-")]


def test_orders_whose_urls_ended_while_this_machine_slept_are_renewed_and_no_deadline_has_passed(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Suspend lets the boot clock and the wall clock go on, and the monotonic clock stand still."""
    monkeypatch.setattr(DirectoryStore, "longest_url_seconds", 604_800.0)
    cloud.pretrained(round_deadline_seconds=600).dispatched()
    asleep = [0.0]
    real = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + asleep[0])
    waiting = threading.Thread(target=cloud.waited)
    waiting.start()
    cloud.report("edge-1", Phase.TRAINING, [0.1])
    until(lambda: waits(TrackingLog(cloud.store, cloud.task.id)) != [])  # It looks, and has begun to count.
    asleep[0] = 7200.0
    until(lambda: any(event.action == "renewed" for _, event in events(cloud.store, cloud.run.id)))
    for edge in EDGES:
        cloud.deliver(edge)
    waiting.join()
    record = cloud.run.waited("1")
    assert record is not None
    assert (len(record.delivered), record.missing) == (3, ())
    assert record.seconds < 600


def test_orders_are_renewed_while_they_are_waited_for_and_a_carrier_that_is_away_ends_no_wait(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(DirectoryStore, "longest_url_seconds", 0.2)
    monkeypatch.setattr("cloud.orders.wait._RENEWAL_AGAIN_SECONDS", 0.1)
    cloud.pretrained().dispatched()
    update, tries = DirectoryInboxes.update, []

    def away_at_first(*arguments: Any) -> Any:
        tries.append(arguments)
        if len(tries) == 1:
            raise Away("The carrier is away.")
        return update(*arguments)

    monkeypatch.setattr(DirectoryInboxes, "update", away_at_first)

    assert delivered_once_renewed(cloud) == 3
    said = capsys.readouterr().out
    assert "could not be renewed, which is tried again: The carrier is away." in said
    assert "3 open orders have new URLs" in said


def delivered_once_renewed(cloud: Cloud) -> int:
    """Wait for the round, whose edges deliver once their orders were renewed; how many did."""

    def deliver() -> None:
        until(lambda: any(event.action == "renewed" for _, event in events(cloud.store, cloud.run.id)))
        for edge in EDGES:
            cloud.deliver(edge)

    edges = threading.Thread(target=deliver)
    edges.start()
    delivered = cloud.waited()
    edges.join()
    return delivered


def test_orders_whose_urls_hold_for_less_than_others_would_are_renewed_in_time(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those do that were signed with credentials that end soon."""
    monkeypatch.setattr(DirectoryStore, "longest_url_seconds", 604_800.0)
    cloud.pretrained().dispatched()
    dispatched = cloud.run.dispatched("1")
    assert dispatched is not None
    edge = max(dispatched.orders, key=lambda order: order.issued_at).edge  # Not the oldest, which would be looked at first.
    order = cloud.run.order("1", edge)
    assert order is not None
    begin = datetime.now(UTC) - timedelta(seconds=600)
    url = f"{order.report.url}?X-Amz-Date={begin:%Y%m%dT%H%M%SZ}&X-Amz-Expires=900"
    short = order.model_copy(update={"report": order.report.model_copy(update={"url": url})})
    cloud.run.put(cloud.run.order_key("1", edge), short)

    assert delivered_once_renewed(cloud) == 3
