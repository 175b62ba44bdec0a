"""An edge that was removed, or whose inbox cannot be used, is absent with a reason; a run goes on while its quorum has room."""

import itertools
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloud.inboxes import DirectoryInboxes
from cloud.orders.issue import renew
from cloud.patience import Away
from cloud.runs.events import events
from cloud.runs.run import Run
from cloud.runs.step_records import DispatchRecord
from cloud.step import step
from cloudedge.errors import QuorumMissed, StoreFailed
from components.collaborative_training.fuse.step import fuse_round
from components.evaluate.step import evaluate_run
from components.wait.step import wait_step
from tests.components.cloud import Cloud
from tests.digits import EDGES
from tests.waiting import until

Loss = Callable[[Cloud], None]


def inbox_of(cloud: Cloud, edge: str = "edge-3") -> Path:
    return cloud.inboxes.root / edge


def removed(cloud: Cloud) -> None:
    shutil.rmtree(inbox_of(cloud), ignore_errors=True)


def broken(cloud: Cloud) -> None:
    (inbox_of(cloud) / "inbox.json").resolve().write_bytes(b"{}")


def silent(cloud: Cloud) -> None:
    """What becomes of a run in which nothing is broken, but edge-3 never says anything."""


REASONS: dict[Loss, str] = {removed: "it is not enrolled any more", broken: "its inbox cannot be used: edge: missing; add it"}

MOMENTS = ("before round 1", "in round 1", "before round 2", "in round 2", "before the evaluation")


def dispatched(cloud: Cloud, number: int = 1) -> DispatchRecord:
    record = cloud.run.dispatched(str(number))
    assert record is not None
    return record


def left_out(cloud: Cloud, number: int = 1) -> dict[str, str]:
    """Who is missing in a round, and why."""
    record = cloud.run.waited(str(number))
    assert record is not None
    return {one.edge: one.reason for one in record.missing}


def evaluated(cloud: Cloud) -> Any:
    found: list[Any] = []
    at_work = threading.Thread(target=lambda: found.append(evaluate_run(cloud.task.id)))
    at_work.start()
    for edge in EDGES[:2]:
        until(lambda edge=edge: [order.work.kind for order in cloud.orders(edge)] == ["evaluate"])  # type: ignore[misc]
        cloud.judge(edge, 0.5, 0.6)
    at_work.join()
    (evaluation,) = found
    return evaluation


def played(cloud: Cloud, moment: str, loss: Loss) -> Any:
    """A whole run of two rounds, in which edge-1 and edge-2 do all that they are asked, and edge-3 is lost at some moment."""
    cloud.pretrained(quorum=2, rounds=2)
    for number in (1, 2):
        if moment == f"before round {number}":
            loss(cloud)
        assert cloud.dispatched(number) >= 2
        if moment == f"in round {number}":
            loss(cloud)
        for edge in EDGES[:2]:
            cloud.deliver(edge, 0.1 * number)
        assert wait_step(cloud.task.id, str(number))[0] == 2
        fuse_round(cloud.task.id, number)
    if moment == "before the evaluation":
        loss(cloud)
    return evaluated(cloud)


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    """What came of the run in which nothing was broken, once it was played."""
    return {}


@pytest.mark.parametrize(
    ("moment", "loss"),
    # That one is a mistake in the task, which names an edge that nobody has enrolled.
    [each for each in itertools.product(MOMENTS, REASONS) if each != ("before round 1", removed)],
)
def test_whenever_an_edge_is_lost_the_others_make_the_same_model_and_it_is_named(
    cloud: Cloud, tmp_path: Path, undisturbed: dict[str, Any], moment: str, loss: Loss
) -> None:
    if not undisturbed:
        whole = Cloud(tmp_path / "whole", cloud.task, cloud.cloud_data)
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("CLOUDEDGE_STORE", whole.store.root.as_uri())
            patched.setenv("CLOUDEDGE_INBOXES", whole.inboxes.root.as_uri())
            undisturbed["evaluation"] = played(whole, "", silent)

    evaluation = played(cloud, moment, loss)

    expected = undisturbed["evaluation"]
    assert evaluation.sha256 == expected.sha256
    assert evaluation.gate.edges == expected.gate.edges
    (unmeasured,) = evaluation.gate.left_out
    assert (unmeasured.edge, unmeasured.reason.startswith(REASONS[loss])) == ("edge-3", True)
    told = [event.details for _, event in events(cloud.store, cloud.run.id) if event.action == "left-out"]
    assert {one["edge"] for one in told} == {"edge-3"}
    assert all(one["reason"].startswith(REASONS[loss]) for one in told)
    if moment[-1].isdigit():
        assert left_out(cloud, int(moment[-1]))["edge-3"].startswith(REASONS[loss])


@pytest.mark.parametrize("loss", REASONS)
def test_a_round_that_failed_goes_on_without_an_edge_that_was_lost_meanwhile(cloud: Cloud, loss: Loss) -> None:
    cloud.pretrained(quorum=2, round_deadline_seconds=0.2).dispatched()
    cloud.deliver("edge-1")
    with pytest.raises(QuorumMissed):
        cloud.waited()
    loss(cloud)

    assert cloud.dispatched() == 2

    assert [order.absence.startswith(REASONS[loss]) for order in dispatched(cloud).orders] == [False, False, True]
    cloud.deliver("edge-2")
    assert cloud.waited() == 2
    assert left_out(cloud)["edge-3"].startswith(REASONS[loss])


