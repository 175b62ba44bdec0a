"""What an inbox changes, case by case."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudedge.documents import (
    DataFormat,
    Envelope,
    ModelSpec,
    Order,
    Phase,
    RemoteFile,
    Train,
    Training,
    UploadTarget,
    WorkError,
    order_id,
)
from cloudedge.documents.data import SampleField
from edge.clock import Moment
from edge.runner.inbox import Wanted
from edge.runner.ledger import Entry
from edge.runner.reconciling import Changes, reconcile

NOW = Moment("boot", 100.0, 1000.0)
DATA = DataFormat(storage="csv", fields=(SampleField(name="x"),), classes=("a", "b"))


def an_order(number: int, state: str = "run", url: str = "https://store/1", epochs: int = 1) -> Order:
    target = UploadTarget(url=url, max_bytes=10, once=True)
    return Order(
        id=order_id("run", str(number), "edge-1", 1),
        state=state,  # type: ignore[arg-type]
        run="run",
        step=str(number),
        edge="edge-1",
        issued_at=datetime(2026, 1, 1, tzinfo=UTC),
        time_limit_seconds=60,
        inputs={"base": RemoteFile(url=url, sha256="0" * 64, size=1)},
        work=Train(model=ModelSpec(), data=DATA, training=Training(epochs=epochs)),
        report=target,
        outputs={"model": target},
        manifest=target,
    )


def issued_again(order: Order, seconds: float = 1) -> Order:
    return order.model_copy(update={"issued_at": order.issued_at + timedelta(seconds=seconds)})


def envelope(order: Order) -> Envelope:
    """What can be read of an order whose work cannot."""
    return Envelope.model_validate(order.model_dump())


def refusal(order: Order) -> Entry:
    error = WorkError(kind="InvalidDocument", message="It cannot be read.")
    return Entry(envelope(order), Phase.FAILED, NOW, error=error)


def an_entry(order: Order, phase: Phase = Phase.TRAINING) -> Entry:
    return Entry(order, phase, NOW, gauges={"samples": 5})


def changes(
    listed: list[Order],
    known: list[Entry],
    closed: list[Order] | None = None,
    refused: list[Order] | None = None,
    unreadable: list[Order] | None = None,
) -> Changes:
    cannot_be_read = tuple((envelope(order), "It cannot be read.") for order in refused or ())
    nor_these = tuple((order.id, "Not at all.") for order in unreadable or ())
    wanted = Wanted("edge-1", 2, tuple(listed), cannot_be_read, nor_these)
    entries = {entry.order.id: entry for entry in known}
    issued = {order.id: order.issued_at for order in [*(entry.order for entry in known), *(closed or ())]}
    return reconcile(wanted, entries, issued.get, NOW)


def test_a_new_order_is_accepted() -> None:
    order = an_order(1)
    assert changes([order], []) == Changes(accepted=[replace(an_entry(order, Phase.ACCEPTED), gauges={})])


def test_a_new_order_that_is_cancelled_is_kept_as_cancelled() -> None:
    order = an_order(1, "cancelled")
    assert changes([order], []) == Changes(accepted=[replace(an_entry(order, Phase.CANCELLED), gauges={})])


def test_an_order_that_was_closed_changes_nothing() -> None:
    assert changes([an_order(1)], [], closed=[an_order(1)]) == Changes()


def test_a_closed_order_that_was_issued_again_is_done_anew() -> None:
    again = issued_again(an_order(1))
    anew = replace(an_entry(again, Phase.ACCEPTED), gauges={})
    assert changes([again], [], closed=[an_order(1)]) == Changes(accepted=[anew], superseded=[again.id])


def test_an_order_from_before_it_was_issued_again_changes_nothing() -> None:
    replayed = an_order(1, url="https://store/2")
    assert changes([replayed], [], closed=[issued_again(replayed)]) == Changes()
    assert changes([replayed], [an_entry(issued_again(an_order(1)))]) == Changes()


def test_an_open_order_that_was_issued_again_goes_on_with_its_work() -> None:
    again = issued_again(an_order(1))
    assert changes([again], [an_entry(an_order(1))]) == Changes(renewed=[again])


@pytest.mark.parametrize("phase", [Phase.DONE, Phase.FAILED, Phase.CANCELLED])
def test_an_order_that_is_over_and_was_issued_again_is_done_anew(phase: Phase) -> None:
    again = issued_again(an_order(1))
    anew = replace(an_entry(again, Phase.ACCEPTED), gauges={})
    assert changes([again], [an_entry(an_order(1), phase)]) == Changes(accepted=[anew], superseded=[again.id])


def test_an_order_that_was_issued_again_with_other_work_is_done_anew() -> None:
    again = issued_again(an_order(1, epochs=2))
    anew = replace(an_entry(again, Phase.ACCEPTED), gauges={})
    assert changes([again], [an_entry(an_order(1))]) == Changes(accepted=[anew], superseded=[again.id])


def test_an_order_that_is_open_changes_nothing() -> None:
    assert changes([an_order(1)], [an_entry(an_order(1))]) == Changes()


def test_new_urls_replace_the_old_ones() -> None:
    renewed = an_order(1, url="https://store/2")
    assert changes([renewed], [an_entry(an_order(1))]) == Changes(renewed=[renewed])


def test_an_order_of_the_first_version_takes_the_urls_of_a_cloud_that_was_upgraded_since() -> None:
    former = an_order(1).model_copy(update={"schema_version": 1})
    renewed = an_order(1, url="https://store/2").model_copy(update={"history": an_order(1).report})
    assert changes([renewed], [an_entry(former)]) == Changes(renewed=[renewed])


def test_other_work_under_the_same_id_is_remarked_and_not_done() -> None:
    found = changes([an_order(1, epochs=2)], [an_entry(an_order(1))])
    assert [order_id for _, order_id in found.remarks] == [an_order(1).id]
    assert replace(found, remarks=[]) == Changes()


def test_a_cancelled_order_is_cancelled_and_answered() -> None:
    order = an_order(1, "cancelled")
    found = changes([order], [an_entry(an_order(1))])
    assert found == Changes(renewed=[order], cancelled=[an_entry(order, Phase.CANCELLED)])


def test_an_order_listed_no_more_is_cancelled_and_needs_no_answer() -> None:
    entry = an_entry(an_order(1))
    assert changes([], [entry]) == Changes(cancelled=[replace(entry, phase=Phase.CANCELLED)], unasked=[entry.order.id])


def test_an_order_that_is_over_and_listed_no_more_needs_no_answer() -> None:
    assert changes([], [an_entry(an_order(1), Phase.FAILED)]) == Changes(unasked=[an_order(1).id])


def test_an_order_that_cannot_be_read_is_kept_as_failed_and_the_others_are_accepted() -> None:
    found = changes([an_order(1)], [], refused=[an_order(2)])
    accepted = replace(an_entry(an_order(1), Phase.ACCEPTED), gauges={})
    assert found == Changes(accepted=[accepted, refusal(an_order(2))])


def test_a_refused_order_that_is_listed_still_changes_nothing() -> None:
    assert changes([], [refusal(an_order(1))], refused=[an_order(1)]) == Changes()
    assert changes([], [], closed=[an_order(1)], refused=[an_order(1)]) == Changes()


def test_a_refused_order_that_is_listed_no_more_needs_no_answer() -> None:
    assert changes([], [refusal(an_order(1))]) == Changes(unasked=[an_order(1).id])


def test_a_refused_order_that_is_issued_again_is_refused_again() -> None:
    again = issued_again(an_order(1))
    expected = Changes(accepted=[refusal(again)], superseded=[again.id])
    assert changes([], [refusal(an_order(1))], refused=[again]) == expected
    assert changes([], [], closed=[an_order(1)], refused=[again]) == expected


def test_a_refused_order_that_can_be_read_once_it_is_issued_again_is_done() -> None:
    again = issued_again(an_order(1))
    anew = replace(an_entry(again, Phase.ACCEPTED), gauges={})
    assert changes([again], [refusal(an_order(1))]) == Changes(accepted=[anew], superseded=[again.id])
    assert changes([an_order(1)], [refusal(an_order(1))]) == Changes()


def test_what_was_accepted_while_it_could_be_read_is_done() -> None:
    assert changes([], [an_entry(an_order(1))], refused=[an_order(1)]) == Changes()
    assert changes([], [an_entry(an_order(1))], refused=[issued_again(an_order(1))]) == Changes()


def test_work_whose_order_cannot_be_read_any_more_and_is_cancelled_stops() -> None:
    found = changes([], [an_entry(an_order(1))], refused=[an_order(1, "cancelled")])
    assert [(entry.order.id, entry.phase) for entry in found.cancelled] == [(an_order(1).id, Phase.CANCELLED)]


def test_an_order_of_which_nothing_can_be_read_cancels_nothing_that_is_known_by_its_id() -> None:
    found = changes([an_order(2)], [an_entry(an_order(1))], unreadable=[an_order(1)])
    accepted = replace(an_entry(an_order(2), Phase.ACCEPTED), gauges={})
    assert found == Changes(accepted=[accepted], remarks=[("Not at all.", an_order(1).id)])


@given(st.sets(st.integers(1, 6)), st.sets(st.integers(1, 6)), st.sampled_from(list(Phase)))
def test_what_is_over_is_never_begun_or_cancelled_again(listed: set[int], known: set[int], phase: Phase) -> None:
    found = changes([an_order(number) for number in sorted(listed)], [an_entry(an_order(number), phase) for number in known])
    assert {int(entry.order.step) for entry in found.accepted} == listed - known
    assert {int(entry.order.step) for entry in found.cancelled} == (set() if phase.over else known - listed)
