"""A round watched on a store in a folder."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.orders.watch import OrderWatch, Watched, _take
from cloud.runs.run import Run
from cloud.runs.step_records import DispatchRecord, IssuedOrder
from cloudedge.documents import Phase, Report, order_id
from cloudedge.store import DirectoryStore, Entry

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_report_that_is_deleted_as_it_is_read_is_read_when_it_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(DirectoryStore(tmp_path), "run")
    order = IssuedOrder(id=order_id("run", "1", "edge-1", 1), edge="edge-1", step="1", attempt=1, issued_at=NOW)
    run.put(run.step_key("1", "dispatch.json"), DispatchRecord(edges=("edge-1",), orders=(order,)))
    report = Report(order=order.id, edge="edge-1", sequence=1, phase=Phase.TRAINING, heartbeat_at=NOW)
    run.put(run.report_key(order), report)
    watch = OrderWatch.of(run, "1")

    listed = run.store.list

    def listed_and_deleted(prefix: str) -> Iterator[Entry]:
        found = list(listed(prefix))
        run.store.delete(run.report_key(order))
        return iter(found)

    with monkeypatch.context() as patched:
        patched.setattr(run.store, "list", listed_and_deleted)
        assert watch.look() == []
    assert watch.pending == {"edge-1"}

    run.put(run.report_key(order), report)
    assert [watched.report for watched in watch.look(everywhere=True)] == [report]


LIVES = st.lists(
    st.lists(st.sampled_from([Phase.ACCEPTED, Phase.TRAINING, Phase.UPLOADING]), min_size=1, max_size=4), min_size=1, max_size=4
)


def report_of(life: int, sequence: int, phase: Phase) -> Report:
    order = order_id("run", "1", "edge-1", 1)
    return Report(order=order, edge="edge-1", incarnation=f"{life:032x}", sequence=sequence, phase=phase, heartbeat_at=NOW)


def watched() -> Watched:
    return Watched(IssuedOrder(id=order_id("run", "1", "edge-1", 1), edge="edge-1", step="1", attempt=1, issued_at=NOW))


@given(LIVES, st.sampled_from([Phase.TRAINING, Phase.FAILED]), st.data())
def test_what_the_living_runner_says_holds_however_often_its_state_was_lost_and_whatever_comes_late(
    lives: list[list[Phase]], last: Phase, data: st.DataObject
) -> None:
    known, written = watched(), list[Report]()

    def look(report: Report) -> None:
        if data.draw(st.booleans(), "somebody looks meanwhile"):
            _take(known, report, reported=True)

    for life, phases in enumerate(lives):
        for sequence, phase in enumerate(phases, 1):
            written.append(report_of(life, sequence, phase))
            look(written[-1])
            if data.draw(st.booleans(), "an earlier request arrives late"):
                look(data.draw(st.sampled_from(written)))
    end = report_of(len(lives) - 1, len(lives[-1]) + 1, last)
    _take(known, end, reported=True)
    assert known.report == end

    late = data.draw(st.sampled_from(written))
    _take(known, late, reported=True)
    if last.over or late.incarnation == end.incarnation:
        assert known.report == end
    else:  # It is at work and says more within seconds.
        again = end.model_copy(update={"sequence": end.sequence + 1})
        _take(known, again, reported=True)
        assert known.report == again