def test_an_edge_that_was_removed_after_it_delivered_has_delivered(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    cloud.deliver("edge-3")
    removed(cloud)

    assert cloud.dispatched() == 3

    for edge in EDGES[:2]:
        cloud.deliver(edge)
    assert cloud.waited() == 3


def test_a_dispatch_whose_quorum_cannot_be_met_names_all_who_are_absent_and_leaves_no_order(cloud: Cloud) -> None:
    cloud.pretrained(quorum=2)
    for edge in EDGES[1:]:
        (inbox_of(cloud, edge) / "inbox.json").resolve().write_bytes(b"{")

    with pytest.raises(QuorumMissed) as missed:
        cloud.dispatched()

    first, *others, last = str(missed.value).splitlines()
    assert first == "Round 1 needs 2 results, and only 1 of 3 edges can be given an order:"
    assert [line[:37] for line in others] == [f"  - {edge}: its inbox cannot be used:" for edge in EDGES[1:]]
    assert all(
        f"remove {inbox_of(cloud, edge)} to forget the edge" in line for edge, line in zip(EDGES[1:], others, strict=True)
    )
    assert last.startswith("Mend what is wrong there, and run the same task again")
    assert cloud.orders("edge-1") == []


@pytest.mark.parametrize("mend", [lambda cloud: cloud.inboxes.enroll("edge-3"), removed], ids=["enrolled again", "removed"])
def test_what_the_message_says_mends_it(cloud: Cloud, mend: Callable[[Cloud], None]) -> None:
    for edge in EDGES:
        cloud.inboxes.enroll(edge)
    cloud.pretrained(edges=())
    broken(cloud)
    with pytest.raises(QuorumMissed):
        cloud.dispatched()

    mend(cloud)

    assert cloud.dispatched() == len(cloud.inboxes.edges())
    assert len(cloud.open_orders()) == len(cloud.inboxes.edges())


def test_an_edge_that_is_removed_while_it_is_waited_for_is_waited_for_no_more(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.orders.absent.LOOK_SECONDS", 0.01)
    cloud.pretrained().dispatched()
    for edge in EDGES[:2]:
        cloud.deliver(edge)
    looked = DirectoryInboxes.edges

    def removed_meanwhile(inboxes: DirectoryInboxes) -> list[str]:
        removed(cloud)
        return looked(inboxes)

    monkeypatch.setattr(DirectoryInboxes, "edges", removed_meanwhile)
    with pytest.raises(QuorumMissed, match="and no more can come:\n  - edge-3: it is not enrolled any more"):
        cloud.waited()


def test_who_cannot_be_asked_who_is_enrolled_holds_up_no_wait(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.orders.absent.LOOK_SECONDS", 0.001)
    cloud.pretrained().dispatched()
    asked = threading.Event()

    def away(_: DirectoryInboxes) -> list[str]:
        asked.set()
        raise Away("Nobody answers.")

    monkeypatch.setattr(DirectoryInboxes, "edges", away)
    results: list[int] = []
    waiting = threading.Thread(target=lambda: results.append(cloud.waited()))
    waiting.start()
    asked.wait()
    for edge in EDGES:
        cloud.deliver(edge)
    waiting.join()
    assert results == [3]


def test_orders_are_renewed_but_for_that_of_an_edge_whose_inbox_cannot_be_used(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.pretrained().dispatched()
    broken(cloud)
    cloud.store.put(cloud.run.order_key("1", "edge-2"), b"{")

    with step(cloud.task.id, "wait-1") as work:
        renew(work, dispatched(cloud).orders)

    said = capsys.readouterr().out
    assert "The order of edge-2 could not be renewed: its order cannot be read: it is not JSON" in said
    assert "The order of edge-3 could not be renewed: its inbox cannot be used: edge: missing" in said
    (renewed,) = [event.details for _, event in events(cloud.store, cloud.run.id) if event.action == "renewed"]
    assert renewed == {"orders": ["digits.1.edge-1.1"]}


def test_an_edge_whose_order_in_the_store_cannot_be_read_gets_another(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    cloud.store.put(cloud.run.order_key("1", "edge-2"), b"{")

    assert cloud.dispatched() == 3

    assert cloud.open_orders() == ["digits.1.edge-1.1", "digits.1.edge-2.2", "digits.1.edge-3.1"]


@pytest.mark.parametrize("name", ["state.json", "cancelled.json"])
def test_an_order_of_a_run_that_cannot_be_read_stays_and_holds_up_no_other_run(cloud: Cloud, name: str) -> None:
    other = Cloud(cloud.root, cloud.task.model_copy(update={"id": "other"}), cloud.cloud_data).pretrained()
    other.dispatched()
    other.store.put(Run(other.store, "other").key(name), b"{")

    assert cloud.pretrained().dispatched() == 3

    assert [order.id for order in cloud.orders("edge-1")] == ["other.1.edge-1.1", "digits.1.edge-1.1"]


def test_where_nobody_answers_for_any_edge_nobody_is_called_absent(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise Away("The cluster's API server does not answer.")

    cloud.pretrained(quorum=1)
    monkeypatch.setattr(DirectoryInboxes, "update", away)
    with pytest.raises(StoreFailed, match="does not answer"):
        cloud.dispatched()
