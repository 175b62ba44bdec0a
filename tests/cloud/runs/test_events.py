"""The operation log keeps everything, in its order."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cloud.runs import events
from cloudedge.store import DirectoryStore


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


def test_operations_are_told_oldest_first_and_those_that_are_known_are_left_out(store: DirectoryStore) -> None:
    assert list(events.events(store, "run")) == []
    for action in ("created", "pretrained", "dispatched"):
        events.record(store, "run", "tester", action, round=1)
    events.record(store, "other", "tester", "created")
    found = list(events.events(store, "run"))
    assert [event.action for _, event in found] == ["created", "pretrained", "dispatched"]
    assert found[0][1].details == {"round": 1}
    assert [event.action for _, event in events.events(store, "run", after=found[0][0])] == ["pretrained", "dispatched"]


def test_operations_at_the_same_time_are_all_kept(store: DirectoryStore) -> None:
    with ThreadPoolExecutor(8) as people:
        list(people.map(lambda number: events.record(store, "run", f"person {number}", "created"), range(40)))
    assert {event.actor for _, event in events.events(store, "run")} == {f"person {number}" for number in range(40)}


def test_an_operation_on_the_orders_of_very_many_edges_can_be_read(store: DirectoryStore) -> None:
    orders = [f"run-with-a-long-name.1.edge-{number:06d}.1" for number in range(100_000)]
    events.record(store, "run", "tester", "dispatched", orders=orders)
    ((_, event),) = events.events(store, "run")
    assert event.details == {"orders": orders}
