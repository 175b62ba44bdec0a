"""What every carrier of inboxes does. Its own tests inherit `InboxConformance` and give it fixtures `inboxes` and `spoil`."""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from cloud.faults import Faults
from cloud.inboxes import Inboxes, MakeOrders, UnusableInbox, usable
from cloud.runs.closing import close_orders
from cloudedge.documents import DataFormat, Inbox, Order, SampleField
from cloudedge.documents.order import MAX_INBOX_BYTES, MAX_ORDER_BYTES
from cloudedge.errors import InvalidInput, NotFound
from tests.cloud.runs.builders import DATA, order

BAD_NAMES = ["", "..", "../edge-1", "/edge-1", "Edge", "edge_1", "edge-1\n", "-edge", "edge-", "e" * 54, "edge 1", "a/b"]


def adding(*new: Order) -> MakeOrders:
    """Adds orders to those that are there."""
    return lambda orders: [*orders, *new]


def unchanged(orders: Sequence[Order]) -> Sequence[Order]:
    return list(orders)


def saying(**fields: object) -> str:
    """An inbox of edge-2 that says this."""
    return json.dumps({"schema_version": 1, "edge": "edge-2", "generation": 1, **fields})


SPOILED = {
    "nothing": "",
    "cut off": saying()[:-5],
    "no JSON": "edge-2",
    "a list": "[]",
    "a field missing": "{}",
    "a field that nobody knows": saying(more=1),
    "a newer version": saying(schema_version=99),
    "an order that is none": saying(orders=[{"id": "run.1.edge-2.1"}]),
    "another edge's": saying(edge="edge-1"),
    "too large": saying(more="x" * (MAX_INBOX_BYTES - 200)),
}
"""What stands in the place of an inbox that somebody has edited."""


def newer_inboxes(inbox: Inbox) -> dict[str, str]:
    """An inbox as newer versions of cloudedge may have written it."""
    fields = inbox.model_dump(mode="json")
    (known, *_) = fields["orders"]
    other = {**known, "id": known["id"].replace(".1", ".2", 1), "step": "2"}
    return {
        "a newer version": json.dumps({**fields, "schema_version": 99, "more": 1}),
        "an order of a newer version": json.dumps({**fields, "orders": [known, {**other, "schema_version": 99, "more": 1}]}),
    }


Spoil = Callable[[str, str], object]
"""Puts a text in the place of an edge's inbox."""


