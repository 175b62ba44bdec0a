"""The mounted directory, as kubelet and the laptop's carrier write it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cloudedge.documents import Envelope, Inbox
from cloudedge.errors import InvalidDocument
from cloudedge.mount import write_mount
from edge.runner.inbox import InboxDirectory, Wanted, understood
from tests.edge.runner.test_reconciling import an_order
from tests.waiting import until


def put(directory: Path, generation: int) -> None:
    write_mount(directory, {"inbox.json": Inbox(edge="edge-1", generation=generation).to_json()})


def test_a_directory_that_is_not_there_says_nothing_and_is_not_dead(tmp_path: Path) -> None:
    inbox = InboxDirectory(tmp_path / "inbox")
    assert inbox.poll() is None
    assert not inbox.dead


def test_each_state_is_taken_once(tmp_path: Path) -> None:
    inbox = InboxDirectory(tmp_path)
    for generation in (1, 2):
        put(tmp_path, generation)
        taken = inbox.poll()
        assert taken is not None
        assert taken.generation == generation
        assert inbox.poll() is None


def test_what_could_not_be_put_into_effect_is_taken_again(tmp_path: Path) -> None:
    inbox = InboxDirectory(tmp_path)
    put(tmp_path, 1)
    assert inbox.poll() is not None
    inbox.retry()
    assert inbox.poll() is not None


def test_a_malformed_state_is_told_of_once(tmp_path: Path) -> None:
    inbox = InboxDirectory(tmp_path)
    write_mount(tmp_path, {"inbox.json": b"[]"})
    with pytest.raises(InvalidDocument):
        inbox.poll()
    assert inbox.poll() is None


@pytest.mark.parametrize("lost", ["link", "file"])
def test_an_inbox_that_was_there_and_is_gone_is_dead(tmp_path: Path, lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.runner.inbox._GONE_SECONDS", 3600.0)
    inbox = InboxDirectory(tmp_path)
    put(tmp_path, 1)
    inbox.poll()
    (tmp_path / "..data" / "inbox.json" if lost == "file" else tmp_path / "..data").unlink()
    assert inbox.poll() is None
    assert not inbox.dead
    monkeypatch.setattr("edge.runner.inbox._GONE_SECONDS", 0.0)
    assert inbox.dead


def test_a_removed_directory_that_is_still_mounted_is_dead_even_if_no_inbox_was_ever_seen_in_it(tmp_path: Path) -> None:
    mounted = tmp_path / "inbox"
    mounted.mkdir()
    descriptor = os.open(mounted, os.O_PATH)
    try:
        mounted.rmdir()
        inbox = InboxDirectory(Path(f"/proc/self/fd/{descriptor}"))  # Like a mount, it keeps what has no name any more.
        until(lambda: inbox.poll() is None and inbox.dead)
    finally:
        os.close(descriptor)


def test_an_inbox_that_comes_back_is_not_dead(tmp_path: Path) -> None:
    inbox = InboxDirectory(tmp_path)
    put(tmp_path, 1)
    inbox.poll()
    (tmp_path / "..data").unlink()
    inbox.poll()
    put(tmp_path, 2)
    assert inbox.poll() is not None
    assert not inbox.dead


def said(number: int, **otherwise: Any) -> dict[str, Any]:
    """An order as the cloud writes it, but for what is given."""
    found: dict[str, Any] = json.loads(an_order(number).to_json())
    return found | otherwise


def read(*orders: dict[str, Any]) -> Wanted:
    """What an inbox with these orders says."""
    inbox = {"schema_version": 1, "edge": "edge-1", "generation": 7, "orders": orders}
    return understood(json.dumps(inbox).encode(), "inbox.json")


UNTRAINABLE = said(2)["work"] | {"training": {"epochs": 0}}


@pytest.mark.parametrize(
    ("otherwise", "fault"),
    [
        ({"work": {"kind": "sing", "song": "any"}}, "'sing'"),
        ({"work": UNTRAINABLE}, "work.train.training.epochs: found 0"),
        ({"work": None}, "work: found None"),
        ({"inputs": {}}, "an order to train has the inputs base"),
        ({"time_limit_seconds": 0}, "time_limit_seconds: found 0"),
        ({"song": "any"}, "song: no such field"),
    ],
    ids=["another kind", "malformed work", "no work", "no input", "no time", "a field too many"],
)
def test_an_order_that_cannot_be_read_is_refused_alone(otherwise: dict[str, Any], fault: str) -> None:
    wanted = read(said(1), said(2, **otherwise), said(3))

    assert (wanted.edge, wanted.generation, wanted.orders) == ("edge-1", 7, (an_order(1), an_order(3)))
    ((envelope, why),) = wanted.refused
    assert envelope == Envelope.model_validate(an_order(2).model_dump())
    assert fault in why
    assert f"inbox.json: order {an_order(2).id}" in why
    assert wanted.unreadable == ()


@pytest.mark.parametrize(
    ("otherwise", "fault"),
    [
        ({"schema_version": 0}, "schema_version: found 0"),
        ({"report": None}, "report: found None"),
        ({"attempt": 2}, "is not run.step.edge.attempt of the other fields"),
        ({"edge": "edge-2", "id": "run.2.edge-2.1"}, "is for another edge"),
    ],
    ids=["no version", "nowhere to report", "another's id", "another edge"],
)
def test_an_order_of_which_not_even_its_envelope_can_be_read_holds_up_no_other(otherwise: dict[str, Any], fault: str) -> None:
    odd = said(2, **otherwise)

    wanted = read(said(1), odd, said(3))

    assert (wanted.orders, wanted.refused) == ((an_order(1), an_order(3)), ())
    ((name, why),) = wanted.unreadable
    assert name == odd["id"]
    assert fault in why


def test_an_order_of_a_later_version_is_refused_alone_to_whom_it_says() -> None:
    later = said(2, schema_version=3, signature="0")
    later["report"] = {**later["report"], "verb": "POST"}

    wanted = read(said(1), later)

    assert wanted.orders == (an_order(1),)
    ((envelope, why),) = wanted.refused
    assert (envelope.id, envelope.report) == (an_order(2).id, an_order(2).report)
    assert "schema_version: found 3; give 1 or 2, or use a cloudedge that knows 3" in why


@pytest.mark.parametrize("nameless", [{}, {"id": None}, {"id": ["run.1.edge-1.1"]}, {"id": "no id"}, 7, None, [[]]])
def test_an_order_without_an_id_holds_up_no_other(nameless: Any) -> None:
    wanted = read(nameless, said(1))

    assert wanted.orders == (an_order(1),)
    assert len(wanted.unreadable) == 1


@pytest.mark.parametrize("odd", [[False, False], [False, True], [True, False], [True, True]], ids=str)
def test_two_orders_with_the_same_id_make_the_inbox_malformed_as_a_whole(odd: list[bool]) -> None:
    with pytest.raises(InvalidDocument, match=an_order(1).id):
        read(*(said(1, **({"song": "any"} if one_is_odd else {})) for one_is_odd in odd))
