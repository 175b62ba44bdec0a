"""A round watched on a store in a folder."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloudedge.documents import Phase, Report, order_id
from cloudedge.store import DirectoryStore, Entry
from components.shared.records import DispatchRecord, IssuedOrder
from components.shared.run import Run
from components.wait.watch import RoundWatch

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_report_that_is_deleted_as_it_is_read_is_read_when_it_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(DirectoryStore(tmp_path), "run")
    order = IssuedOrder(id=order_id("run", 1, "edge-1", 1), edge="edge-1", round=1, attempt=1, issued_at=NOW)
    run.put(run.round_key(1, "dispatch.json"), DispatchRecord(edges=("edge-1",), orders=(order,)))
    report = Report(order=order.id, edge="edge-1", sequence=1, phase=Phase.TRAINING, heartbeat_at=NOW)
    run.put(run.report_key(order), report)
    watch = RoundWatch.of(run, 1)

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