class InboxConformance:
    """The suite."""

    @pytest.mark.parametrize("spoiled", SPOILED)
    def test_an_inbox_that_cannot_be_used_is_told_of_and_the_others_are_as_they_were(
        self, inboxes: Inboxes, spoil: Spoil, spoiled: str
    ) -> None:
        for edge in ("edge-1", "edge-2", "edge-3"):
            inboxes.enroll(edge)
            inboxes.update(edge, adding(order("run", edge), order("other", edge)))
        before = {edge: inboxes.read(edge) for edge in ("edge-1", "edge-3")}
        spoil("edge-2", SPOILED[spoiled])

        faults, said = Faults(), list[str]()
        assert {inbox.edge: inbox for inbox in usable(inboxes, faults)} == before
        assert inboxes.edges() == ["edge-1", "edge-2", "edge-3"]
        for use in (inboxes.read, lambda edge: inboxes.update(edge, unchanged)):
            with pytest.raises(UnusableInbox) as raised:
                use("edge-2")
            faults.add(raised.value)
        faults.tell(said.append)
        (told,) = said
        assert "edge-2" in told
        assert " is not a valid inbox:\n" in told

        again = Faults()
        closed = close_orders(inboxes, "run", again)
        assert (closed.orders, closed.whole) == (["run.1.edge-1.1", "run.1.edge-3.1"], False)
        error = again.error()
        assert error is not None
        assert (str(error), error.exit_code) == (told, 2)

    @pytest.mark.parametrize("newer", ["a newer version", "an order of a newer version"])
    def test_what_a_newer_version_wrote_is_for_that_version(self, inboxes: Inboxes, spoil: Spoil, newer: str) -> None:
        inboxes.enroll("edge-2")
        spoil("edge-2", newer_inboxes(inboxes.update("edge-2", adding(order("run", "edge-2"))))[newer])
        with pytest.raises(UnusableInbox) as raised:
            inboxes.read("edge-2")
        assert raised.value.newer
        assert str(raised.value).splitlines()[-1] == ("A newer version of cloudedge wrote it: use that version of cloudedge.")

    def test_an_order_of_a_kind_that_is_not_known_here_is_carried_as_it_stands_and_holds_up_no_other(
        self, inboxes: Inboxes, spoil: Spoil
    ) -> None:
        inboxes.enroll("edge-2")
        fields = inboxes.update("edge-2", adding(order("run", "edge-2"), order("other", "edge-2"))).model_dump(mode="json")
        known, foreign = fields["orders"]
        foreign["work"] = {"kind": "weave", "of": {"threads": [1, 2.5]}}
        spoil("edge-2", json.dumps({**fields, "orders": [known, foreign]}))

        after = inboxes.update("edge-2", adding(order("third", "edge-2")))

        assert [one.run for one in after.orders] == ["run", "other", "third"]
        assert after.model_dump(mode="json")["orders"][1] == foreign
        assert close_orders(inboxes, "other", Faults()).orders == [foreign["id"]]
        assert [one.run for one in inboxes.read("edge-2").orders] == ["run", "third"]

    def test_nobody_is_enrolled_at_first(self, inboxes: Inboxes) -> None:
        assert inboxes.edges() == []

    def test_an_enrolled_edge_has_an_empty_inbox(self, inboxes: Inboxes) -> None:
        inboxes.enroll("edge-2")
        inboxes.enroll("edge-1")
        assert inboxes.edges() == ["edge-1", "edge-2"]
        assert inboxes.read("edge-1") == Inbox(edge="edge-1", generation=0)

    def test_all_inboxes_are_those_of_the_edges(self, inboxes: Inboxes) -> None:
        assert list(inboxes.all()) == []
        for edge in ("edge-2", "edge-10", "edge-1"):
            inboxes.enroll(edge)
        inboxes.update("edge-10", adding(order("run", "edge-10")))
        assert list(inboxes.all()) == [inboxes.read(edge) for edge in inboxes.edges()]

    def test_to_enroll_again_changes_nothing(self, inboxes: Inboxes) -> None:
        inboxes.enroll("edge-1")
        inbox = inboxes.update("edge-1", adding(order("run", "edge-1")))
        inboxes.enroll("edge-1")
        assert inboxes.edges() == ["edge-1"]
        assert inboxes.read("edge-1") == inbox

    def test_every_change_is_one_generation(self, inboxes: Inboxes) -> None:
        inboxes.enroll("edge-1")
        for number in range(1, 6):
            inbox = inboxes.update("edge-1", adding(order("run", "edge-1", number)))
            assert inbox.generation == number
            assert inboxes.read("edge-1") == inbox
        assert [order.step for order in inbox.orders] == ["1", "2", "3", "4", "5"]
        emptied = inboxes.update("edge-1", lambda orders: [])
        assert (emptied.generation, emptied.orders) == (6, ())

    def test_an_inbox_made_anew_is_newer_than_the_one_that_was_lost(
        self, inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cloud.inboxes.base.time", lambda: 1000.5)
        inboxes.enroll("edge-1")
        assert inboxes.read("edge-1").generation == 0
        assert [inboxes.update("edge-1", adding(order("run", "edge-1", n))).generation for n in (1, 2)] == [1000, 1001]
        monkeypatch.setattr("cloud.inboxes.base.time", lambda: 10.0)  # A clock that was set back.
        assert inboxes.update("edge-1", adding(order("run", "edge-1", 3))).generation == 1002

    def test_what_stays_as_it_is_costs_no_generation(self, inboxes: Inboxes) -> None:
        inboxes.enroll("edge-1")
        inbox = inboxes.update("edge-1", adding(order("run", "edge-1")))
        assert inboxes.update("edge-1", unchanged) == inbox
        assert inboxes.read("edge-1") == inbox

    def test_inboxes_are_separate(self, inboxes: Inboxes) -> None:
        for edge in ("edge-1", "edge-2"):
            inboxes.enroll(edge)
        inboxes.update("edge-1", adding(order("run", "edge-1")))
        assert inboxes.read("edge-2") == Inbox(edge="edge-2", generation=0)

    @pytest.mark.parametrize("known", [[], ["edge-1", "edge-2"]])
    def test_an_unknown_edge_is_told_of_with_those_that_are_known(self, inboxes: Inboxes, known: list[str]) -> None:
        for edge in known:
            inboxes.enroll(edge)
        told = f"No edge 'edge-9' is enrolled; enrolled are: {', '.join(known) or 'none'}."
        with pytest.raises(NotFound) as raised:
            inboxes.read("edge-9")
        assert str(raised.value) == told
        with pytest.raises(NotFound) as raised:
            inboxes.update("edge-9", unchanged)
        assert str(raised.value) == told
        assert inboxes.edges() == known

    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_what_is_no_name_is_refused(self, inboxes: Inboxes, name: str) -> None:
        refused = pytest.raises(InvalidInput, match="is not a name of an edge")
        with refused:
            inboxes.enroll(name)
        with refused:
            inboxes.read(name)
        with refused:
            inboxes.update(name, unchanged)
        assert inboxes.edges() == []

    def test_an_order_that_is_too_large_is_refused_with_the_way_out(self, inboxes: Inboxes) -> None:
        inboxes.enroll("edge-1")
        names = tuple(f"{number:05d}{'x' * 40}" for number in range(2000))
        large = order(
            "run", "edge-1", data=DataFormat(storage="csv", fields=(SampleField(name="x", shape=(1,)),), classes=names)
        )
        with pytest.raises(InvalidInput, match=f"run.1.edge-1.1 has .* more than {MAX_ORDER_BYTES}; make the task's data"):
            inboxes.update("edge-1", adding(large))
        assert inboxes.read("edge-1") == Inbox(edge="edge-1", generation=0)

    @pytest.mark.parametrize(("count", "classes"), [(300, 100), (1001, 2)])
    def test_an_inbox_that_is_full_is_refused_with_the_way_out(self, inboxes: Inboxes, count: int, classes: int) -> None:
        inboxes.enroll("edge-1")
        data = DATA.model_copy(update={"classes": tuple(f"class {number:020d}" for number in range(classes))})
        orders = [order("run", "edge-1", number, data=data) for number in range(1, count + 1)]
        told = f"inbox of edge-1 is full: {count} orders are more than the {MAX_INBOX_BYTES} bytes.*cancel some tasks"
        with pytest.raises(InvalidInput, match=told):
            inboxes.update("edge-1", adding(*orders))
        assert inboxes.read("edge-1").orders == ()

    def test_an_inbox_may_be_nearly_full(self, inboxes: Inboxes) -> None:
        inboxes.enroll("edge-1")
        size = len(inboxes.update("edge-1", adding(order("run", "edge-1"))).to_json())
        count = MAX_INBOX_BYTES // size
        inbox = inboxes.update("edge-1", lambda _: [order("run", "edge-1", number) for number in range(1, count + 1)])
        assert len(inbox.to_json()) > 0.9 * MAX_INBOX_BYTES
        assert inboxes.read("edge-1") == inbox

    def test_who_cannot_make_orders_leaves_the_inbox_as_it_was(self, inboxes: Inboxes) -> None:
        inboxes.enroll("edge-1")

        def breaks(_: Sequence[Order]) -> Sequence[Order]:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            inboxes.update("edge-1", breaks)
        assert inboxes.update("edge-1", adding(order("run", "edge-1"))).generation == 1

    def test_to_hurry_inboxes_changes_none(self, inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cloud.inboxes.nudging.FIRST_PAUSE_SECONDS", 0.01)
        for edge in ("edge-1", "edge-2"):
            inboxes.enroll(edge)
            inboxes.update(edge, adding(order("run", edge)))
        before = list(inboxes.all())
        with inboxes.nudging(("edge-1", "edge-2", "edge-9"), lambda edge: edge == "edge-2"):
            time.sleep(0.1)
            assert list(inboxes.all()) == before

    def test_updates_at_once_lose_nothing(self, inboxes: Inboxes) -> None:
        inboxes.enroll("edge-1")
        with ThreadPoolExecutor(8) as writers:
            list(writers.map(lambda number: inboxes.update("edge-1", adding(order("run", "edge-1", number))), range(1, 25)))
        inbox = inboxes.read("edge-1")
        assert inbox.generation == 24
        assert sorted(int(order.step) for order in inbox.orders) == list(range(1, 25))

    def test_to_enroll_at_once_is_to_enroll_once(self, inboxes: Inboxes) -> None:
        with ThreadPoolExecutor(8) as writers:
            list(writers.map(lambda _: inboxes.enroll("edge-1"), range(8)))
            list(writers.map(lambda number: inboxes.update("edge-1", adding(order("run", "edge-1", number))), range(1, 9)))
            list(writers.map(lambda _: inboxes.enroll("edge-1"), range(8)))
        assert inboxes.read("edge-1").generation == 8

    def test_a_reader_always_finds_the_edge_while_it_is_updated(self, inboxes: Inboxes) -> None:
        inboxes.enroll("edge-1")

        def read(_: int) -> int:
            assert inboxes.edges() == ["edge-1"]
            return inboxes.read("edge-1").generation

        with ThreadPoolExecutor(3) as readers:
            seen = readers.map(read, range(600))
            for number in range(200):
                inboxes.update("edge-1", lambda _, number=number: [order("run", "edge-1", number)])  # type: ignore[misc]
        assert set(seen) <= set(range(201))
