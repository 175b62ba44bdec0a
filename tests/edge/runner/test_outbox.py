"""The senders by themselves: order, back-off, and what is told of it."""

import queue
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudedge.documents import UploadTarget
from cloudedge.errors import StoreFailed
from cloudedge.transport import Transport
from edge.backoff import pause_seconds
from edge.runner.outbox import Sender, SendResult, Transfer, Turns
from tests.waiting import PATIENCE


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_pause_grows_from_half_a_second_to_half_a_minute(failures: int, jitter: float) -> None:
    pause = pause_seconds(failures, jitter)
    assert 0.25 <= pause <= 30
    assert pause_seconds(failures + 1, jitter) >= pause


@pytest.fixture
def told() -> "queue.SimpleQueue[SendResult]":
    return queue.SimpleQueue()


@pytest.fixture
def sender(tmp_path: Path, told: "queue.SimpleQueue[SendResult]") -> Sender:
    transport = Transport([tmp_path])
    return Sender("test", lambda: transport, told.put)


def transfer(folder: Path, name: str, content: bytes | Path = b"x", *, most: int = 100) -> Transfer:
    return Transfer(name, UploadTarget(url=(folder / name).as_uri(), max_bytes=most, once=True), content)


def test_transfers_of_an_order_go_in_their_order(tmp_path: Path, sender: Sender, told: "queue.SimpleQueue[SendResult]") -> None:
    sender.put("a", [transfer(tmp_path, "model"), transfer(tmp_path, "manifest")])
    assert [told.get(timeout=PATIENCE) for _ in range(2)] == [
        SendResult("a", name, None, False) for name in ("model", "manifest")
    ]


def test_what_was_written_before_counts_as_sent(tmp_path: Path, sender: Sender, told: "queue.SimpleQueue[SendResult]") -> None:
    (tmp_path / "model").write_bytes(b"y")
    sender.put("a", [transfer(tmp_path, "model")])
    assert told.get(timeout=PATIENCE) == SendResult("a", "model", None, False)
    assert (tmp_path / "model").read_bytes() == b"y"


def test_what_can_never_be_sent_is_given_up_with_what_follows(
    tmp_path: Path, sender: Sender, told: "queue.SimpleQueue[SendResult]"
) -> None:
    sender.put("a", [transfer(tmp_path, "model", b"too long", most=3), transfer(tmp_path, "manifest")])
    outcome = told.get(timeout=PATIENCE)
    assert (outcome.name, outcome.given_up) == ("model", True)
    sender.put("b", [transfer(tmp_path, "other")])
    assert told.get(timeout=PATIENCE).name == "other"
    assert not (tmp_path / "manifest").exists()


def test_what_fails_is_tried_again_while_others_pass(
    tmp_path: Path, sender: Sender, told: "queue.SimpleQueue[SendResult]"
) -> None:
    (tmp_path / "blocked").write_bytes(b"")
    stuck = transfer(tmp_path / "blocked", "model")
    sender.put("a", [stuck])
    outcome = told.get(timeout=PATIENCE)
    assert (outcome.order_id, outcome.given_up, outcome.error is not None) == ("a", False, True)
    sender.put("b", [transfer(tmp_path, "other")])
    assert told.get(timeout=PATIENCE) == SendResult("b", "other", None, False)
    (tmp_path / "blocked").unlink()
    while told.get(timeout=PATIENCE) != SendResult("a", "model", None, False):
        pass
    assert (tmp_path / "blocked" / "model").read_bytes() == b"x"


def test_a_dropped_order_is_not_sent(tmp_path: Path, sender: Sender, told: "queue.SimpleQueue[SendResult]") -> None:
    (tmp_path / "blocked").write_bytes(b"")
    sender.put("a", [transfer(tmp_path / "blocked", "model")])
    assert told.get(timeout=PATIENCE).error is not None
    sender.drop("a")
    (tmp_path / "blocked").unlink()
    sender.put("b", [transfer(tmp_path, "other")])
    assert told.get(timeout=PATIENCE).order_id == "b"
    assert not (tmp_path / "blocked").exists()


def test_nothing_is_told_of_an_order_that_was_dropped_while_it_was_sent(
    tmp_path: Path, told: "queue.SimpleQueue[SendResult]"
) -> None:
    sending, go_on = threading.Event(), threading.Event()

    def transport() -> Transport:
        sending.set()
        assert go_on.wait(PATIENCE)
        return Transport([tmp_path])

    sender = Sender("test", transport, told.put)
    sender.put("a", [transfer(tmp_path, "of the former")])
    assert sending.wait(PATIENCE)
    sender.drop("a")
    sender.put("a", [transfer(tmp_path, "of the latter")])
    go_on.set()
    assert told.get(timeout=PATIENCE).name == "of the latter"


TARGET = UploadTarget(url="file:///nowhere", max_bytes=1, once=False)
ORDERS = st.sampled_from(["run.1.edge-1.1", "run.2.edge-1.1", "other.1.edge-1.1", "zzz.1.edge-1.1"])


@given(
    st.lists(ORDERS, min_size=1, max_size=60),
    st.lists(st.sampled_from([None, None, None, StoreFailed("away")]), min_size=1),
)
def test_whoever_waits_is_overtaken_once_by_each_other_order_however_often_that_has_news(
    news: list[str], ends: list[StoreFailed | None]
) -> None:
    """Each send takes 5 s of virtual time, in which any of the orders may have news; a send may fail."""
    turns, now, sends = Turns(), 0.0, 0
    overtaken: dict[str, dict[str, int]] = {}
    failing = set[str]()  # These wait for their stores first.
    while news or turns.due_at() is not None:
        taken = turns.next(now)
        if taken is None:
            now = max(now + 1, turns.due_at() or 0.0)
        else:
            for waiting, by in overtaken.items():
                if waiting != taken.order_id:
                    by[taken.order_id] = by.get(taken.order_id, 0) + 1
                    assert by[taken.order_id] == 1
            overtaken.pop(taken.order_id, None)
        for order_id in news[:3]:
            turns.put(order_id, [Transfer("report", TARGET, str(now).encode())])
            if order_id not in failing:
                overtaken.setdefault(order_id, {})
        news = news[3:]
        if taken is not None:
            now += 5
            error = ends[sends % len(ends)] if news else None
            sends += 1
            turns.tried(taken, error, now, 0.0)
            failing.discard(taken.order_id)
            if error:
                failing.add(taken.order_id)
                overtaken.pop(taken.order_id, None)


def test_a_result_is_followed_by_its_manifest_before_another_order_has_its_turn() -> None:
    turns = Turns()
    for order_id in ("b", "a"):
        turns.put(order_id, [Transfer(name, TARGET, b"") for name in ("model", "manifest")])
    sent = []
    while taken := turns.next(0.0):
        turns.tried(taken, None, 0.0, 0.0)
        sent.append((taken.order_id, taken.transfer.name))
    assert sent == [("b", "model"), ("b", "manifest"), ("a", "model"), ("a", "manifest")]


def test_the_last_report_of_an_order_waits_for_one_report_of_each_other_at_the_most() -> None:
    turns, sent = Turns(), []
    turns.put("a", [Transfer("report", TARGET, b"")])
    taken = turns.next(0.0)
    turns.put("z", [Transfer("last report", TARGET, b"")])
    while taken:
        turns.put("a", [Transfer("report", TARGET, b"")])  # As it does each second, and the store takes longer.
        turns.tried(taken, None, 0.0, 0.0)
        sent.append(taken.order_id)
        if taken.order_id == "z":
            break
        taken = turns.next(0.0)
    assert sent == ["a", "z"]
